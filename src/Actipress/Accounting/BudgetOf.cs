namespace Actipress;

/// <summary>The quantity that a budget limits.</summary>
public enum BudgetOf
{
    /// <summary>
    /// The peak of the whole step, forward and backward, above the allocator's level at its begin: saved maps, the maps of the current
    /// backward operation, parameters' gradients, and the workspaces of libtorch's kernels. This peak decides whether a step fits.
    /// </summary>
    Step,

    /// <summary>The bytes held in place of saved maps at any moment, as <see cref="CompressionReport.LiveBytes"/> counts them.</summary>
    Maps,
}
