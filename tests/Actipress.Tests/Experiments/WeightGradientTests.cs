using Actipress.Experiments;
using Actipress.Models;
using Actipress.Transforms;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class WeightGradientTests
{
    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    // There are so few coefficients that every mask can be tried: 8, or 6 that a wavelet pads to 8.
    static WeightGradient Tiny(string layer)
    {
        random.manual_seed(5);
        return layer switch
        {
            "fully connected" => new(randn(2, 4), randn(2, 3)),
            "convolution" => new(randn(1, 2, 2, 2), randn(1, 2, 1, 1)),
            _ => new(randn(1, 1, 2, 3), randn(1, 2, 1, 2)),
        };
    }

    public static TheoryData<string, string, double> Cases =>
        [.. from layer in new[] { "fully connected", "convolution", "convolution of odd extents" }
            from transform in new[] { "st", "dct", "wt:haar", "wt:db3" }
            from ratio in new[] { 1.4, 10 }
            select (layer, transform, ratio)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void The_mean_over_drawn_masks_is_the_one_over_all_masks_and_below_both_bounds(string layer, string name, double ratio)
    {
        using var scope = NewDisposeScope();
        using var gradient = Tiny(layer);
        var transform = KnownTransforms.Named(name);
        var all = OverAllMasks(gradient, transform, ratio);

        var drawn = gradient.UnderRandomMasks(transform, ratio, 400, Cancellation);
        Assert.InRange(drawn.Mean, all.Sum() - 4 * drawn.StandardError, all.Sum() + 4 * drawn.StandardError);
        Assert.Equal(drawn.Mean, drawn.Outputs.Sum(), 1e-6 * drawn.Mean);

        var (bound, sharper) = (gradient.Bound(transform, ratio), gradient.SharperBound(transform, ratio));
        for (var output = 0; output < all.Length; output++)
        {
            Assert.True(all[output] <= sharper[output] * 1.000001, $"output {output}: {all[output]} above {sharper[output]}");
            Assert.True(sharper[output] <= bound[output] * 1.000001);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void The_mean_over_all_masks_is_the_formula(string layer, string name, double ratio)
    {
        using var scope = NewDisposeScope();
        using var gradient = Tiny(layer);
        var transform = KnownTransforms.Named(name);
        var shape = MapShape.Of(gradient.Input.shape);
        var coefficients = transform.Forward(gradient.Input, shape).data<float>().ToArray();
        double alone = 0;
        for (var i = 0; i < coefficients.Length; i++)
        {
            var only = new float[coefficients.Length];
            only[i] = coefficients[i];
            alone += gradient.SquaredNorms(transform.Inverse(tensor(only), shape)).Sum();
        }
        var plain = gradient.SquaredNorms(gradient.Input).Sum();
        var formula = plain / (ratio * ratio) + (1 - 1 / ratio) / ratio * alone;
        Assert.Equal(formula, OverAllMasks(gradient, transform, ratio).Sum(), 1e-4 * formula);
    }

    static double[] OverAllMasks(WeightGradient gradient, Transform transform, double ratio)
    {
        var shape = MapShape.Of(gradient.Input.shape);
        var coefficients = transform.Forward(gradient.Input, shape).data<float>().ToArray();
        var expected = new double[gradient.SquaredNorms(gradient.Input).Length];
        for (var mask = 0; mask < 1 << coefficients.Length; mask++)
        {
            using var one = NewDisposeScope();
            var kept = int.PopCount(mask);
            var probability = Math.Pow(1 / ratio, kept) * Math.Pow(1 - 1 / ratio, coefficients.Length - kept);
            var norms =
                gradient.SquaredNorms(transform.Inverse(tensor([.. coefficients.Select((e, i) => (mask >> i & 1) != 0 ? e : 0)]), shape));
            expected = [.. norms.Select((norm, output) => expected[output] + probability * norm)];
        }
        return expected;
    }

    [Fact]
    public void At_ratio_1_one_mask_tells_all()
    {
        using var scope = NewDisposeScope();
        using var gradient = Tiny("fully connected");
        var drawn = gradient.UnderRandomMasks(KnownTransforms.Named("dct"), 1, 400, Cancellation);
        Assert.True(double.IsNaN(drawn.StandardError));
        var plain = gradient.SquaredNorms(gradient.Input).Sum();
        Assert.Equal(plain, drawn.Mean, 1e-5 * plain);
    }

    [Fact]
    public void A_networks_weight_gradients_are_those_of_autograd()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        using var model = new LeNet();
        var (input, target) = (randn(4, 1, 28, 28), randint(0, 10, [4]));
        var layers = LayerGradients.Of(model, () => nn.functional.nll_loss(model.call(input), target));
        Assert.Equal(["conv1", "conv2", "fc1", "fc2"], layers.Select(one => one.Layer));
        var parameters = model.named_parameters().ToDictionary(named => named.name, named => named.parameter);
        foreach (var (layer, gradient) in layers)
            using (gradient)
                Assert.True(
                    gradient.With(gradient.Input).allclose(parameters[$"{layer}.weight"].grad!.flatten(1), rtol: 1e-3, atol: 1e-6), layer);
        // The hooks are removed, so a second pass holds no maps.
        Assert.Equal([4L, 10], model.call(input).shape);
    }

    [Fact]
    public void A_bound_is_that_of_the_transposed_planes()
    {
        using var scope = NewDisposeScope();
        var (input, upstream, transform) = (randn(2, 3, 4, 9), randn(2, 5, 3, 5), KnownTransforms.Named("st"));
        using WeightGradient plain = new(input, upstream), turned = new(input.mT.contiguous(), upstream.mT.contiguous());
        Equal(plain.Bound(transform, 10), turned.Bound(transform, 10));
        Equal(plain.SharperBound(transform, 10), turned.SharperBound(transform, 10));

        static void Equal(IReadOnlyList<double> one, IReadOnlyList<double> other)
        {
            Assert.Equal((5, 5), (one.Count, other.Count));
            for (var output = 0; output < one.Count; output++) Assert.Equal(one[output], other[output], 1e-4 * one[output]);
        }
    }

    [Fact]
    public void A_tensor_that_is_no_layers_input_is_refused() =>
        Assert.Contains("2 x 3 x 4", Assert.Throws<ArgumentException>(() => new WeightGradient(zeros(2, 3, 4), zeros(2, 3, 4))).Message);
}
