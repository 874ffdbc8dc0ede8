namespace Actipress.Experiments;

/// <summary>Sizes for tables and figures.</summary>
static class Sizes
{
    /// <summary>A size in MiB, 2^20 bytes.</summary>
    public static double MiB(long bytes) => bytes / 1048576.0;

    /// <summary>The bytes of a tensor's elements.</summary>
    public static long Bytes(this torch.Tensor tensor) => tensor.NumberOfElements * tensor.ElementSize;
}
