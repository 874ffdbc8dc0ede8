using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;
using Actipress.Machine;

namespace Actipress.Grid;

// Maps under a wavelet that fill several chunks.
unsafe partial class GridMap
{
    partial class Packing<TFace, TCells>
    {
        // The number of values in one share of work.
        const int BlockElements = 1 << 14;

        void PackLarge(GridWavelet wavelet)
        {
            using var team = new GridTeam<TFace>(wavelet, threadsEach, TCells.AreFloats, divides: true);
            using var zeros = new GridMemory(withZeros ? (wavelet.Elements + 31L) / 32 + 8 : 0);
            foreach (var unit in work)
            {
                if (Outcome != Outcome.Packed) break;
                var first = (long)unit * wavelet.Elements;
                See(wavelet, first, team.Values, (byte*)zeros[0]);
                if (Outcome != Outcome.Packed) return;
                team.Forward(TCells.AreFloats ? (float*)map + first : team.Values);
                WriteChunks(wavelet, unit, team.Coefficients, (byte*)zeros[0]);
            }
        }

        // Examines a map, collects its zeros, and converts its values where they are not float32.
        void See(GridWavelet wavelet, long first, float* values, byte* zeros)
        {
            var blocks = new CpuTeam.Shares((wavelet.Elements + BlockElements - 1) / BlockElements, threadsEach);
            blocks.Run(() =>
            {
                var seen = new Seen();
                var positive = stackalloc ulong[4];
                var tile = stackalloc float[256];
                foreach (var block in blocks)
                    for (int at = block * BlockElements, last = Math.Min(wavelet.Elements, at + BlockElements); at < last; at += 256)
                    {
                        var count = Math.Min(256, last - at);
                        var usable = GridMover<TCells>.Look<TFace>(
                            map, first + at, count, TCells.AreFloats ? null : values + at, tile, positive, ref seen.Negative);
                        if (!Accept(usable, positive, count, ref seen)) return;
                        if (withZeros) Buffer.MemoryCopy(positive, zeros + at / 8, (count + 7) / 8, (count + 7) / 8);
                    }
                if (Usable(seen)) Report(seen);
            });
        }

        void WriteChunks(GridWavelet wavelet, int unit, float* coefficients, byte* zeros)
        {
            var chunks = new CpuTeam.Shares(wavelet.ChunksPerUnit, threadsEach);
            chunks.Run(() =>
            {
                using var chunk = new GridChunk(0);
                foreach (var index in chunks)
                {
                    var place = unit * wavelet.ChunksPerUnit + index;
                    var y = coefficients + (long)GridChunk.Coefficients * index;
                    chunk.Begin();
                    for (int tile = 0, last = tiles.TilesIn(place); tile < last; tile += GridChunk.Batch)
                        chunk.Write<TFace>(y + 256L * tile, Math.Min(GridChunk.Batch, last - tile), inverse);
                    // The first chunk holds the zeros of the whole map.
                    var zeroBytes = withZeros && index == 0 ? (wavelet.Elements + 7) / 8 : 0;
                    Store(place, chunk.Finish(zeros, zeros + zeroBytes, out var length), length);
                }
            });
        }
    }

    partial class Unpacking<TFace, TCells>
    {
        void UnpackLarge(GridWavelet wavelet)
        {
            using var team = new GridTeam<TFace>(wavelet, threadsEach, inPlace: true, divides: false);
            foreach (var unit in work)
            {
                var (index, elements) = (unit, GridUnit<TFace>.LineElements(wavelet.Levels[0].Whole));
                ReadChunks(wavelet, unit, team.Coefficients);
                team.Inverse(
                    TCells.AreFloats ? (float*)map + unit * wavelet.UnitElements : null,
                    (line, values) => Put(wavelet, index, (long)line * elements, elements, (float*)values));
            }
        }

        void ReadChunks(GridWavelet wavelet, int unit, float* coefficients)
        {
            var chunks = new CpuTeam.Shares(wavelet.ChunksPerUnit, threadsEach);
            chunks.Run(() =>
            {
                using var chunk = new GridChunkReader(0);
                var magnitudes = new Magnitudes(packed.Step, packed.FirstOffset, packed.OtherOffset);
                foreach (var index in chunks)
                {
                    var place = unit * wavelet.ChunksPerUnit + index;
                    var y = coefficients + (long)GridChunk.Coefficients * index;
                    var last = tiles.TilesIn(place);
                    packed.Open(chunk, place, last, packed.HasZeros && index == 0 ? wavelet.Elements : 0);
                    for (var tile = 0; tile < last; tile += GridChunk.Batch)
                        chunk.Read<TFace>(y + 256L * tile, Math.Min(GridChunk.Batch, last - tile), &magnitudes);
                    chunk.Close();
                }
            });
        }
    }
}
