using Actipress.Saving;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Saving;

/// <summary>
/// Layers whose gradient needs one bit an element, on which side of a bound the map lies: at the bound itself, and beside other layers that
/// save the same map.
/// </summary>
public class BoundsTests
{
    // TorchSharp does not keep the scalars of a call alive until it returns.
    static readonly Dictionary<double, Scalar> numbers =
        new[] { -6, -3, -1, 0, 0.1, 0.5, 1, 4, 6, 9 }.ToDictionary(number => number, number => number.ToScalar());

    static readonly Dictionary<string, Func<Tensor, Tensor>> bounded = new()
    {
        ["relu"] = x => relu(x),
        ["relu in place"] = x => relu(x, inplace: true),
        ["relu6"] = x => relu6(x),
        ["relu6 in place"] = x => relu6(x, inplace: true),
        ["leaky relu"] = x => x.leaky_relu(numbers[0.1]),
        ["leaky relu in place"] = x => x.leaky_relu_(numbers[0.1]),
        // Only the form in place is tested: the other form in TorchSharp 0.107 returns the input, whatever the bounds are.
        ["hardtanh"] = x => x.hardtanh_(numbers[-1], numbers[1]),
        ["hardtanh of narrow bounds"] = x => x.hardtanh_(numbers[0], numbers[0.5]),
        ["hardtanh of wide bounds"] = x => x.hardtanh_(numbers[-3], numbers[6]),
        ["hardtanh below zero"] = x => x.hardtanh_(numbers[-6], numbers[-3]),
        ["hardsigmoid"] = x => hardsigmoid(x),
        ["threshold"] = x => x.threshold(numbers[0.5], numbers[9]),
        ["threshold below zero"] = x => x.threshold(numbers[-3], numbers[9]),
        ["hardswish"] = x => hardswish(x),
        ["hardshrink"] = x => hardshrink(x, 0.5),
        ["softshrink"] = x => softshrink(x, 0.5),
        ["clamp"] = x => x.clamp(numbers[-1], numbers[6]),
    };

    // These save values, which the codec holds in float32.
    static readonly string[] ofValues = ["hardswish", "hardshrink", "softshrink", "clamp"];

    public static MatrixTheoryData<string, ScalarType> Bounded => new(bounded.Keys, Codecs.CodecLaws.Types);

    [Theory, MemberData(nameof(Bounded))]
    public void At_its_bounds_a_layer_has_the_plain_gradient(string layer, ScalarType type)
    {
        float[] bounds = [-6, -3, -1, -0.5f, -0f, 0, 0.5f, 1, 3, 6];
        using var everything = NewDisposeScope();
        // The map has the nearest numbers of the type beside each bound. Its length is no multiple of a vector's.
        var inFloats = type == ScalarType.Float64 && ofValues.Contains(layer);
        var exact = tensor(bounds).to(type);
        var step = finfo(inFloats ? ScalarType.Float32 : type).eps;
        var (more, less) = (tensor(1 + step, type), tensor(1 - step, type));
        var x = cat([tensor(new[] { 100f, -100f, 0.25f }).to(type), exact * more, exact * less, exact, exact[..6]]);
        Assert.Equal(39, x.NumberOfElements);
        var plain = Gradient(bounded[layer], x, ones_like(x), null, out _);
        Assert.True(plain.Distinct().Count() > 1, "One gradient everywhere tells nothing of bounds.");
        Same(plain, Gradient(bounded[layer], x, ones_like(x), ThroughStore.Lossless, out var report), inFloats ? 1e-6 : 0, report!, layer);
        Assert.True(report!.SavedBytes > 0, report.ToString());
    }

    static readonly Dictionary<string, Func<Tensor, Tensor>> sharing = new()
    {
        ["relu6"] = x => relu6(x),
        ["leaky relu"] = x => x.leaky_relu(numbers[0.1]),
        ["hardsigmoid"] = x => hardsigmoid(x),
        ["threshold"] = x => x.threshold(numbers[4], numbers[9]),
        ["convolution"] = x => conv2d(x, full([3, 3, 3, 3], 0.125f, x.dtype), padding: [1, 1]),
        ["product"] = x => x * linspace(-1, 1, 15).to(x.dtype),
        ["silu"] = x => silu(x),
        ["sine"] = x => sin(x),
        ["average pooling"] = x => avg_pool2d(x, 3),
    };

    public static MatrixTheoryData<string, string> Pairs => new(sharing.Keys, sharing.Keys);

    [Theory, MemberData(nameof(Pairs))]
    public void Two_operations_that_save_one_map_get_what_each_needs_of_it(string first, string second)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(6);
        foreach (var (name, map) in MapsToShare())
            foreach (var type in (ScalarType[])[ScalarType.Float32, ScalarType.Float64])
            {
                Tensor Both(Tensor y) => cat([sharing[first](y).view(-1), sharing[second](y).view(-1)]);
                var typed = map.to(type);
                var weights = linspace(1, 2, Both(typed).NumberOfElements, type);
                var plain = Gradient(Both, typed, weights, null, out _);
                var held = Gradient(Both, typed, weights, ThroughStore.Lossless, out var report);
                Same(plain, held, type == ScalarType.Float64 ? 1e-6 : 0, report!, $"{name} in {type}");
            }
    }

    // The number of elements is no multiple of a vector's length.
    static (string Name, Tensor Map)[] MapsToShare()
    {
        var x = randn(1, 3, 15, 15) * tensor(6f);
        return [("of both signs", x), ("with zeros and no negatives", x.relu()), ("from 0 to 6", relu6(x))];
    }

    // The other operation's gradient has the weight zero: the error of its values must not reach the layer of the bounds.
    [Theory, InlineData("relu6"), InlineData("leaky relu"), InlineData("hardsigmoid"), InlineData("threshold")]
    public void Bounds_are_told_exactly_beside_values_that_are_not(string layer)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(6);
        foreach (var (name, map) in MapsToShare())
            foreach (var codec in (string[])["dct:10", "dct:100", "quant:2"])
                foreach (var isFirst in (bool[])[true, false])
                {
                    string[] order = isFirst ? [layer, "convolution"] : ["convolution", layer];
                    Tensor Both(Tensor y) => cat([.. order.Select(name => sharing[name](y).view(-1))]);
                    var (one, none) = (ones(map.NumberOfElements), zeros(map.NumberOfElements));
                    var weights = isFirst ? cat([one, none]) : cat([none, one]);
                    var plain = Gradient(Both, map, weights, null, out _);
                    Same(plain, Gradient(Both, map, weights, ActivationCodec.Parse(codec), out var report), 0, report!, $"{codec}, {name}");
                }
    }

    [Fact]
    public void Bits_of_several_bounds_are_held_and_counted_until_values_tell_all_of_them()
    {
        using var everything = NewDisposeScope();
        random.manual_seed(6);
        var map = MapsToShare()[1].Map;
        var bits = (map.NumberOfElements + 7) / 8;
        Assert.Equal(2 * bits, Kept("leaky relu", "relu6", "leaky relu", "relu6"));
        Assert.Equal(3 * bits, Kept("leaky relu", "relu6", "threshold"));
        // Values with their zeros tell only the sign. Beside bits that tell the zeros, the values are held without them.
        Assert.Equal(2 * bits + Kept("convolution"), Kept("leaky relu", "threshold", "convolution"));
        Assert.Equal(2 * bits + Kept("convolution") - bits, Kept("leaky relu", "relu6", "convolution"));
        Assert.Equal(Kept("convolution"), Kept("leaky relu", "convolution"));

        long Kept(params string[] operations)
        {
            Tensor All(Tensor y) => cat([.. operations.Select(name => sharing[name](y).view(-1))]);
            var weights = linspace(1, 2, All(map).NumberOfElements);
            var held = Gradient(All, map, weights, ThroughStore.Lossless, out var report);
            Same(Gradient(All, map, weights, null, out _), held, 0, report!, string.Join(", ", operations));
            return report!.KeptBytes;
        }
    }

    // The gradient of the other factor is the rebuilt map.
    [Theory, InlineData(true), InlineData(false)]
    public void Values_beside_bits_that_tell_zeros_are_zero_where_the_map_is(bool bitsFirst)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(6);
        // The map is smooth, so that no codec confuses a zero with a value in the upper half.
        var waves = (linspace(0, 9, 33).view(33, 1) + linspace(0, 7, 35) + arange(3).view(3, 1, 1)).sin().unsqueeze(0);
        var map = relu6(waves * tensor(5f) + tensor(2f));
        var factor = linspace(1, 2, map.NumberOfElements).view(map.shape).requires_grad_();
        Tensor Both(Tensor y) => bitsFirst ? cat([relu6(y), y * factor]) : cat([y * factor, relu6(y)]);
        Gradient(Both, map, ones([2, .. map.shape[1..]]), ActivationCodec.Dct(10), out _);
        Assert.False(factor.grad!.Equals(map));
        foreach (var value in factor.grad.masked_select(map.eq(numbers[0])).data<float>()) Assert.Equal(0, value);
        foreach (var value in factor.grad.masked_select(map.eq(numbers[6])).data<float>()) Assert.InRange(value, 3, 9);
    }

    public static TheoryData<ScalarType> Types => [.. Codecs.CodecLaws.Types];

    [Theory, MemberData(nameof(Types))]
    public void Bits_of_a_layer_clipped_at_both_ends_bring_zeros_back_and_nothing_else(ScalarType type)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(6);
        var map = MapsToShare()[2].Map.to(type);
        using var bits = HeldBits.Pack(map, new Need.Inside(0, 6), beside: null);
        Assert.True(bits.TellsZeros);
        using (var negative = HeldBits.Pack(map.neg(), new Need.Inside(0, 6), beside: null)) Assert.False(negative.TellsZeros);
        using (var open = HeldBits.Pack(map, new Need.Inside(0, double.PositiveInfinity), beside: null)) Assert.False(open.TellsZeros);
        // A codec may rebuild the map so that nothing is zero, and a value of 6 is not quite 6.
        var rebuilt = map * tensor(0.9f, type) + tensor(0.25f, type);
        var wanted = rebuilt.masked_fill(map.eq(tensor(0f, type)), numbers[0]);
        bits.RestoreZeros(rebuilt);
        Assert.True(rebuilt.Equals(wanted));
        Assert.Contains(0, rebuilt.to(float64).view(-1).data<double>().ToArray());
    }

    static void Same(double[] plain, double[] held, double tolerance, CompressionReport report, string what)
    {
        Assert.Equal(plain.Length, held.Length);
        var most = tolerance * plain.Max(Math.Abs);
        for (var i = 0; i < plain.Length; i++)
            Assert.True(Math.Abs(plain[i] - held[i]) <= most, $"{what}: {held[i]} in place of {plain[i]} at {i}\n{report}");
    }

    static double[] Gradient(
        Func<Tensor, Tensor> operation, Tensor x, Tensor weights, ActivationCodec? codec, out CompressionReport? report)
    {
        using var gradient = ThroughStore.Gradient(operation, x, codec is null ? null : ThroughStore.Store(codec), out report, weights);
        using var doubles = gradient.to(float64);
        using var flat = doubles.view(-1);
        return flat.data<double>().ToArray();
    }
}
