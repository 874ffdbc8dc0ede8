using System.Buffers.Binary;
using System.Runtime.Intrinsics;
using Actipress.Codecs;
using Actipress.Grid;
using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Machine;
using Actipress.Selection;
using Actipress.Transforms;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>
/// Readers of damaged bytes throw <see cref="InvalidDataException"/> or return a map of the shape and type in the header, and read no byte
/// beyond the end. The tests run in processes of their own, which a wrong access would kill.
/// </summary>
[MeasuresMemory]
public class DamageTests
{
    public static TheoryData<string> Scenarios =>
        [.. typeof(Scenario).GetMethods().Where(method => method.DeclaringType == typeof(Scenario)).Select(method => method.Name)];

    [Theory, MemberData(nameof(Scenarios))]
    public void Damage_is_refused_or_harmless(string scenario) => ChildProcess.RunScenario(typeof(Scenario), scenario);

    [Fact]
    public void A_header_gets_no_more_memory_than_its_bytes_justify()
    {
        string[] codecs =
        [
            "dct:10", "st:1E+300", "wt:haar:10", "wt:db3:10", "dct:10,storage=compact", "st:1,values=float32", "quant:2",
            "st:10,storage=paper", "st:1000000000,storage=paper",
        ];
        long[][] shapes =
        [
            [int.MaxValue], [1 << 15, 1 << 15], [1 << 14, 1, 1, 1 << 14], [int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue],
            [1, 1, int.MaxValue, 1, 1], [0, int.MaxValue, int.MaxValue, int.MaxValue], [-1, -1], [0],
        ];
        byte[][] rests = [[], new byte[64], [0, 2, 6, 1, .. new byte[11], 4, 1, .. new byte[15]]];
        var peak = Allocated.AtLeast(() => Allocated.Peak(() =>
        {
            foreach (var text in codecs)
                foreach (var shape in shapes)
                    foreach (var rest in rests)
                        Assert.Throws<InvalidDataException>(() => PackedMap.FromBytes([
                            .. "ACTP\u0001"u8, (byte)text.Length, .. System.Text.Encoding.UTF8.GetBytes(text), (byte)ScalarType.Float32,
                            (byte)shape.Length, .. shape.SelectMany(BitConverter.GetBytes), .. rest]));
            return null;
        }));
        Assert.True(peak < 1 << 20, $"{peak}");    // the smallest of these headers claims 2^28 elements
    }

    [Fact]
    public void No_other_number_of_coefficients_is_read_than_the_ratio_keeps()
    {
        foreach (var text in (string[])["st:10,storage=paper", "st:10,index=byte", "st:10,index=bitmap", "st:10,values=float32", "quant:4"])
        {
            using var scope = NewDisposeScope();
            using var packed = Pipeline.Pack(randn(20, 30), ActivationCodec.Parse(text) with { EvenIfLarger = true }, out _)!;
            using var empties =
                new PackedMap(packed.Header, packed.Stored.With([.. packed.Tensors.Select(section => empty(0, section.dtype))]));
            var bytes = empties.ToBytes();
            Assert.Throws<InvalidDataException>(() =>
            {
                using var read = PackedMap.FromBytes(bytes);
                read.Unpack();
            });
        }
    }

    // An escape is the upper half of a float32 without its sign. It is the last two bytes of a chunk that has one.
    [Fact]
    public unsafe void An_escape_that_is_no_finite_number_is_refused()
    {
        var shape = new MapShape(3, 1, 33, 70);
        var tiles = GridFormat.Tiles(new Identity(), shape);
        var random = new Random(7);
        float[] values =
            [.. Enumerable.Range(0, (int)shape.Elements).Select(i => i == shape.Elements - 1 ? 1e6f : (float)random.NextDouble())];
        var bytes = Definition.Pack(values, shape, new Identity(), new Keep.TopK(1), exactZeros: true)!;
        using (var right = GridMap.Read(bytes, tiles)) Unpack(right);
        foreach (var wrong in (ushort[])[0xFF00, 0xFF80])    // infinity, and not a number
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(bytes.Length - 2), wrong);
            using var damaged = GridMap.Read(bytes, tiles);
            Assert.Contains("finite values", Assert.Throws<InvalidDataException>(() => Unpack(damaged)).Message, StringComparison.Ordinal);
        }

        void Unpack(GridMap map)
        {
            var back = new float[values.Length];
            fixed (float* to = back) map.Unpack(to, ScalarType.Float32, tiles, threads: 1);
        }
    }

    public unsafe class Scenario
    {
        static readonly string[] codecs =
        [
            "dct:10", "dct:4", "dct:1", "dct:10,block=8", "wt:haar:10", "wt:db3:10", "st:10", "st:2", "st:10,zeros=none", "quant:2",
            "quant:8", "st:10,storage=paper", "dct:10,storage=paper", "st:4,storage=compact", "wt:db3:10,storage=compact",
            "st:1,storage=compact", "st:1,values=float32", "dct:4,values=float16,index=bitmap", "st:20,index=byte", "exact",
        ];

        static readonly (long[] Shape, ScalarType Type)[] maps =
        [
            ([2, 1, 16, 24], ScalarType.Float32), ([1, 3, 19, 13], ScalarType.Float16), ([1, 2, 5, 9, 10], ScalarType.Float32),
            ([3, 37], ScalarType.BFloat16), ([6, 4, 3, 3], ScalarType.Float64), ([5, 4, 8, 8], ScalarType.Float32),
            ([1, 66_000], ScalarType.Float32), ([1, 1, 260, 254], ScalarType.BFloat16),
        ];

        static List<byte[]> Files()
        {
            manual_seed(1);
            var files = new List<byte[]>();
            foreach (var text in codecs)
                foreach (var (shape, type) in maps)
                    foreach (var relu in (bool[])[false, true])
                    {
                        using var x = randn(shape);
                        using var typed = (relu ? x.relu_() : x).to(type);
                        using var packed = Pipeline.Pack(typed, ActivationCodec.Parse(text) with { EvenIfLarger = true }, out _)!;
                        files.Add(packed.ToBytes());
                    }
            return files;
        }

        [Fact(Explicit = true)]
        public void A_hundred_thousand_files()
        {
            const int Count = 100_000;
            const long LargestAllocation = 32 << 20;
            set_num_threads(1);
            var files = Files();
            var random = new Random(1);
            var damage = new Damage(random);
            using var memory = new GuardedMemory(1 << 20);
            using var meter = AllocatorMeter.Start();
            int refused = 0, read = 0;
            for (var i = 0; i < Count; i++)
            {
                var file = files[random.Next(files.Count)];
                var bytes = random.Next(4) == 0 ? damage.InHeader(file) : damage.Anywhere(file, files[random.Next(files.Count)]);
                if (random.Next(4) == 0) bytes = damage.Anywhere(bytes, file);
                meter.ResetPeak();
                var before = AllocatorMeter.CurrentBytes;
                try
                {
                    using var packed = PackedMap.FromBytes(new ReadOnlySpan<byte>(memory.Put(bytes), bytes.Length));
                    using var map = packed.Unpack();
                    Assert.Equal(packed.Shape, map.shape);
                    Assert.Equal(packed.Type, map.dtype);
                    read++;
                }
                catch (InvalidDataException) { refused++; }
                catch (Exception other) { Assert.Fail($"number {i}: {other}\n{Convert.ToHexString(bytes)}"); }
                Assert.True(
                    meter.PeakBytes - before < LargestAllocation,
                    $"number {i}: {meter.PeakBytes - before} bytes allocated\n{Convert.ToHexString(bytes)}");
            }
            Assert.True(refused > Count / 3 && read > Count / 10, $"{refused} refused, {read} read");
        }

        // The map has 300 tiles, so it has two chunks on two threads.
        [Fact(Explicit = true)]
        public void Files_of_several_chunks()
        {
            const int Count = 1_500;
            set_num_threads(2);
            using var x = randn(300, 9, 9).relu_();
            var random = new Random(2);
            var damage = new Damage(random);
            foreach (var text in (string[])["dct:10", "st:3", "wt:db3:10"])
            {
                using var packed = Pipeline.Pack(x, ActivationCodec.Parse(text), out _)!;
                var file = packed.ToBytes();
                for (var i = 0; i < Count / 3; i++)
                    try
                    {
                        using var read = PackedMap.FromBytes(damage.Anywhere(file, file));
                        using var map = read.Unpack();
                        Assert.Equal(read.Shape, map.shape);
                    }
                    catch (InvalidDataException) { }
            }
        }

        [Fact(Explicit = true)]
        public void Chunks_before_a_guard_page()
        {
            const int Count = 2_000;
            (MapShape Shape, TileTransform Transform, double Ratio)[] cases =
            [
                (new(40, 1, 32, 32), TileTransform.Identity, 10), (new(40, 1, 32, 32), TileTransform.Cosine, 1),
                (new(4, 1, 20, 20), TileTransform.Cosine, 10), (new(2, 5, 9, 10), TileTransform.Cosine, 4),
                (new(3, 1, 24, 40), TileTransform.Cosine, 30),
            ];
            var random = new Random(3);
            var damage = new Damage(random);
            using var memory = new GuardedMemory(1 << 20);
            int refused = 0, read = 0;
            foreach (var (shape, transform, ratio) in cases)
                foreach (var relu in (bool[])[false, true])
                {
                    var tiles = new GridTiles(shape, transform);
                    var chunk = Packed(shape, tiles, ratio, relu);
                    var zeroBits = relu
                        ? Enumerable.Range(0, (int)tiles.Count).Sum(tile => GridTiles.PlacesOf(tiles.RegionOf(tile)).Count) : 0;
                    Read(memory.Put(chunk), chunk.Length, tiles, zeroBits);
                    for (var i = 0; i < Count; i++)
                    {
                        var damaged = damage.Anywhere(chunk, chunk);
                        try
                        {
                            Read(memory.Put(damaged), damaged.Length, tiles, zeroBits);
                            read++;
                        }
                        catch (InvalidDataException) { refused++; }
                    }
                }
            Assert.True(refused > Count && read > Count, $"{refused} refused, {read} read");

            static byte[] Packed(MapShape shape, GridTiles tiles, double ratio, bool relu)
            {
                var random = new Random(4);
                float[] values = [.. Enumerable.Range(0, (int)shape.Elements).Select(_ => (float)(random.NextDouble() - 0.5))
                    .Select(value => relu ? Math.Max(0, value) : value)];
                using var stream = new MemoryStream();
                using var writer = new BinaryWriter(stream);
                fixed (float* map = values)
                {
                    using var packed = GridMap.Pack(
                        map, ScalarType.Float32, tiles, new Keep.TopK(ratio), exactZeros: true, PackLimits.None, threads: 1, out _)!;
                    Assert.Equal(relu, packed.HasZeros);
                    packed.Write(writer);
                }
                const int Header = 13;
                var bytes = stream.ToArray();
                Assert.Equal(1, tiles.Chunks);
                Assert.Equal(bytes.Length - Header - sizeof(int), BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(Header)));
                return bytes[(Header + sizeof(int))..];
            }

            static void Read(byte* bytes, int length, GridTiles tiles, int zeroBits)
            {
                var positive = stackalloc ulong[4];
                using var chunk = new GridChunkReader(tiles.ZeroBits);
                var magnitudes = new Magnitudes(1, 0.5f, 0.5f);
                chunk.Open(bytes, length, (int)tiles.Count, zeroBits);
                for (var tile = 0L; tile < tiles.Count; tile += GridChunk.Batch)
                {
                    var batch = (int)Math.Min(GridChunk.Batch, tiles.Count - tile);
                    if (Vector256.IsHardwareAccelerated) chunk.Read<GridLanes<Lanes8>>(chunk.Y, batch, &magnitudes);
                    else chunk.Read<GridPlain>(chunk.Y, batch, &magnitudes);
                    for (var i = 0; zeroBits > 0 && i < batch; i++) chunk.ReadZeros(positive, GridTiles.PlacesOf(tiles.RegionOf(tile + i)));
                }
                chunk.Close();
            }
        }
    }
}
