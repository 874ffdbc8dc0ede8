using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress;

unsafe partial class GridMap
{
    partial class Packing<TFace, TCells>
    {
        readonly GridAssembly?[] assemblies = new GridAssembly?[tiles.Wavelet is { InBands: true } wavelet ? wavelet.Units : 0];

        // Large maps, each whole or in parts, band by band.
        void PackBands(GridWavelet wavelet)
        {
            using var bands = new GridAnalysis<TFace, TCells>(wavelet, map);
            using var packer = new BandPacker(this, wavelet);
            var seen = new Seen();
            for (int share = 0, end = 0; (share < end || work.Take(out share, out end)) && Outcome == Outcome.Packed; share++)
            {
                var (unit, part) = Math.DivRem(share, parts);
                var assembly = packer.Assembly = AssemblyOf(unit, wavelet);
                if (!See(wavelet, unit, part, assembly, ref seen)) return;
                bands.Divide(unit, part, parts, packer);
                packer.End();
                if (!assembly.Done()) continue;
                // Its zeros came from all parts.
                Finish(assembly, 0);
                assembly.Dispose();
                assemblies[unit] = null;
            }
            Report(seen);
        }

        GridAssembly AssemblyOf(int unit, GridWavelet wavelet)
        {
            lock (assemblies) return assemblies[unit] ??= new(tiles, wavelet, unit, withZeros, parts);
        }

        // Looks at a part's share of a map and keeps its zeros; false where they are not to be packed.
        bool See(GridWavelet wavelet, int unit, int part, GridAssembly assembly, ref Seen seen)
        {
            var positive = stackalloc ulong[4];
            var tile = stackalloc float[256];
            var blocks = (wavelet.Elements + 255L) / 256;
            for (var block = blocks * part / parts; block < blocks * (part + 1) / parts; block++)
            {
                var (at, count) = ((int)(256 * block), (int)Math.Min(256, wavelet.Elements - 256 * block));
                var usable = GridMover<TCells>.Look<TFace>(map, (long)unit * wavelet.Elements + at, count, tile, positive, ref seen.Negative);
                if (!Accept(usable, positive, count, ref seen)) return false;
                if (withZeros) assembly.KeepZeros(at, positive, count);
            }
            return Usable(seen);
        }

        void Finish(GridAssembly assembly, int chunk)
        {
            Store(assembly.FirstChunk + chunk, assembly[chunk].Finish(out var length), length);
            assembly[chunk].Dispose();
        }

        // Packs the bands' tiles as they come.
        sealed class BandPacker(Packing<TFace, TCells> packing, GridWavelet wavelet) : GridBandRows(wavelet)
        {
            readonly GridChunk run = new(0, GridChunk.Batch);

            public GridAssembly Assembly { private get; set; } = null!;

            public override void Dispose()
            {
                run.Dispose();
                base.Dispose();
            }

            protected override int Take(long at, float* coefficients, int count, bool last)
            {
                var taken = (int)Math.Min(count, -at & 255);
                if (taken > 0) Share(at, coefficients, taken);
                while (count - taken >= 256)
                {
                    var tile = (int)((at + taken) / 256);
                    var some = Math.Min(Math.Min(GridChunk.Batch, (count - taken) / 256), GridTiles.TilesPerChunk - tile % GridTiles.TilesPerChunk);
                    Write(tile, coefficients + taken, some);
                    taken += 256 * some;
                }
                if (!last || taken == count) return taken;
                Share(at + taken, coefficients + taken, count - taken);
                return count;
            }

            void Share(long at, float* coefficients, int count)
            {
                if (Assembly.Share(at, coefficients, count) is { } whole) fixed (float* tile = whole) Write((int)(at / 256), tile, 1);
            }

            void Write(int tile, float* coefficients, int count)
            {
                run.Begin();
                run.Write<TFace>(coefficients, count, packing.inverse);
                var (chunk, first) = Math.DivRem(tile, GridTiles.TilesPerChunk);
                if (Assembly[chunk].Add(first, run) && chunk > 0) packing.Finish(Assembly, chunk);
            }
        }
    }

    /// <summary>Starts to read a chunk of a map.</summary>
    internal void Open(GridChunkReader reader, int chunk, int tiles, int zeroBits) => reader.Open((byte*)chunks[chunk], lengths[chunk], tiles, zeroBits);

    partial class Unpacking<TFace, TCells>
    {
        // Large maps, each whole or in parts, two lines at a time.
        void UnpackBands(GridWavelet wavelet)
        {
            using var reader = new GridBandReader<TFace>(packed, tiles, wavelet);
            using var synthesis = new GridSynthesis<TFace>(wavelet, reader);
            var elements = synthesis.LineElements;
            // A line that is not to be kept, or not in the map's type; and a tile behind it.
            long space = elements + 256L;
            var lines = (float*)NativeMemory.AlignedAlloc((nuint)(2 * space * sizeof(float)), 64);
            try
            {
                for (int share = 0, end = 0; share < end || work.Take(out share, out end); share++)
                {
                    var (unit, part) = Math.DivRem(share, parts);
                    reader.Open(unit);
                    synthesis.Begin();
                    for (var pair = (int)((long)synthesis.Pairs * part / parts); pair < (int)((long)synthesis.Pairs * (part + 1) / parts); pair++)
                    {
                        var (first, second) = synthesis.Numbers(pair);
                        float* one = Place(first, lines), two = Place(second, lines + space);
                        synthesis.Combine(pair, one, two);
                        Finish(first, one);
                        Finish(second, two);
                    }

                    float* Place(int line, float* spare) => TCells.AreFloats && line < wavelet.Lines(wavelet.Levels[0].Whole) ? (float*)map + (long)unit * wavelet.Elements + (long)line * elements : spare;

                    void Finish(int line, float* values)
                    {
                        if (line < wavelet.Lines(wavelet.Levels[0].Whole)) Put(wavelet, unit, (long)line * elements, elements, values);
                    }
                }
            }
            finally
            {
                AllocatorMeter.LookIn();
                NativeMemory.AlignedFree(lines);
            }
        }

        // Puts neighbours into the map, if they are not there, and their zeros, where these are kept.
        void Put(GridWavelet wavelet, int unit, long start, int elements, float* values)
        {
            var first = (long)unit * wavelet.Elements + start;
            var positive = stackalloc ulong[4];
            var tile = stackalloc float[256];
            for (var at = 0; at < elements; at += 256)
            {
                var count = Math.Min(256, elements - at);
                if (packed.HasZeros)
                {
                    packed.ReadZeros(unit * wavelet.ChunksPerUnit, tiles, start + at, count, positive);
                    if (TCells.AreFloats && count < 256)
                    {
                        GridUnit<TFace>.Copy(values + at, tile, count);
                        TFace.Restore(tile, positive, TCells.Smallest, tile, 16);
                        GridUnit<TFace>.Copy(tile, values + at, count);
                    }
                    else TFace.Restore(values + at, positive, TCells.Smallest, values + at, 16);
                }
                if (!TCells.AreFloats) GridMover<TCells>.Store(values + at, map, first + at, count);
            }
        }
    }

    // Which of up to 256 neighbours are not zero, of which `at` is the first, from the zeros of a chunk whose length was checked.
    void ReadZeros(int chunk, GridTiles tiles, long at, int count, ulong* positive)
    {
        var zeros = (byte*)chunks[chunk] + sizeof(int) + GridChunk.GroupBytes * tiles.TilesIn(chunk);
        var (end, shift) = ((at + count + 7) / 8, (int)(at & 7));
        for (var word = 0; word < 4; word++, at += 64)
        {
            ulong low = 0, next = 0;
            var from = zeros + at / 8;
            var there = (int)Math.Clamp(end - at / 8, 0, 9);
            Unsafe.CopyBlockUnaligned(&low, from, (uint)Math.Min(there, 8));
            if (there > 8) next = from[8];
            positive[word] = low >> shift | next << 1 << 63 - shift;
        }
    }
}
