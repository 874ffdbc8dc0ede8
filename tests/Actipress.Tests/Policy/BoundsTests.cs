using Actipress.Autograd;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Policy;

/// <summary>Layers that learn from a bit an element on which side of a bound their map lay: at the bound itself, and beside others that save the same map.</summary>
public class BoundsTests
{
    static BoundsTests() => SavedTensors.SelfCheck();

    // All values but zeros as float32 beside a bitmap, and never raw: whatever differs is the policy's fault.
    static readonly ActivationCodec Lossless = ActivationCodec.Parse("st:1,values=float32") with { Keep = new Keep.Above(0), EvenIfLarger = true };

    // TorchSharp does not keep the numbers of a call alive until it returns.
    static readonly Dictionary<double, Scalar> numbers = new[] { -6, -3, -1, 0, 0.1, 0.5, 1, 4, 6, 9 }.ToDictionary(number => number, number => number.ToScalar());

    static readonly Dictionary<string, Func<Tensor, Tensor>> bounded = new()
    {
        ["relu"] = x => relu(x),
        ["relu in place"] = x => relu(x, inplace: true),
        ["relu6"] = x => relu6(x),
        ["relu6 in place"] = x => relu6(x, inplace: true),
        ["leaky relu"] = x => x.leaky_relu(numbers[0.1]),
        ["leaky relu in place"] = x => x.leaky_relu_(numbers[0.1]),
        // Not in place TorchSharp 0.107 gives the input back, whatever the bounds are.
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
        // Beside each bound the nearest numbers of the type, and a number of elements that leaves a rest to whatever works on several at once.
        var inFloats = type == ScalarType.Float64 && ofValues.Contains(layer);
        var exact = tensor(bounds).to(type);
        var (more, less) = (tensor(1 + finfo(inFloats ? ScalarType.Float32 : type).eps, type), tensor(1 - finfo(inFloats ? ScalarType.Float32 : type).eps, type));
        var x = cat([exact, exact * more, exact * less, tensor(new[] { 100f, -100f, 0.25f }).to(type)]);
        Assert.Equal(33, x.NumberOfElements);
        var weights = ones_like(x);
        var plain = Gradient(bounded[layer], x, weights, null, out _);
        Assert.True(plain.Distinct().Count() > 1, "One gradient everywhere tells nothing of bounds.");
        Same(plain, Gradient(bounded[layer], x, weights, Lossless, out var report), inFloats ? 1e-6 : 0, report!, layer);
        Assert.True(report!.SavedBytes > 0, report.ToString());
    }

    static readonly Dictionary<string, Func<Tensor, Tensor>> sharing = new()
    {
        ["relu6"] = x => relu6(x),
        ["leaky relu"] = x => x.leaky_relu(numbers[0.1]),
        ["hardsigmoid"] = x => hardsigmoid(x),
        ["threshold"] = x => x.threshold(numbers[4], numbers[9]),
        ["convolution"] = x => conv2d(x, full([3, 3, 3, 3], 0.125f, x.dtype), padding: [1, 1]),
        ["product"] = x => x * linspace(-1, 1, 16).to(x.dtype),
        ["silu"] = x => silu(x),
        ["sine"] = x => sin(x),
        ["average pooling"] = x => avg_pool2d(x, 2).repeat(1, 1, 2, 2),
    };

    public static MatrixTheoryData<string, string> Pairs => new(sharing.Keys, sharing.Keys);

    [Theory, MemberData(nameof(Pairs))]
    public void Two_operations_that_save_one_map_get_what_each_needs_of_it(string first, string second)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(6);
        var x = randn(2, 3, 16, 16) * tensor(6f);
        foreach (var (name, map) in new (string, Tensor)[] { ("of both signs", x), ("with zeros and no negatives", x.relu()), ("from 0 to 6", relu6(x)) })
            foreach (var type in (ScalarType[])[ScalarType.Float32, ScalarType.Float64])
            {
                Tensor Both(Tensor y) => cat([sharing[first](y), sharing[second](y)]);
                var typed = map.to(type);
                var weights = cat([ones_like(typed), full_like(typed, 2)]);
                var (plain, held) = (Gradient(Both, typed, weights, null, out _), Gradient(Both, typed, weights, Lossless, out var report));
                Same(plain, held, type == ScalarType.Float64 ? 1e-6 : 0, report!, $"{name} in {type}");
            }
    }

    static void Same(double[] plain, double[] held, double tolerance, CompressionReport report, string what)
    {
        Assert.Equal(plain.Length, held.Length);
        var most = tolerance * plain.Max(Math.Abs);
        for (var i = 0; i < plain.Length; i++) Assert.True(Math.Abs(plain[i] - held[i]) <= most, $"{what}: {held[i]} in place of {plain[i]} at {i}\n{report}");
    }

    // The gradient of the result's sum under some weights.
    static double[] Gradient(Func<Tensor, Tensor> operation, Tensor x, Tensor weights, ActivationCodec? codec, out CompressionReport? report)
    {
        using var everything = NewDisposeScope();
        var store = codec is null ? null : new ActivationStore(new CompressingPolicy(new CompressionOptions { SmallestBytes = 0 }.Default(codec)), run: null) { HandsOutOriginals = false };
        var leaf = x.clone().requires_grad_();
        Tensor result;
        // What the operation makes is gone when the backward pass begins.
        using (store is null ? null : SavedTensorsScope.Enter(store))
        using (NewDisposeScope())
            result = operation(leaf.clone()).MoveToOuterDisposeScope();
        report = store?.Report();
        result.backward([weights]);
        Assert.Empty(store?.Failures ?? []);
        Assert.Equal(0, store?.LiveBytes ?? 0);
        return leaf.grad!.to(float64).view(-1).data<double>().ToArray();
    }
}
