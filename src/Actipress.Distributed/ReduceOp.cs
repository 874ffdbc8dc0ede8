namespace Actipress.Distributed;

/// <summary>How ranks' elements become one, under torch's names.</summary>
public enum ReduceOp
{
    /// <summary>The sum.</summary>
    Sum,

    /// <summary>The sum divided by the number of ranks; of floating-point tensors.</summary>
    Avg,

    /// <summary>The smallest.</summary>
    Min,

    /// <summary>The largest.</summary>
    Max,
}
