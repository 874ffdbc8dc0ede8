namespace Actipress;

unsafe partial class GridMap
{
    partial class Packing<TFace, TCells>
    {
        readonly GridAssembly?[] assemblies = new GridAssembly?[tiles.Wavelet is { InBands: true } wavelet ? wavelet.Units : 0];

        // Large maps, each whole or in parts, band by band.
        void PackBands(GridWavelet wavelet)
        {
            using var bands = GridAnalysis.Of<TFace, TCells>(wavelet, map);
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
            var (block, end) = GridWavelet.PartOf((wavelet.Elements + 255L) / 256, part, parts);
            for (; block < end; block++)
            {
                var (at, count) = (256 * block, Math.Min(256, wavelet.Elements - 256 * block));
                var usable = GridMover<TCells>.Look<TFace>(map, (long)unit * wavelet.Elements + at, count, null, tile, positive, ref seen.Negative);
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

    partial class Unpacking<TFace, TCells>
    {
        // Large maps, each whole or in parts.
        void UnpackBands(GridWavelet wavelet)
        {
            using var reader = new GridBandReader<TFace>(packed, tiles, wavelet);
            if (wavelet.IsLine) UnpackLine(wavelet, reader);
            else UnpackLines(wavelet, reader);
        }

        // Some values at a time.
        void UnpackLine(GridWavelet wavelet, GridBandReader<TFace> reader)
        {
            using var synthesis = new GridLineSynthesis<TFace>(wavelet, reader);
            using var spare = new GridMemory(GridWavelet.Segment);
            for (int share = 0, end = 0; share < end || work.Take(out share, out end); share++)
            {
                var (unit, part) = Math.DivRem(share, parts);
                reader.Open(unit);
                var (at, last) = GridWavelet.PartOf(wavelet.Elements, part, parts);
                for (int some; at < last; at += some)
                {
                    some = Math.Min(GridWavelet.Segment, last - at);
                    var values = TCells.AreFloats ? (float*)map + unit * wavelet.UnitElements + at : spare[0];
                    synthesis.Combine(at, at + some, values);
                    Put(wavelet, unit, at, some, values);
                }
            }
        }

        // Two lines at a time.
        void UnpackLines(GridWavelet wavelet, GridBandReader<TFace> reader)
        {
            using var synthesis = new GridSynthesis<TFace>(wavelet, reader);
            var elements = synthesis.LineElements;
            // Lines that are not to be kept, or not of the map's type.
            using var spare = new GridMemory(elements, elements);
            for (int share = 0, end = 0; share < end || work.Take(out share, out end); share++)
            {
                var (unit, part) = Math.DivRem(share, parts);
                reader.Open(unit);
                synthesis.Begin();
                var (pair, last) = GridWavelet.PartOf(synthesis.Pairs, part, parts);
                for (; pair < last; pair++)
                {
                    var (first, second) = synthesis.Numbers(pair);
                    float* one = Place(first, spare[0]), two = Place(second, spare[1]);
                    synthesis.Combine(pair, one, two);
                    Finish(first, one);
                    Finish(second, two);
                }

                float* Place(int line, float* spare) => TCells.AreFloats && line < synthesis.Lines ? (float*)map + unit * wavelet.UnitElements + (long)line * elements : spare;

                void Finish(int line, float* values)
                {
                    if (line < synthesis.Lines) Put(wavelet, unit, (long)line * elements, elements, values);
                }
            }
        }
    }
}
