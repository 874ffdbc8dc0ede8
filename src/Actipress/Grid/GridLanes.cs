using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Actipress.Grid.Tiles;
using Actipress.Machine;

namespace Actipress.Grid;

/// <summary>
/// The arithmetic of grid storage in registers of so many lanes. The operations and their order are those of <see cref="Definition"/>.
/// </summary>
unsafe partial struct GridLanes<T> : IGridFace where T : unmanaged, ILanes<T>
{
    // The groups in the lower half of a tile, which hold the upper frequencies of rows, and those in its right half.
    const uint UpperRows = 0xFFFF0000, UpperColumns = 0xCCCCCCCC;

    [SkipLocalsInit]
    public static void Forward(float* from, long stride, float* x, float* y, TileTransform transform, GridTiles.Region? region)
    {
        if (transform == TileTransform.Identity)
        {
            for (var row = 0; row < 16; row++, from += stride, y += 16)
                for (var c = 0; c < 16; c += T.Count) T.Load(from + c).Store(y + c);
            return;
        }
        if (region!.Depth.Points > 1) Slices(from, region, inverse: false);
        Cosines(from, stride, region.Ahead, y, region.Height.Points, region.Down);
        T.Transpose(y, 16, x, 16);
        Cosines(x, 16, 0, y, region.Width.Points, region.Across);
    }

    [SkipLocalsInit]
    public static void Inverse(float* y, float* x, TileTransform transform, GridTiles.Region? region, uint groups)
    {
        if (transform == TileTransform.Identity)
        {
            Buffer.MemoryCopy(y, x, 1024, 1024);
            return;
        }
        Sums(y, x, region!.Width.Points, region.Across, (groups & UpperRows) == 0);
        T.Transpose(x, 16, y, 16);
        Sums(y, x, region.Height.Points, region.Down, (groups & UpperColumns) == 0);
        if (region.Depth.Points > 1) Slices(x, region, inverse: true);
    }

    // Only rows of 16 points may be further apart than 16 values.
    static void Cosines(float* x, long stride, int ahead, float* y, int points, int blocks)
    {
        if (points == 16) Cosines16(x, stride, ahead, y);
        else if (points == 10) Cosines10(x, y);
        else if (points == 8) Cosines8(x, y);
        else if (points == 4) Cosines4(x, y);
        else CosinesOfAny(x, y, points, blocks);
    }

    static void Sums(float* y, float* x, int points, int blocks, bool lowerOnly)
    {
        if (points == 16 && lowerOnly) Sums16OfLower(y, x);
        else if (points == 16) Sums16(y, x);
        else if (points == 10) Sums10(y, x);
        else if (points == 8 && lowerOnly) Sums8OfLower(y, x);
        else if (points == 8) Sums8(y, x);
        else if (points == 4) Sums4(y, x);
        else SumsOfAny(y, x, points, blocks);
    }

    public static void Levels(float* y, float inverse, byte* levels, ulong* kept, ulong* negative)
    {
        var inverses = T.All(inverse);
        for (var quarter = 0; quarter < 4; quarter++)
            T.Levels(y + 64 * quarter, inverses, levels + 64 * quarter, out kept[quarter], out negative[quarter]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Above(byte* levels, int m) => T.Above(levels, m);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Compose(ulong present, ulong below, ulong* planes, int count, byte* levels) =>
        T.Compose(present, below, planes, count, levels);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Plane(byte* levels, int bit) => T.Plane(levels, bit);

    [SkipLocalsInit]
    public static void Values(byte* levels, int highest, Magnitudes* magnitudes, float* y)
    {
        for (var pair = 0; pair < 2; pair++)
        {
            Vector128<float> a = Vector128.Load(levels + 32 * pair).AsSingle(), b = Vector128.Load(levels + 32 * pair + 16).AsSingle();
            Vector128<float> above, below;
            if (System.Runtime.Intrinsics.X86.Sse.IsSupported)
            {
                above = System.Runtime.Intrinsics.X86.Sse.Shuffle(a, b, 0x88);
                below = System.Runtime.Intrinsics.X86.Sse.Shuffle(a, b, 0xDD);
            }
            else
            {
                above = Vector128.Create(a[0], a[2], b[0], b[2]);
                below = Vector128.Create(a[1], a[3], b[1], b[3]);
            }
            T.Values(above.AsByte(), magnitudes, highest, y + 32 * pair);
            T.Values(below.AsByte(), magnitudes, highest, y + 32 * pair + 16);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Values(ulong present, ulong two, ulong below, Magnitudes* magnitudes, float* y) =>
        T.Values(present, two, below, magnitudes, y);

    public static bool Look(float* from, long stride, ulong* positive, ref bool anyNegative)
    {
        var most = T.All(0);
        if (anyNegative) new Span<ulong>(positive, 4).Fill(~0UL);
        else
        {
            var rows = from;
            // Whole words are stored, since a load that spans several stores is slow.
            for (var quarter = 0; quarter < 4; quarter++, rows += 4 * stride)
            {
                // Where rows are further apart, the transform prefetches.
                if (stride == 16) for (var row = 0; row < 4; row++) CacheLine.Ask(rows + 16 * row + CacheLine.Ahead);
                positive[quarter] = T.NotZero(rows, stride, ref most);
            }
            if (!T.AnySigned(most)) return !T.AnyAbove(most, GridFormat.Largest);
        }
        T largest = T.All(0), least = T.All(0);
        for (var row = 0; row < 16; row++) T.Measure(from + row * stride, ref largest, ref least);
        anyNegative |= T.AnyNegative(least);
        return !T.AnyAbove(largest, GridFormat.Largest);
    }

    public static void Restore(float* x, ulong* positive, float smallest, float* to, long stride)
    {
        var least = T.All(smallest);
        for (var pair = 0; pair < 8; pair++, to += 2 * stride)
        {
            CacheLine.Ask(to + CacheLine.Ahead);
            CacheLine.Ask(to + stride + CacheLine.Ahead);
            T.Restore(x + 32 * pair, ((uint*)positive)[pair], least, to, stride);
        }
    }
}
