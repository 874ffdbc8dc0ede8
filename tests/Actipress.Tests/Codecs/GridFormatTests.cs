using System.Buffers.Binary;
using Actipress.Codecs;
using Actipress.Grid;

namespace Actipress.Tests.Codecs;

/// <summary>
/// The bytes of grid storage, read by loops that follow docs/format.md and share nothing with the reader but where tiles lie.
/// </summary>
public unsafe class GridFormatTests
{
    const int Header = 13, Escape = 127;

    static readonly Dictionary<string, (MapShape Shape, Transform Transform)> maps = new()
    {
        ["values"] = (new(3, 1, 33, 70), new Identity()),
        ["whole blocks"] = (new(3, 1, 32, 48), new Dct()),
        ["ragged planes"] = (new(5, 1, 33, 19), new Dct()),
        ["planes of 7 x 5"] = (new(20, 1, 7, 5), new Dct()),
        ["lines"] = (new(7, 1, 1, 300), new Dct()),
        ["volumes"] = (new(4, 8, 16, 24), new Dct()),
        ["ragged volumes"] = (new(2, 9, 17, 11), new Dct()),
        ["volumes of 2 x 3 x 4"] = (new(9, 2, 3, 4), new Dct()),
        ["several chunks of ragged planes"] = (new(130, 1, 20, 37), new Dct()),
        ["blocks of 4, ragged"] = (new(5, 1, 33, 19), new Dct(4)),
    };

    public static MatrixTheoryData<string, double> Maps => new(maps.Keys, [1, 3, 30]);

    [Theory, MemberData(nameof(Maps))]
    public void Bytes_hold_what_the_format_states(string name, double ratio)
    {
        var (shape, transform) = maps[name];
        var tiles = GridFormat.Tiles(transform, shape);
        var escapes = 0;
        foreach (var relu in (bool[])[false, true])
        {
            var values = Values(shape, relu);
            var bytes = Packed(values, tiles, ratio, out var back);
            float Number(int at) => BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(at));
            var (step, first, other) = (Number(0), Number(4), Number(8));
            Assert.Equal(relu ? 1 : 0, bytes[12]);
            Assert.InRange(first, 0, 1);
            Assert.InRange(other, 0, 1);
            var at = Header + sizeof(int) * tiles.Chunks;
            for (var chunk = 0; chunk < tiles.Chunks; chunk++)
            {
                var length = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(Header + sizeof(int) * chunk));
                escapes += Check(bytes.AsSpan(at, length), values, back, tiles, chunk, step, relu);
                at += length;
            }
            Assert.Equal(bytes.Length, at);
        }
        Assert.Equal(ratio == 30 ? 0 : escapes, escapes);
        if (ratio == 1) Assert.True(escapes > 0, "This map was to show escapes.");
    }

    // Of unlike sizes, so that levels of every class occur and escapes too.
    static float[] Values(MapShape shape, bool relu)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, (int)shape.Elements).Select(i =>
        {
            var value = (float)((Math.Sin(i * 0.05) + random.NextDouble() - 0.5) * (i % 97 == 0 ? 30 : i % 11 == 0 ? 3 : 1));
            return relu ? Math.Max(0, value) : value;
        })];
    }

    static byte[] Packed(float[] values, GridTiles tiles, double ratio, out float[] back)
    {
        back = new float[values.Length];
        fixed (float* map = values, to = back)
        {
            var keep = new Keep.TopK(ratio);
            using var packed = GridMap.Pack(map, torch.ScalarType.Float32, tiles, keep, exactZeros: true, PackLimits.None, threads: 1, out _)!;
            packed.Unpack(to, torch.ScalarType.Float32, tiles, threads: 1);
            using var stream = new MemoryStream();
            using var writer = new BinaryWriter(stream);
            packed.Write(writer);
            return stream.ToArray();
        }
    }

    // An escape is the upper half of a float32, but for its sign: the last two bytes of a chunk that has one.
    [Fact]
    public void An_escape_that_is_no_finite_number_is_refused()
    {
        var (shape, transform) = maps.Values.First();
        var tiles = GridFormat.Tiles(transform, shape);
        var values = Values(shape, relu: false);
        values[^1] = 1e6f;
        var bytes = Packed(values, tiles, 1, out _);
        using (var right = GridMap.Read(bytes, tiles)) Unpack(right);
        foreach (var wrong in (ushort[])[0xFF00, 0xFF80])    // infinite, and not a number
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(bytes.Length - 2), wrong);
            using var damaged = GridMap.Read(bytes, tiles);
            Assert.Contains("finite values", Assert.Throws<InvalidDataException>(() => Unpack(damaged)).Message, StringComparison.Ordinal);
        }

        void Unpack(GridMap map)
        {
            var back = new float[values.Length];
            fixed (float* to = back) map.Unpack(to, torch.ScalarType.Float32, tiles, threads: 1);
        }
    }

    // Compares a chunk with the coefficients that the definition makes of its tiles; tells how many escapes it has.
    static int Check(ReadOnlySpan<byte> chunk, float[] values, float[] back, GridTiles tiles, int index, float step, bool withZeros)
    {
        var (firstTile, count) = ((long)index * GridTiles.TilesPerChunk, tiles.TilesIn(index));
        var levelBytes = BinaryPrimitives.ReadInt32LittleEndian(chunk);
        var groups = chunk[sizeof(int)..][..(4 * count)];
        var zeros = chunk[(sizeof(int) + groups.Length)..];
        var x = stackalloc float[256];
        var y = stackalloc float[256];
        var rebuilt = stackalloc float[256];
        fixed (float* map = values, unpacked = back)
        {
            var (walk, walkBack) = (new GridWalk(tiles, firstTile), new GridWalk(tiles, firstTile));
            var zeroBits = 0;
            var coefficients = new float[256 * count];
            for (var tile = 0; tile < count; tile++, walk.Next(), walkBack.Next())
            {
                GridMover<SingleCells>.Gather(ref walk, map, x);
                GridMover<SingleCells>.Gather(ref walkBack, unpacked, rebuilt);
                var (rows, columns) = (16, 16);
                if (walk.Region is { } region) (rows, columns) = (region.Down * region.Height.Points, region.Across * region.Width.Points);
                for (var row = 0; row < rows && withZeros; row++)
                    for (var column = 0; column < columns; column++, zeroBits++)
                    {
                        var isNotZero = (zeros[zeroBits / 8] >> zeroBits % 8 & 1) != 0;
                        Assert.Equal(x[16 * row + column] != 0, isNotZero);
                        Assert.Equal(isNotZero, rebuilt[16 * row + column] > 0);
                    }
                GridDefinition.Forward(x, 16, x, y, tiles.Transform, walk.Region);
                for (var i = 0; i < 256; i++) coefficients[256 * tile + i] = y[i];
            }
            var masks = zeros[((zeroBits + 7) / 8)..];
            return Check(groups, masks, levelBytes, coefficients, step);
        }
    }

    static int Check(ReadOnlySpan<byte> groups, ReadOnlySpan<byte> masks, int levelBytes, float[] coefficients, float step)
    {
        var tiles = groups.Length / 4;
        var maskCount = 0;
        foreach (var bits in groups) maskCount += int.PopCount(bits);
        var kept = 0;
        foreach (var mask in masks[..maskCount]) kept += int.PopCount(mask);
        var signs = new BitStream(masks.Slice(maskCount, (kept + 7) / 8).ToArray());
        var levels = new BitStream(masks.Slice(maskCount + (kept + 7) / 8, levelBytes).ToArray());
        var escapes = masks[(maskCount + (kept + 7) / 8 + levelBytes)..];
        var (nextMask, escapeCount) = (0, 0);
        for (var tile = 0; tile < tiles; tile++)
            for (var quarter = 0; quarter < 4; quarter++)
            {
                // Where each level of the quarter is that is not 0.
                var places = new List<int>();
                for (var group = 8 * quarter; group < 8 * quarter + 8; group++)
                {
                    if ((BinaryPrimitives.ReadUInt32LittleEndian(groups[(4 * tile)..]) >> group & 1) == 0) continue;
                    var mask = masks[nextMask++];
                    Assert.NotEqual(0, mask);
                    for (var i = 0; i < 8; i++)
                        if ((mask >> i & 1) != 0) places.Add(16 * (2 * (group / 4) + i / 4) + 4 * (group % 4) + i % 4);
                }
                var negative = places.ConvertAll(_ => signs.Next());
                var level = new int[places.Count];
                int[] tops = [1, 2, 4, 8, 16, 32, 64, 126];
                var left = Enumerable.Range(0, places.Count).ToList();
                for (var c = 0; c < tops.Length && left.Count > 0; c++)
                {
                    var above = left.ToDictionary(i => i, _ => levels.Next());
                    var here = left.Where(i => !above[i]).ToList();
                    foreach (var i in here) level[i] = c == 0 ? 1 : tops[c - 1] + 1;
                    // All bits of one less than a level but the highest, which the class tells.
                    var highest = c == 0 ? 0 : tops[c - 1];
                    foreach (var i in here) level[i] = highest;
                    for (var bit = 0; bit < c - 1; bit++)
                        foreach (var i in here)
                            if (levels.Next()) level[i] += 1 << bit;
                    foreach (var i in here) level[i]++;
                    left = [.. left.Where(i => above[i])];
                }
                foreach (var i in left) level[i] = Escape;
                for (var at = 0; at < 64; at++)
                {
                    var place = 64 * quarter + at;
                    var (coefficient, found) = (coefficients[256 * tile + place], places.IndexOf(place));
                    var wanted = (int)Math.Min(MathF.Abs(coefficient) * (1 / step), Escape);
                    Assert.Equal(wanted, found < 0 ? 0 : level[found]);
                    if (found >= 0) Assert.Equal(coefficient < 0, negative[found]);
                }
                foreach (var i in left)
                {
                    var bits = BinaryPrimitives.ReadUInt16LittleEndian(escapes[(2 * escapeCount++)..]);
                    var magnitude = Math.Abs(coefficients[256 * tile + places[i]]);
                    float Off(int stored) => Math.Abs(Stored(stored) - magnitude);
                    // No other number of two bytes is nearer.
                    Assert.True(Off(bits) <= Math.Min(Off(bits - 1), Off(bits + 1)), $"{Stored(bits)} for {magnitude}");
                }
            }
        Assert.Equal(maskCount, nextMask);
        Assert.Equal(2 * escapeCount, escapes.Length);
        Assert.Equal(kept, signs.At);
        Assert.Equal(levelBytes, (levels.At + 7) / 8);
        return escapeCount;

        static float Stored(int bits) => BitConverter.UInt32BitsToSingle((uint)bits << 15);
    }

    sealed class BitStream(byte[] bytes)
    {
        public int At { get; private set; }

        public bool Next() => (bytes[At / 8] >> At++ % 8 & 1) != 0;
    }
}
