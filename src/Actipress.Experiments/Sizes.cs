namespace Actipress.Experiments;

/// <summary>Sizes as tables and figures give them.</summary>
static class Sizes
{
    /// <summary>In MiB, 2^20 bytes.</summary>
    public static double MiB(long bytes) => bytes / 1048576.0;
}
