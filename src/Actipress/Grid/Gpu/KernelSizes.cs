using Actipress.Grid.Bits;

namespace Actipress.Grid.Gpu;

/// <summary>Sizes on which the kernels of grid storage and the host agree.</summary>
static class KernelSizes
{
    /// <summary>Tiles that one group of threads measures, writes or unpacks.</summary>
    public const int TilesPerStretch = 64;

    public const int StretchesPerChunk = GridChunk.TilesPerChunk / TilesPerStretch;

    /// <summary>Bins of the three histograms together.</summary>
    public const int Bins = (1 << TopK.FirstBits) + (1 << TopK.SecondBits) + (1 << TopK.ThirdBits);

    /// <summary>A buffer for so many bytes of bits has this many more, which a kernel may read.</summary>
    public const int Slack = 12;
}
