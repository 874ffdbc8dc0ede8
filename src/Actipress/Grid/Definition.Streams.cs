using System.Buffers.Binary;

namespace Actipress.Grid;

static partial class Definition
{
    // A coefficient of this level is stored as a floating-point number of 16 bits.
    const int Escape = 127;

    /// <summary>A chunk's coefficients as levels, and the levels as six streams one after the other.</summary>
    static class Streams
    {
        // The highest level of each class.
        static ReadOnlySpan<int> Tops => [1, 2, 4, 8, 16, 32, 64, 126];

        public static byte[] Write(ReadOnlySpan<float> coefficients, float step, IEnumerable<bool> zeros)
        {
            List<byte> groups = [], masks = [], escapes = [];
            Bits zeroBits = new(), signs = new(), levels = new();
            foreach (var bit in zeros) zeroBits.Write(bit);
            for (var tile = 0; tile < coefficients.Length; tile += TileElements)
                for (var quarter = 0; quarter < 4; quarter++)
                {
                    byte groupBits = 0;
                    List<(int Level, float Coefficient)> kept = [];
                    for (var group = 8 * quarter; group < 8 * quarter + 8; group++)
                    {
                        byte mask = 0;
                        for (var i = 0; i < 8; i++)
                        {
                            var y = coefficients[tile + Place(group, i)];
                            var level = (int)Math.Min(Math.Abs(y) * (1 / step), Escape);
                            if (level == 0) continue;
                            mask |= (byte)(1 << i);
                            kept.Add((level, y));
                        }
                        if (mask == 0) continue;
                        groupBits |= (byte)(1 << group % 8);
                        masks.Add(mask);
                    }
                    groups.Add(groupBits);
                    foreach (var (_, y) in kept) signs.Write(y < 0);
                    WriteLevels(kept.ConvertAll(one => one.Level), levels);
                    foreach (var (level, y) in kept)
                        if (level == Escape) escapes.AddRange(BitConverter.GetBytes(Short(y)));
                }
            byte[] length = BitConverter.GetBytes(levels.Bytes.Length);
            return [.. length, .. groups, .. zeroBits.Bytes, .. masks, .. signs.Bytes, .. levels.Bytes, .. escapes];
        }

        public static bool[] Read(ReadOnlySpan<byte> chunk, int zeroCount, Span<float> coefficients, float step, float first, float other)
        {
            var groups = chunk.Slice(4, coefficients.Length / 64);
            var zeros = new BitReader(chunk[(4 + groups.Length)..].ToArray());
            var masks = chunk[(4 + groups.Length + (zeroCount + 7) / 8)..];
            var (count, kept) = (0, 0);
            foreach (var bits in groups) count += int.PopCount(bits);
            foreach (var mask in masks[..count]) kept += int.PopCount(mask);
            var signs = new BitReader(masks[count..].ToArray());
            var levels = new BitReader(masks[(count + (kept + 7) / 8)..].ToArray());
            var escapes = masks[(count + (kept + 7) / 8 + BinaryPrimitives.ReadInt32LittleEndian(chunk))..];
            for (var quarter = 0; quarter < groups.Length; quarter++)
            {
                List<int> places = [];
                for (var group = 0; group < 8; group++)
                {
                    if ((groups[quarter] >> group & 1) == 0) continue;
                    for (var i = 0; i < 8; i++)
                        if ((masks[0] >> i & 1) != 0) places.Add(TileElements * (quarter / 4) + Place(8 * (quarter % 4) + group, i));
                    masks = masks[1..];
                }
                var negative = places.ConvertAll(_ => signs.Read());
                var found = ReadLevels(places.Count, levels);
                for (var i = 0; i < places.Count; i++)
                {
                    var magnitude = (found[i] + (found[i] == 1 ? first : other)) * step;
                    if (found[i] == Escape)
                    {
                        magnitude = BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(escapes) << 15);
                        escapes = escapes[2..];
                    }
                    coefficients[places[i]] = negative[i] ? -magnitude : magnitude;
                }
            }
            return [.. Enumerable.Range(0, zeroCount).Select(_ => zeros.Read())];
        }

        // A magnitude as 8 bits of exponent and 8 of fraction, rounded to nearest.
        static ushort Short(float y) => (ushort)(BitConverter.SingleToUInt32Bits(Math.Abs(y)) + 0x4000 >> 15);

        // The index in a tile of coefficient i of a group, which is 4 x 2 coefficients.
        static int Place(int group, int i) => 16 * (2 * (group / 4) + i / 4) + 4 * (group % 4) + i % 4;

        // Class by class: first whether each level that is left is above the class; then, bit by bit, (level - 1) of the levels of the
        // class, without its leading bit.
        static void WriteLevels(List<int> left, Bits to)
        {
            for (var c = 0; c < Tops.Length && left.Count > 0; c++)
            {
                var top = Tops[c];
                foreach (var level in left) to.Write(level > top);
                for (var bit = 0; bit < c - 1; bit++)
                    foreach (var level in left) if (level <= top) to.Write((level - 1 >> bit & 1) != 0);
                left = left.FindAll(level => level > top);
            }
        }

        static int[] ReadLevels(int count, BitReader from)
        {
            var levels = new int[count];
            Array.Fill(levels, Escape);
            int[] left = [.. Enumerable.Range(0, count)];
            for (var c = 0; c < Tops.Length && left.Length > 0; c++)
            {
                bool[] above = [.. left.Select(_ => from.Read())];
                int[] here = [.. left.Where((_, i) => !above[i])];
                foreach (var i in here) levels[i] = c == 0 ? 1 : Tops[c - 1] + 1;
                for (var bit = 0; bit < c - 1; bit++)
                    foreach (var i in here) if (from.Read()) levels[i] += 1 << bit;
                left = [.. left.Where((_, i) => above[i])];
            }
            return levels;
        }

        /// <summary>Bits that fill bytes from the lowest.</summary>
        sealed class Bits
        {
            readonly List<bool> bits = [];

            public void Write(bool bit) => bits.Add(bit);

            public byte[] Bytes => [.. bits.Chunk(8).Select(eight => (byte)eight.Select((bit, i) => bit ? 1 << i : 0).Sum())];
        }

        sealed class BitReader(byte[] bytes)
        {
            int at;

            public bool Read() => (bytes[at / 8] >> at++ % 8 & 1) != 0;
        }
    }
}
