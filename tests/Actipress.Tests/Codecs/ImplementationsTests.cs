using Actipress.Codecs;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>
/// The table of implementations: each codec has one, all implementations of a codec write the same bytes, and each can be forced.
/// </summary>
public sealed class ImplementationsTests
{
    static IEnumerable<Implementation> OnCpu(ActivationCodec codec) =>
        Pipeline.Implementations.Where(one => one.Covers(codec) && one.RunsOn(CPU));

    [Fact]
    public void Each_has_a_name_of_its_own()
    {
        var names = Pipeline.Implementations.Select(one => one.Name).ToArray();
        Assert.Equal(names.Length, names.Distinct().Count());
        foreach (var one in Pipeline.Implementations) Assert.Same(one, Pipeline.Named(one.Name));
    }

    [Theory, MemberData(nameof(CodecLaws.Codecs), MemberType = typeof(CodecLaws))]
    public void All_of_one_codec_write_the_same_bytes_and_read_each_other_s(string text)
    {
        using var everything = NewDisposeScope();
        var codec = ActivationCodec.Parse(text);
        Assert.NotEmpty(OnCpu(codec));
        foreach (var map in AwkwardMap.All)
        {
            var x = map.Tensor();
            var header = new MapHeader(codec, x.shape, x.dtype);
            byte[]? first = null;
            foreach (var one in OnCpu(codec))
            {
                using var stored = one.Pack(x, codec, PackLimits.None, out _)!;
                using var packed = new PackedMap(header, stored);
                var bytes = packed.ToBytes();
                Assert.True((first ??= bytes).AsSpan().SequenceEqual(bytes), $"'{one.Name}' stores other bytes of {map}");
                using var read = PackedMap.FromBytes(bytes);
                using Tensor values = packed.Unpack(), again = read.Unpack();
                Assert.True(values.allclose(again, rtol: 1e-6, atol: 1e-30), $"'{one.Name}' gives other values of {map}");
            }
        }
    }

    [Fact]
    public void An_unknown_name_is_refused_with_the_known_ones()
    {
        var error = Assert.Throws<ArgumentException>(() => Pipeline.Named("grid, abacus"));
        Assert.Contains("No implementation 'grid, abacus'", error.Message, StringComparison.Ordinal);
        Assert.Contains("grid, CPU", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("stages, torch", "dct:10", "dct:10,storage=compact")]
    [InlineData("stages, torch", "quant:4", "quant:4")]
    [InlineData("grid, CPU", "dct:10", "dct:10")]
    [InlineData("grid, CPU", "quant:4", "Nothing packs 'quant:4' on cpu")]
    public void One_that_is_forced_does_all_the_work(string name, string codec, string expected)
    {
        var child = ChildProcess.RunScenario(
            typeof(Scenario), nameof(Scenario.Pack), (Pipeline.Variable, name), (Scenario.Codec, codec), ("OMP_NUM_THREADS", "1"));
        Assert.Contains($"stored as {expected}", child.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wrong_name_is_told_before_the_first_step()
    {
        var child = ChildProcess.RunScenario(
            typeof(Scenario), nameof(Scenario.Compress), (Pipeline.Variable, "grid, abacus"), ("OMP_NUM_THREADS", "1"));
        Assert.Contains("refused: No implementation 'grid, abacus'", child.Output, StringComparison.Ordinal);
    }

    // A training packs maps on a GPU beside its steps, without a call of Pipeline.Pack.
    [Theory]
    [InlineData("stages, torch", false)]
    [InlineData("grid, CUDA", true)]
    public void Kernels_pack_beside_the_steps_of_a_training_only_where_they_are_not_left_out(string name, bool expected)
    {
        var child = ChildProcess.RunScenario(
            typeof(Scenario), nameof(Scenario.Tell), (Pipeline.Variable, name), (Scenario.Codec, "dct:10"), ("OMP_NUM_THREADS", "1"));
        Assert.Contains($"deferred: {expected}", child.Output, StringComparison.Ordinal);
    }

    public class Scenario
    {
        internal const string Codec = "ACTIPRESS_TEST_CODEC";

        [Fact(Explicit = true)]
        public void Tell() =>
            Console.WriteLine($"deferred: {DeferredMap.Suits(ActivationCodec.Parse(Environment.GetEnvironmentVariable(Codec)!))}");

        [Fact(Explicit = true)]
        public void Compress()
        {
            using var model = nn.Linear(2, 2);
            try { model.CompressActivations(ActivationCodec.Dct(10)).Dispose(); }
            catch (ArgumentException refusal) { Console.WriteLine($"refused: {refusal.Message}"); }
        }

        [Fact(Explicit = true)]
        public void Pack()
        {
            using var map = randn([2, 3, 32, 32]);
            try
            {
                using var packed = Pipeline.Pack(map, ActivationCodec.Parse(Environment.GetEnvironmentVariable(Codec)!), out _)!;
                Console.WriteLine($"stored as {packed.Codec}");
            }
            catch (ArgumentException refusal) { Console.WriteLine($"stored as {refusal.Message}"); }
        }
    }
}
