namespace Actipress.Grid.Gpu;

/// <summary>What packing learns of a map, on the device; the host reads it once.</summary>
struct GpuState
{
    /// <summary>Bytes of the grid, its header included.</summary>
    public long Bytes;

    public int NotFinite, AnyZero, AnyNegative, HasZeros;
    public float Step, FirstOffset, OtherOffset;

    // Sums of levels' fractions in units of 2^-23, which are whole numbers, and how many; the smallest magnitude (its bits inverted) and
    // the largest.
    public int Firsts;
    public long FirstSum, OtherSum;
    public int Others;
    public uint SmallestInverted, Largest;

    // What is known of the threshold after one and two of three histograms.
    public uint PrefixOfOne, PrefixOfTwo;
    public int WantedAfterOne, WantedAfterTwo;
}
