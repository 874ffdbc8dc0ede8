namespace Actipress;

/// <summary>What the bytes of a budget count.</summary>
public enum BudgetOf
{
    /// <summary>
    /// The peak of the whole step, forward and backward, above the allocator's level when it begins: saved maps, the maps that the
    /// backward pass works on, parameters' gradients, and what libtorch's kernels take meanwhile. What decides whether a step fits.
    /// </summary>
    Step,

    /// <summary>What is held in place of saved maps at any moment, as <see cref="CompressionReport.LiveBytes"/> counts it.</summary>
    Maps,
}
