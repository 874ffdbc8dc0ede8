namespace Actipress.Grid.Gpu;

/// <summary>The results of packing's first pass over a map, on the device. The host reads them once.</summary>
struct GpuState
{
    /// <summary>The bytes of the grid, with its header.</summary>
    public long Bytes;

    public int NotFinite, AnyZero, AnyNegative, HasZeros;
    public float Step, FirstOffset, OtherOffset;

    // The sums of levels' fractions in units of 2^-23, which are whole numbers, and their counts; the smallest magnitude (with inverted
    // bits) and the largest.
    public int Firsts;
    public long FirstSum, OtherSum;
    public int Others;
    public uint SmallestInverted, Largest;

    // The known bits of the threshold after one and after two of three histograms.
    public uint PrefixOfOne, PrefixOfTwo;
    public int WantedAfterOne, WantedAfterTwo;
}
