namespace Actipress.Experiments;

/// <summary>Sizes as tables and figures give them.</summary>
static class Sizes
{
    /// <summary>In MiB, 2^20 bytes.</summary>
    public static double MiB(long bytes) => bytes / 1048576.0;

    /// <summary>Bytes of a tensor's elements.</summary>
    public static long Bytes(this torch.Tensor tensor) => tensor.NumberOfElements * tensor.ElementSize;
}
