namespace Actipress.Distributed;

/// <summary>What becomes of each element over all ranks.</summary>
public enum Reduction
{
    /// <summary>The sum.</summary>
    Sum,

    /// <summary>The sum divided by the number of ranks; of floating-point tensors.</summary>
    Mean,

    /// <summary>The smallest.</summary>
    Min,

    /// <summary>The largest.</summary>
    Max,
}
