using Actipress.Gpu;
using Actipress.Grid;
using Actipress.Grid.Gpu;
using Actipress.Tests.Codecs;
using static TorchSharp.torch;

namespace Actipress.Tests.Gpu;

/// <summary>
/// The GPU's kernels, run on ILGPU's CPU accelerator, write the same bytes as the CPU's faces and return the same values.
/// </summary>
public sealed class GridOnGpuTests(GridOnGpuTests.Emulation emulation) : IClassFixture<GridOnGpuTests.Emulation>
{
    public sealed class Emulation : IDisposable
    {
        internal EmulatedGpu Gpu { get; } = new();

        public void Dispose() => Gpu.Dispose();
    }

    /// <summary>Packs a map by the kernels on a device.</summary>
    internal static PackedMap? Packed(GpuDevice gpu, Tensor map, ActivationCodec codec, out LeftRaw why) =>
        GpuGrid.Pack(gpu, map, codec, out why) is { } stored ? new(new(codec, map.shape, map.dtype), stored) : null;

    /// <summary>The codecs of the laws' table that the kernels cover.</summary>
    public static TheoryData<string> Codecs => [.. CodecLaws.Table.Where(text => new GpuGrid().Covers(ActivationCodec.Parse(text)))];

    // Each codec and each map occurs with every type. The emulator is slow, so the default codecs run on every map and each other codec on
    // every third map. On a GPU (OnGpuTests) every codec runs on every map.
    [Theory, MemberData(nameof(Codecs))]
    public void Bytes_and_values_are_the_CPU_s_on_every_awkward_map(string text)
    {
        var place = CodecLaws.Table.Index().Single(codec => codec.Item == text).Index;
        for (var i = 0; i < AwkwardMap.All.Count; i++)
        {
            if (text is not ("dct:10" or "wt:haar:10" or "st:10") && (i + place) % 3 != 0) continue;
            using var scope = NewDisposeScope();
            var type = CodecLaws.Types[(i + text.Length) % CodecLaws.Types.Count];
            Same(AwkwardMap.All[i].Tensor().to(type), text, $"{AwkwardMap.All[i]}");
        }
    }

    // The planes have every kind of blocks, and several chunks whose last group of tiles is not whole.
    [Theory]
    [InlineData("dct:10", 70, 48, 48), InlineData("dct:3", 12, 28, 28), InlineData("dct:10", 5, 33, 19), InlineData("dct:4", 33, 8, 8)]
    [InlineData("dct:10", 20, 7, 5), InlineData("dct:10", 700, 2, 2)]
    [InlineData("dct:2,block=8", 5, 33, 19), InlineData("dct:200,block=4", 9, 32, 48), InlineData("dct:10,block=4", 9, 17, 11)]
    [InlineData("st:10", 30, 33, 70), InlineData("dct:10", 7, 1, 300)]
    public void Bytes_and_values_are_the_CPU_s_on_planes_of(string text, int maps, int height, int width) =>
        SameOnPlanes(text, maps, height, width);

    [Theory, InlineData("dct:10", 8, 16, 24), InlineData("dct:10", 9, 17, 11), InlineData("dct:2", 2, 3, 4)]
    [InlineData("dct:10,block=8", 9, 17, 11), InlineData("dct:10,block=4", 8, 16, 24)]
    [InlineData("wt:haar:10", 8, 16, 24), InlineData("wt:db3:10", 9, 17, 11)]
    public void Bytes_and_values_are_the_CPU_s_on_volumes_of(string text, int depth, int height, int width)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        Same(randn([2, 3, depth, height, width]).relu(), text, $"{depth} x {height} x {width}");
    }

    // Units divide in every way: short lines, odd axes, volumes, a unit of two chunks, several units.
    [Theory]
    [InlineData("wt:haar:10", 9, 24, 40), InlineData("wt:haar:4", 5, 33, 19), InlineData("wt:haar:10", 33, 8, 8)]
    [InlineData("wt:db3:10", 20, 7, 5), InlineData("wt:db3:10", 300, 2, 2)]
    [InlineData("wt:haar:10", 3, 1, 300), InlineData("wt:db3:10,levels=5", 5, 21, 75), InlineData("wt:haar:10", 1, 300, 280)]
    [InlineData("wt:db3:10", 3, 250, 270), InlineData("wt:haar:10", 35, 48, 40), InlineData("wt:db2:3,levels=1", 6, 40, 1)]
    public void Bytes_and_values_are_the_CPU_s_under_wavelets_of(string text, int maps, int height, int width) =>
        SameOnPlanes(text, maps, height, width);

    void SameOnPlanes(string text, int maps, int height, int width)
    {
        using var scope = NewDisposeScope();
        manual_seed(3);
        var x = randn(1, maps, height, width).add(arange(width).mul(0.1).sin().mul(3));
        Same(x, text, $"{height} x {width}");
        Same(x.relu(), text, $"{height} x {width} after a relu");
    }

    void Same(Tensor x, string text, string what)
    {
        var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
        using var onCpu = Pipeline.Pack(x, codec, out var cpuWhy);
        using var packed = Packed(emulation.Gpu, x, codec, out var why);
        Assert.Equal(cpuWhy, why);
        Assert.Equal(onCpu is null, packed is null);
        if (onCpu is null) return;
        Assert.True(onCpu.ToBytes().AsSpan().SequenceEqual(packed!.ToBytes()), $"{text} on {what} in {x.dtype}: other bytes");
        var values = x.to(float32).contiguous().view(-1).data<float>().ToArray();
        var definition = Definition.Pack(values, MapShape.Of(x.shape), codec.Transform, codec.Keep, codec.ExactZeros)!;
        Assert.True(packed.ToBytes().AsSpan().EndsWith(definition), $"{text} on {what} in {x.dtype}: other bytes than the definition's");
        Assert.Equal(onCpu.HasExactZeros, packed.HasExactZeros);
        using var expected = onCpu.Unpack();
        using var back = packed.Unpack();
        Assert.True(Bytes(back).SequenceEqual(Bytes(expected)), $"{text} on {what} in {x.dtype}: other values");
    }

    static unsafe Span<byte> Bytes(Tensor x) =>
        new((void*)Actipress.Autograd.LibTorch.Data(x), checked((int)(x.NumberOfElements * x.ElementSize)));
}
