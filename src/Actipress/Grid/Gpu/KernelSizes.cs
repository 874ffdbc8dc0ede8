using Actipress.Grid.Bits;
using Actipress.Selection;

namespace Actipress.Grid.Gpu;

/// <summary>Sizes that the kernels of grid storage and the host share.</summary>
static class KernelSizes
{
    /// <summary>The number of tiles that one group of threads measures, writes or unpacks.</summary>
    public const int TilesPerStretch = 64;

    public const int StretchesPerChunk = GridChunk.TilesPerChunk / TilesPerStretch;

    /// <summary>The number of bins of the three histograms together.</summary>
    public const int Bins = (1 << TopK.FirstBits) + (1 << TopK.SecondBits) + (1 << TopK.ThirdBits);

    /// <summary>The number of bytes that a buffer of bits has more, because a kernel may read them.</summary>
    public const int Slack = 12;
}
