using Actipress.Grid;
using Actipress.Grid.Bits;
using Actipress.Grid.Gpu;
using Actipress.Selection;
using ILGPU;
using static Actipress.Gpu.KernelText;
using static Actipress.Grid.Gpu.KernelSizes;

namespace Actipress;

/// <summary>
/// Packs and unpacks grid storage on a GPU, in the bytes of docs/format.md. Packing launches <see cref="Sample"/>, <see cref="Tally"/>,
/// <see cref="Narrow"/> twice and <see cref="Settle"/>, which find the step as <see cref="GridMap"/> does on the CPU. <see cref="Measure"/>
/// reads the map once and counts the bits of each stretch of 64 tiles. <see cref="Lay"/> computes the offset of each chunk.
/// <see cref="Write"/> reads the map again and writes the bits. Unpacking launches <see cref="Unpack"/> alone. Sixteen threads share a
/// tile; a group has a multiple of sixteen threads, up to <see cref="MostThreads"/>. Wavelets need the kernels of GridKernels.Wavelet.cs
/// too.
/// </summary>
static partial class GridKernels
{
    const int MostCrews = MostThreads / 16, Quarters = 4;
    const float FractionUnits = 1 << 23;

    /// <summary>Transforms a sample of tiles.</summary>
    public static void Sample(
        ArrayView<byte> values, GpuMap map, ArrayView<GpuRegion> regions, ArrayView<float> cosines, int count, ArrayView<float> sample)
    {
        var x = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var y = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var (crew, lane) = (Group.IdxX >> 4, Group.IdxX & 15);
        var (i, at) = (ILGPU.Grid.IdxX * (Group.DimX >> 4) + crew, crew * GpuTile.Floats);
        var real = i < count;
        var tile = GridSample.Chosen(real ? i : 0, count, map.Tiles);
        var region = map.Regions == 0 ? default : GpuTile.RegionOf(map, regions, tile);
        GpuTile.Load(values, map, region, tile, x, at, lane);
        Forward(map, region, x, y, at, lane, cosines);
        if (!real) return;
        for (var k = 0; k < 16; k++) sample[i * 256 + lane * 16 + k] = x[at + lane * GpuTile.Pitch + k];
    }

    /// <summary>Makes the first histogram of a sample's magnitudes.</summary>
    public static void Tally(ArrayView<float> sample, int coefficients, ArrayView<int> histograms, ArrayView<GpuState> state)
    {
        for (var i = ILGPU.Grid.IdxX * Group.DimX + Group.IdxX; i < coefficients; i += ILGPU.Grid.DimX * Group.DimX)
        {
            var magnitude = Interop.FloatAsInt(sample[i]) & 0x7FFFFFFF;
            if (magnitude == 0) continue;
            Atomic.Add(ref histograms[(int)(magnitude >> 31 - TopK.FirstBits)], 1);
            Atomic.Max(ref state[0].SmallestInverted, ~magnitude);
            Atomic.Max(ref state[0].Largest, magnitude);
        }
    }

    /// <summary>Makes the next histogram, of the magnitudes whose leading bits equal those of the wanted-largest magnitude.</summary>
    /// <remarks><c>pass</c>: 1 or 2.</remarks>
    public static void Narrow(
        ArrayView<float> sample, int coefficients, int wanted, int pass, ArrayView<int> histograms, ArrayView<GpuState> state)
    {
        var sums = SharedMemory.Allocate<int>(MostThreads + 2);
        var prefix = Begin(pass, wanted, histograms, state, sums, out var left);
        var known = pass == 1 ? TopK.FirstBits : TopK.FirstBits + TopK.SecondBits;
        var next = pass == 1 ? TopK.SecondBits : TopK.ThirdBits;
        var first = pass == 1 ? 1 << TopK.FirstBits : (1 << TopK.FirstBits) + (1 << TopK.SecondBits);
        if (ILGPU.Grid.IdxX == 0 && Group.IdxX == 0)
        {
            if (pass == 1) (state[0].PrefixOfOne, state[0].WantedAfterOne) = (prefix, left);
            else (state[0].PrefixOfTwo, state[0].WantedAfterTwo) = (prefix, left);
        }
        for (var i = ILGPU.Grid.IdxX * Group.DimX + Group.IdxX; i < coefficients; i += ILGPU.Grid.DimX * Group.DimX)
        {
            var magnitude = Interop.FloatAsInt(sample[i]) & 0x7FFFFFFF;
            if (magnitude != 0 && magnitude >> 31 - known == prefix >> 31 - known)
                Atomic.Add(ref histograms[first + (int)(magnitude >> 31 - known - next & (1u << next) - 1)], 1);
        }
    }

    // The leading bits of the threshold that are known before a pass, and the rank of the threshold among the magnitudes with these bits.
    static uint Begin(int pass, int wanted, ArrayView<int> histograms, ArrayView<GpuState> state, ArrayView<int> sums, out int left)
    {
        var prefix = pass == 1 ? 0 : pass == 2 ? state[0].PrefixOfOne : state[0].PrefixOfTwo;
        left = pass == 1 ? wanted : pass == 2 ? state[0].WantedAfterOne : state[0].WantedAfterTwo;
        var first = pass == 1 ? 0 : pass == 2 ? 1 << TopK.FirstBits : (1 << TopK.FirstBits) + (1 << TopK.SecondBits);
        var bins = pass == 1 ? 1 << TopK.FirstBits : pass == 2 ? 1 << TopK.SecondBits : 1 << TopK.ThirdBits;
        var shift = pass == 1 ? 31 - TopK.FirstBits : pass == 2 ? TopK.ThirdBits : 0;

        // Each thread sums neighbouring bins. The first thread then searches from the largest bin down.
        var each = bins / Group.DimX;
        var sum = 0;
        for (var bin = 0; bin < each; bin++) sum += histograms[first + Group.IdxX * each + bin];
        sums[Group.IdxX] = sum;
        Group.Barrier();
        if (Group.IdxX == 0)
        {
            var part = Group.DimX - 1;
            for (; part > 0 && sums[part] < left; part--) left -= sums[part];
            var bin = (part + 1) * each - 1;
            for (; bin > 0 && histograms[first + bin] < left; bin--) left -= histograms[first + bin];
            sums[MostThreads] = bin;
            sums[MostThreads + 1] = left;
        }
        Group.Barrier();
        left = sums[MostThreads + 1];
        return prefix | (uint)sums[MostThreads] << shift;
    }

    /// <summary>Computes the step, and the sums and counts whose quotients are the offsets.</summary>
    /// <remarks><c>given</c>: the step where it does not depend on the map; else 0.</remarks>
    public static void Settle(ArrayView<float> sample, int coefficients, float given, ArrayView<int> histograms, ArrayView<GpuState> state)
    {
        var sums = SharedMemory.Allocate<int>(MostThreads + 2);
        var threshold = Interop.IntAsFloat(Begin(3, 0, histograms, state, sums, out _));
        if (threshold == 0)
        {
            // Fewer coefficients than wanted differ from zero.
            var (smallest, largest) = (Interop.IntAsFloat(~state[0].SmallestInverted), Interop.IntAsFloat(state[0].Largest));
            threshold = largest == 0 ? 0 : Math.Max(smallest, largest / 4096);
        }
        var step = Math.Max(given > 0 ? given : threshold, GridSample.SmallestStep);
        var inverse = 1 / step;
        if (ILGPU.Grid.IdxX == 0 && Group.IdxX == 0) state[0].Step = step;
        int firsts = 0, others = 0;
        long firstSum = 0, otherSum = 0;
        for (var i = ILGPU.Grid.IdxX * Group.DimX + Group.IdxX; i < coefficients; i += ILGPU.Grid.DimX * Group.DimX)
        {
            var scaled = Math.Abs(sample[i]) * inverse;
            var level = (int)Math.Min(scaled, GridLevels.Escape);
            if (level == 0 || level == GridLevels.Escape) continue;
            var fraction = (int)((scaled - level) * FractionUnits);
            if (level == 1) (firsts, firstSum) = (firsts + 1, firstSum + fraction);
            else (others, otherSum) = (others + 1, otherSum + fraction);
        }
        if (firsts != 0)
        {
            Atomic.Add(ref state[0].Firsts, firsts);
            Atomic.Add(ref state[0].FirstSum, firstSum);
        }
        if (others != 0)
        {
            Atomic.Add(ref state[0].Others, others);
            Atomic.Add(ref state[0].OtherSum, otherSum);
        }
    }

    /// <summary>
    /// Reads the map. Counts the bits of each stretch in each stream and the bits of levels of each tile, and finds the kinds of values.
    /// </summary>
    public static void Measure(
        ArrayView<byte> values, GpuMap map, ArrayView<GpuRegion> regions, ArrayView<float> cosines, ArrayView<GpuCounts> stretches,
        ArrayView<ushort> levelBits, ArrayView<GpuState> state)
    {
        var x = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var y = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var planes = SharedMemory.Allocate<ulong>(MostCrews * Quarters * GpuLevels.Planes);
        var counts = SharedMemory.Allocate<GpuCounts>(MostCrews * Quarters);
        var (crews, crew, lane) = (Group.DimX >> 4, Group.IdxX >> 4, Group.IdxX & 15);
        var (stretch, at, inverse, exchanged) = (Stretch(map), crew * GpuTile.Floats, 1 / state[0].Step, map.Regions > 0);
        var first = FirstTile(map, stretch);
        var last = first + TilesOf(map, stretch);
        var total = new GpuCounts();
        for (var batch = first; batch < last; batch += crews)
        {
            var tile = Math.Min(batch + crew, last - 1);
            var region = map.Regions == 0 ? default : GpuTile.RegionOf(map, regions, tile);
            var seen = GpuTile.Load(values, map, region, tile, x, at, lane);
            if (map.MapElements == 0) Tell(seen, state);
            Forward(map, region, x, y, at, lane, cosines);
            GpuLevels.Round(x, at, exchanged, inverse, planes, crew * Quarters * GpuLevels.Planes, lane);
            Group.Barrier();
            if (Group.IdxX < crews * Quarters)
                counts[Group.IdxX] = batch + (Group.IdxX >> 2) < last ? GpuLevels.Count(planes, Group.IdxX * GpuLevels.Planes) : default;
            Group.Barrier();
            if (lane == 0 && batch + crew < last)
            {
                var bits = 0;
                for (var quarter = 0; quarter < Quarters; quarter++) bits += counts[crew * Quarters + quarter].LevelBits;
                levelBits[tile] = (ushort)bits;
            }
            for (var quarter = 0; quarter < crews * Quarters; quarter++) total += counts[quarter];
        }
        if (Group.IdxX == 0) stretches[stretch] = total;
    }

    /// <summary>Computes the offset of each chunk by a prefix sum, and the total number of bytes. It runs in one group.</summary>
    public static void Lay(
        GpuMap map, ArrayView<GpuRegion> regions, ArrayView<GpuCounts> stretches, int chunks, int exactZeros, ArrayView<long> starts,
        ArrayView<GpuState> state)
    {
        var sums = SharedMemory.Allocate<long>(MostThreads);
        var hasZeros = exactZeros != 0 && state[0].AnyZero != 0 && state[0].AnyNegative == 0;
        var each = (chunks + Group.DimX - 1) / Group.DimX;
        var (first, last) = (Group.IdxX * each, Math.Min(chunks, (Group.IdxX + 1) * each));
        long sum = 0;
        for (var chunk = first; chunk < last; chunk++)
        {
            sum += GpuStreams.Bytes(TilesIn(map, chunk), hasZeros ? ZeroBits(map, regions, chunk) : 0, ChunkCounts(map, stretches, chunk));
            starts[chunk] = sum;
        }
        sums[Group.IdxX] = sum;
        Group.Barrier();
        var at = GridMap.HeaderBytes + sizeof(int) * (long)chunks;
        for (var thread = 0; thread < Group.IdxX; thread++) at += sums[thread];
        for (var chunk = first; chunk < last; chunk++)
        {
            var end = at + starts[chunk];
            if (chunk == chunks - 1) state[0].Bytes = end;
            starts[chunk] = end
                - GpuStreams.Bytes(TilesIn(map, chunk), hasZeros ? ZeroBits(map, regions, chunk) : 0, ChunkCounts(map, stretches, chunk));
        }
        if (Group.IdxX != 0) return;
        state[0].HasZeros = hasZeros ? 1 : 0;
        state[0].FirstOffset = Mean(state[0].FirstSum, state[0].Firsts);
        state[0].OtherOffset = Mean(state[0].OtherSum, state[0].Others);
    }

    static float Mean(long sum, int count) => count == 0 ? 0 : (float)(sum * (1 / (double)FractionUnits) / count);

    /// <summary>Reads the map again and writes the grid into a buffer of zeros.</summary>
    public static void Write(
        ArrayView<byte> values, GpuMap map, ArrayView<GpuRegion> regions, ArrayView<float> cosines, ArrayView<GpuCounts> stretches,
        ArrayView<long> starts, ArrayView<GpuState> state, ArrayView<uint> words)
    {
        var x = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var y = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var planes = SharedMemory.Allocate<ulong>(MostCrews * Quarters * GpuLevels.Planes);
        var counts = SharedMemory.Allocate<GpuCounts>(MostCrews * Quarters);
        var (crews, crew, lane) = (Group.DimX >> 4, Group.IdxX >> 4, Group.IdxX & 15);
        var (stretch, at, inverse, exchanged) = (Stretch(map), crew * GpuTile.Floats, 1 / state[0].Step, map.Regions > 0);
        var first = FirstTile(map, stretch);
        var last = first + TilesOf(map, stretch);
        var chunk = stretch / StretchesPerChunk;
        var hasZeros = state[0].HasZeros != 0;
        var streams = ChunkStreams(map, regions, stretches, starts, chunk, hasZeros);
        if (Group.IdxX == 0 && stretch % StretchesPerChunk == 0) WriteHeads(map, regions, stretches, starts, state, words, chunk, hasZeros);
        streams = streams.After(Before(stretches, stretch));
        for (var batch = first; batch < last; batch += crews)
        {
            var tile = Math.Min(batch + crew, last - 1);
            var region = map.Regions == 0 ? default : GpuTile.RegionOf(map, regions, tile);
            GpuTile.Load(values, map, region, tile, x, at, lane);
            Group.Barrier();
            if (hasZeros && map.MapElements == 0 && batch + crew < last && lane < GpuTile.Filled(map, region.Height.Points))
            {
                var columns = GpuTile.Filled(map, region.Width.Points);
                GpuBits.Write(
                    words, streams.Zeros + ZeroBitsBefore(map, regions, chunk, tile) + lane * columns,
                    GpuTile.Positive(x, at, lane) & (1u << columns) - 1);
            }
            Forward(map, region, x, y, at, lane, cosines);
            GpuLevels.Round(x, at, exchanged, inverse, planes, crew * Quarters * GpuLevels.Planes, lane);
            Group.Barrier();
            var quarter = Group.IdxX;
            var own = quarter < crews * Quarters && batch + (quarter >> 2) < last;
            if (quarter < crews * Quarters) counts[quarter] = own ? GpuLevels.Count(planes, quarter * GpuLevels.Planes) : default;
            Group.Barrier();
            if (own)
            {
                var groups = streams.Groups + 32 * (batch - FirstTile(map, chunk * StretchesPerChunk)) + 8 * quarter;
                GpuLevels.Write(
                    planes, quarter * GpuLevels.Planes, words, streams.After(Sum(counts, 0, quarter)), groups, x,
                    (quarter >> 2) * GpuTile.Floats, exchanged, quarter & 3);
            }
            streams = streams.After(Sum(counts, 0, crews * Quarters));
            Group.Barrier();
        }
    }

    // Writes the chunk's length into the list of lengths, the length of its levels, and, in the first chunk, the grid's header.
    static void WriteHeads(
        GpuMap map, ArrayView<GpuRegion> regions, ArrayView<GpuCounts> stretches, ArrayView<long> starts, ArrayView<GpuState> state,
        ArrayView<uint> words, int chunk, bool hasZeros)
    {
        var counts = ChunkCounts(map, stretches, chunk);
        var length = GpuStreams.Bytes(TilesIn(map, chunk), hasZeros ? ZeroBits(map, regions, chunk) : 0, counts);
        GpuBits.Write(words, 8L * (GridMap.HeaderBytes + sizeof(int) * chunk), (ulong)length);
        GpuBits.Write(words, 8 * starts[chunk], (ulong)(counts.LevelBits + 7 >> 3));
        if (chunk > 0) return;
        GpuBits.Write(words, 0, Interop.FloatAsInt(state[0].Step) | (ulong)Interop.FloatAsInt(state[0].FirstOffset) << 32);
        GpuBits.Write(words, 64, Interop.FloatAsInt(state[0].OtherOffset) | (hasZeros ? 1UL << 32 : 0));
    }

    /// <summary>Rebuilds the map.</summary>
    public static void Unpack(
        ArrayView<uint> words, ArrayView<GpuCounts> stretches, ArrayView<long> starts, ArrayView<ushort> levelBits, GpuSteps steps,
        int hasZeros, GpuMap map, ArrayView<GpuRegion> regions, ArrayView<float> cosines, ArrayView<byte> values)
    {
        var x = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var y = SharedMemory.Allocate<float>(MostCrews * GpuTile.Floats);
        var planes = SharedMemory.Allocate<ulong>(TilesPerStretch * Quarters * GpuLevels.Planes);
        var counts = SharedMemory.Allocate<GpuCounts>(TilesPerStretch);
        var (crews, crew, lane) = (Group.DimX >> 4, Group.IdxX >> 4, Group.IdxX & 15);
        var (stretch, at, exchanged) = (Stretch(map), crew * GpuTile.Floats, map.Regions > 0);
        var first = FirstTile(map, stretch);
        var tiles = TilesOf(map, stretch);
        var chunk = stretch / StretchesPerChunk;
        var streams = ChunkStreams(map, regions, stretches, starts, chunk, hasZeros != 0).After(Before(stretches, stretch));
        var firstGroups = streams.Groups + 32 * (first - FirstTile(map, chunk * StretchesPerChunk));

        // The bits of groups give the number of masks, and the masks give the number of signs. The bits of levels are in an index. The
        // number of escapes is known once the levels are read.
        for (var tile = Group.IdxX; tile < tiles; tile += Group.DimX)
            counts[tile] = new()
            {
                Masks = System.Numerics.BitOperations.PopCount((uint)GpuBits.Read(words, firstGroups + 32 * tile)),
                LevelBits = levelBits[first + tile],
            };
        Group.Barrier();
        for (var tile = Group.IdxX; tile < tiles; tile += Group.DimX)
        {
            var before = Sum(counts, 0, tile);
            var signs = 0;
            for (var mask = 0; mask < counts[tile].Masks; mask += 8)
            {
                var bits = GpuBits.Read(words, streams.Masks + 8L * (before.Masks + mask));
                var rest = counts[tile].Masks - mask;
                signs += System.Numerics.BitOperations.PopCount(rest >= 8 ? bits : bits & (1UL << 8 * rest) - 1);
            }
            // No other thread reads the signs before the barrier.
            counts[tile].Signs = signs;
        }
        Group.Barrier();
        for (var tile = Group.IdxX; tile < tiles; tile += Group.DimX)
        {
            var from = streams.After(Sum(counts, 0, tile));
            var groups = (uint)GpuBits.Read(words, firstGroups + 32 * tile);
            var escapes = 0;
            for (var quarter = 0; quarter < Quarters; quarter++)
            {
                var read =
                    GpuLevels.Read(words, from, groups >> 8 * quarter & 0xFF, planes, (tile * Quarters + quarter) * GpuLevels.Planes);
                from = from.After(read);
                escapes += read.Escapes;
            }
            counts[tile].Escapes = escapes;
        }
        Group.Barrier();
        for (var batch = 0; batch < tiles; batch += crews)
        {
            var own = batch + crew < tiles;
            var tile = own ? batch + crew : tiles - 1;
            var region = map.Regions == 0 ? default : GpuTile.RegionOf(map, regions, first + tile);
            var escapes = streams.After(Sum(counts, 0, tile)).Escapes;
            GpuLevels.Restore(planes, tile * Quarters * GpuLevels.Planes, lane, words, escapes, steps, x, at, exchanged);
            Inverse(map, region, x, y, at, lane, cosines);
            if (hasZeros != 0 && map.MapElements == 0 && lane < GpuTile.Filled(map, region.Height.Points))
            {
                var columns = GpuTile.Filled(map, region.Width.Points);
                var positive =
                    (uint)GpuBits.Read(words, streams.Zeros + ZeroBitsBefore(map, regions, chunk, first + tile) + lane * columns);
                for (var column = 0; column < columns; column++)
                {
                    var value = x[at + lane * GpuTile.Pitch + column];
                    x[at + lane * GpuTile.Pitch + column] = (positive >> column & 1) != 0
                        ? Math.Max(value, GpuCells.Least(map.Type, steps.Step)) : 0;
                }
            }
            Group.Barrier();
            if (own) GpuTile.Store(x, at, lane, values, map, region, first + tile);
            Group.Barrier();
        }
    }

    // Transforms a tile of which each thread has loaded one column. The coefficients end in x, transposed.
    static void Forward(GpuMap map, GpuRegion region, ArrayView<float> x, ArrayView<float> y, int at, int lane, ArrayView<float> cosines)
    {
        Group.Barrier();
        if (map.Regions == 0) return;
        GpuTile.Slices(x, at, lane, region, cosines, inverse: false);
        Group.Barrier();
        GpuTile.Line(x, y, at + lane, GpuTile.Pitch, region.Height, cosines, inverse: false);
        Group.Barrier();
        GpuTile.Line(y, x, at + lane * GpuTile.Pitch, 1, region.Width, cosines, inverse: false);
        Group.Barrier();
    }

    // The inverse transform, of the coefficients in x into the values in x.
    static void Inverse(GpuMap map, GpuRegion region, ArrayView<float> x, ArrayView<float> y, int at, int lane, ArrayView<float> cosines)
    {
        Group.Barrier();
        if (map.Regions == 0) return;
        GpuTile.Line(x, y, at + lane * GpuTile.Pitch, 1, region.Width, cosines, inverse: true);
        Group.Barrier();
        GpuTile.Line(y, x, at + lane, GpuTile.Pitch, region.Height, cosines, inverse: true);
        Group.Barrier();
        GpuTile.Slices(x, at, lane, region, cosines, inverse: true);
        Group.Barrier();
    }

    static void Tell(int seen, ArrayView<GpuState> state)
    {
        if ((seen & GpuTile.Unusable) != 0) state[0].NotFinite = 1;
        if ((seen & GpuTile.Zero) != 0 && state[0].AnyZero == 0) state[0].AnyZero = 1;
        if ((seen & GpuTile.BelowZero) != 0 && state[0].AnyNegative == 0) state[0].AnyNegative = 1;
    }

    // The stretch of tiles that this group works on.
    static int Stretch(GpuMap map) => map.FirstUnit * map.ChunksPerUnit * StretchesPerChunk + ILGPU.Grid.IdxX;

    static long FirstTile(GpuMap map, int stretch)
    {
        var unit = stretch / (map.ChunksPerUnit * StretchesPerChunk);
        return (long)unit * map.TilesPerUnit + (stretch - unit * map.ChunksPerUnit * StretchesPerChunk) * TilesPerStretch;
    }

    // The number of tiles of a stretch: 0 where the unit has ended before it.
    static int TilesOf(GpuMap map, int stretch) =>
        Math.Max(0, (int)Math.Min(TilesPerStretch, EndOfUnit(map, stretch / StretchesPerChunk) - FirstTile(map, stretch)));

    static int TilesIn(GpuMap map, int chunk) =>
        (int)Math.Min(GridChunk.TilesPerChunk, EndOfUnit(map, chunk) - FirstTile(map, chunk * StretchesPerChunk));

    static long EndOfUnit(GpuMap map, int chunk) => Math.Min(map.Tiles, (chunk / map.ChunksPerUnit + 1L) * map.TilesPerUnit);

    // The number of bits of zeros of the tiles before this one in its chunk.
    static long ZeroBitsBefore(GpuMap map, ArrayView<GpuRegion> regions, int chunk, long tile) =>
        GpuTile.ZeroBitsBefore(map, regions, tile) - GpuTile.ZeroBitsBefore(map, regions, FirstTile(map, chunk * StretchesPerChunk));

    // The number of bits of zeros of a chunk. Under a wavelet the first chunk of a unit has those of the whole unit.
    static long ZeroBits(GpuMap map, ArrayView<GpuRegion> regions, int chunk)
    {
        if (map.MapElements == 0)
            return ZeroBitsBefore(map, regions, chunk, FirstTile(map, chunk * StretchesPerChunk) + TilesIn(map, chunk));
        var unit = chunk / map.ChunksPerUnit;
        return unit * map.ChunksPerUnit == chunk ? (long)MapsOf(map, unit) * map.MapElements : 0;
    }

    static int MapsOf(GpuMap map, int unit) => Math.Min(map.MapsPerUnit, map.Maps - unit * map.MapsPerUnit);

    static GpuStreams ChunkStreams(
        GpuMap map, ArrayView<GpuRegion> regions, ArrayView<GpuCounts> stretches, ArrayView<long> starts, int chunk, bool hasZeros) =>
        new(starts[chunk], TilesIn(map, chunk), hasZeros ? ZeroBits(map, regions, chunk) : 0, ChunkCounts(map, stretches, chunk));

    static GpuCounts ChunkCounts(GpuMap map, ArrayView<GpuCounts> stretches, int chunk)
    {
        var first = chunk * StretchesPerChunk;
        return Sum(stretches, first, first + (TilesIn(map, chunk) + TilesPerStretch - 1) / TilesPerStretch);
    }

    // The bits of the stretches before this one in its chunk.
    static GpuCounts Before(ArrayView<GpuCounts> stretches, int stretch) =>
        Sum(stretches, stretch / StretchesPerChunk * StretchesPerChunk, stretch);

    static GpuCounts Sum(ArrayView<GpuCounts> counts, int first, int last)
    {
        var sum = new GpuCounts();
        for (var i = first; i < last; i++) sum += counts[i];
        return sum;
    }
}
