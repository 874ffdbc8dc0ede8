using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress;

unsafe partial class GridChunk
{
    /// <summary>A chunk whose tiles come in runs of neighbours, in any order and from any thread, and are put together at the end.</summary>
    /// <param name="tiles">Tiles of the chunk.</param>
    /// <param name="zeroBytes">Bytes of zeros, which are written where they will stay.</param>
    public sealed class Runs(int tiles, int zeroBytes) : IDisposable
    {
        // The streams of some tiles, one after the other; these are in bytes, or bits.
        struct Run
        {
            public int First, Tiles, Masks, Signs, Levels, Escapes;

            public readonly int Bytes => sizeof(Run) + GroupBytes * Tiles + Masks + (Signs + 7) / 8 + (Levels + 7) / 8 + Escapes;
        }

        byte* runs, bytes = zeroBytes > 0 ? (byte*)NativeMemory.AllocZeroed((nuint)(HeadBytes(tiles) + zeroBytes)) : null;
        int used, room, there;
        readonly Lock gate = new();

        static int HeadBytes(int tiles) => sizeof(int) + GroupBytes * tiles;

        /// <summary>The zeros.</summary>
        public byte* Zeros => bytes + HeadBytes(tiles);

        /// <summary>Adds the tiles of <paramref name="chunk"/>, the first of which is this one's <paramref name="first"/>; tells whether all are there now.</summary>
        public bool Add(int first, GridChunk chunk)
        {
            byte* signEnd = chunk.signBits.End(), levelEnd = chunk.levelBits.End();
            var run = new Run
            {
                First = first,
                Tiles = chunk.tile,
                Masks = (int)(chunk.maskEnd - chunk.masks),
                Signs = chunk.signBits.Since(chunk.signs),
                Levels = chunk.levelBits.Since(chunk.levels),
                Escapes = (int)(chunk.escapeEnd - chunk.escapes),
            };
            lock (gate)
            {
                if (used + run.Bytes + Slack > room) runs = (byte*)NativeMemory.Realloc(runs, (nuint)(room = Math.Max(2 * room, used + run.Bytes + Slack)));
                var at = runs + used;
                Append(ref at, (byte*)&run, sizeof(Run));
                Append(ref at, chunk.groups, GroupBytes * run.Tiles);
                Append(ref at, chunk.masks, run.Masks);
                Append(ref at, chunk.signs, (int)(signEnd - chunk.signs));
                Append(ref at, chunk.levels, (int)(levelEnd - chunk.levels));
                Append(ref at, chunk.escapes, run.Escapes);
                used += run.Bytes;
                return (there += run.Tiles) == tiles;
            }
        }

        /// <summary>The chunk's bytes, in memory that the caller frees.</summary>
        public byte* Finish(out int length)
        {
            var order = stackalloc Run*[tiles];
            int masks = 0, signs = 0, levels = 0, escapes = 0, count = 0;
            for (var at = runs; at < runs + used; at += ((Run*)at)->Bytes) order[((Run*)at)->First] = (Run*)at;
            for (var tile = 0; tile < tiles; tile += order[count++]->Tiles)
            {
                var run = order[count] = order[tile];
                (masks, signs, levels, escapes) = (masks + run->Masks, signs + run->Signs, levels + run->Levels, escapes + run->Escapes);
            }
            var levelBytes = (levels + 7) / 8;
            length = HeadBytes(tiles) + zeroBytes + masks + (signs + 7) / 8 + levelBytes + escapes;
            // A stream's writer writes ahead, where the next stream is written after it.
            bytes = (byte*)NativeMemory.Realloc(bytes, (nuint)(length + sizeof(ulong)));
            *(int*)bytes = levelBytes;
            for (var i = 0; i < count; i++) Unsafe.CopyBlockUnaligned(bytes + HeadBytes(order[i]->First), Groups(order[i]), (uint)(GroupBytes * order[i]->Tiles));
            var to = Zeros + zeroBytes;
            for (var i = 0; i < count; i++) Append(ref to, Masks(order[i]), order[i]->Masks);
            var writer = new BitWriter(to);
            for (var i = 0; i < count; i++) writer.Copy(Signs(order[i]), order[i]->Signs);
            writer = new(writer.End());
            for (var i = 0; i < count; i++) writer.Copy(Levels(order[i]), order[i]->Levels);
            to = writer.End();
            for (var i = 0; i < count; i++) Append(ref to, Escapes(order[i]), order[i]->Escapes);
            var finished = bytes;
            bytes = null;
            AllocatorMeter.LookIn();
            return finished;

            static byte* Groups(Run* run) => (byte*)(run + 1);
            static byte* Masks(Run* run) => Groups(run) + GroupBytes * run->Tiles;
            static byte* Signs(Run* run) => Masks(run) + run->Masks;
            static byte* Levels(Run* run) => Signs(run) + (run->Signs + 7) / 8;
            static byte* Escapes(Run* run) => Levels(run) + (run->Levels + 7) / 8;
        }

        static void Append(ref byte* to, byte* from, int count)
        {
            Unsafe.CopyBlockUnaligned(to, from, (uint)count);
            to += count;
        }

        public void Dispose()
        {
            NativeMemory.Free(runs);
            NativeMemory.Free(bytes);
            runs = bytes = null;
        }
    }
}
