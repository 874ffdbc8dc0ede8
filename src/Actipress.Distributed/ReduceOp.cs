namespace Actipress.Distributed;

/// <summary>The reductions of the ranks' elements, under torch's names.</summary>
public enum ReduceOp
{
    /// <summary>The sum.</summary>
    Sum,

    /// <summary>The sum divided by the number of ranks, for floating-point tensors.</summary>
    Avg,

    /// <summary>The smallest element.</summary>
    Min,

    /// <summary>The largest element.</summary>
    Max,
}
