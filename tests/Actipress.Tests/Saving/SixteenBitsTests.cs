using Actipress.Maps;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>Maps that an operation needs in 16 bits, whatever the codec.</summary>
public sealed class SixteenBitsTests
{
    // bfloat16 has 8 bits, so that its largest relative error is 2^-8.
    const double MostError = 1.0 / 256;

    [Theory]
    [InlineData(ScalarType.Float32), InlineData(ScalarType.Float64)]
    public void Values_and_their_distances_from_one_have_a_small_relative_error(ScalarType type)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        // There are values from 1e-20 to 1, and as far from 1, of both signs, more than are converted at a time.
        var sizes = pow(tensor(10.0), rand(1_100_000, float64) * -20);
        var near = sizes.slice(0, 0, -1, 2);
        var line = cat([sizes.slice(0, 1, -1, 2), 1 - near * (near.Gt(1e-6)).to(float64)]) * randint(0, 2, [1_099_999]).mul(2).sub(1);
        var values = cat([line, tensor([0.0, 1, -1, 0.5, -0.5, 1 - 1.0 / (1 << 20)])]).to(type).view(5, -1);
        using var held = HeldSaturating.Pack(values)!;
        Assert.Equal(2 * values.numel(), held.Bytes);
        var back = held.Unpack();
        Assert.Equal(type, back.dtype);
        Assert.Equal(values.shape, back.shape);
        var (before, after) = (values.to(float64), back.to(float64));
        Assert.True(((after - before).abs() <= MostError * before.abs() + 1e-19).all().ToBoolean());
        var (distance, rebuilt) = (1 - before.abs(), 1 - after.abs());
        Assert.True(((rebuilt - distance).abs() <= MostError * distance + 1e-7).all().ToBoolean());
        Assert.Equal([0.0, 1, -1, 0.5, -0.5], after.view(-1)[^6..^1].data<double>().ToArray());
    }

    [Fact]
    public void Ranges_are_those_of_the_whole()
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var held = HeldSaturating.Pack(randn([3, 4, 8, 6, 5]).tanh())!;
        var whole = held.Unpack();
        foreach (var range in (MapRange[])[new(0, 12, 0, 8), new(3, 5, 0, 8), new(7, 1, 2, 3), new(2, 4, 5, 1)])
        {
            var (part, wanted) = (held.Unpack(range), range.Of(whole));
            Assert.Equal(wanted.shape, part.shape);
            Assert.True(part.Equals(wanted));
        }
    }

    [Fact]
    public void Other_values_are_not_held_so()
    {
        using var everything = NewDisposeScope();
        foreach (var other in (float[])[1.001f, -1.001f, float.NaN, float.PositiveInfinity])
            Assert.Null(HeldSaturating.Pack(cat([zeros(7), tensor(new[] { other })])));
        Assert.Null(HeldSaturating.Pack(zeros(8, bfloat16)));
        Assert.Null(HeldSaturating.Pack(zeros(0)));
    }

    [Theory, InlineData("dct:10"), InlineData("quant:8"), InlineData("half"), InlineData("bf16")]
    public void A_probability_that_is_almost_one_keeps_the_gradient_of_the_logarithm_of_the_rest(string codec)
    {
        using var everything = NewDisposeScope();
        var logits = torch.linspace(-14, 14, 4096);
        Func<Tensor, Tensor> loss = x => -log(1 - x.sigmoid());
        var plain = ThroughStore.Gradient(loss, logits, null, out _);
        var rebuilt = ThroughStore.Gradient(loss, logits, ThroughStore.Store(ActivationCodec.Parse(codec)), out var report);
        // The gradient is the probability. In bfloat16 it would be 0 for logits above 7.
        Assert.True(((rebuilt - plain).abs() <= 0.1 * plain.abs() + 1e-4).all().ToBoolean());
        Assert.Contains(HeldSaturating.How, report!.ToString(), StringComparison.Ordinal);
    }

    [Theory, InlineData("dct:10"), InlineData("quant:8"), InlineData("half"), InlineData("bf16")]
    public void Small_numbers_keep_the_gradient_of_their_logarithm(string codec)
    {
        using var everything = NewDisposeScope();
        var exponents = torch.linspace(-30, 0, 4096);
        Func<Tensor, Tensor> loss = x => x.exp().log();
        var plain = ThroughStore.Gradient(loss, exponents, null, out _);
        var rebuilt = ThroughStore.Gradient(loss, exponents, ThroughStore.Store(ActivationCodec.Parse(codec)), out _);
        Assert.True(((rebuilt - plain).abs() <= 2 * MostError * plain.abs()).all().ToBoolean());
    }

    [Theory]
    [InlineData("sin", 31.9, "bf16"), InlineData("sin", 32.1, "exact: large values of aten::sin"), InlineData("cosh", 40, "exact")]
    [InlineData("sin", -32.1, "exact"), InlineData("sin", double.NaN, "exact"), InlineData("logsumexp", 1, "exact for aten::logsumexp")]
    public void Angles_and_exponents_far_from_zero_stay_exact(string operation, double farthest, string kept)
    {
        using var everything = NewDisposeScope();
        var x = cat([torch.linspace(-4, 4, 4095), tensor(new[] { (float)farthest })]);
        Func<Tensor, Tensor> of = operation switch { "sin" => sin, "cosh" => cosh, _ => map => map.logsumexp(0) };
        var plain = ThroughStore.Gradient(of, x, null, out _);
        var rebuilt = ThroughStore.Gradient(of, x, ThroughStore.Store(ActivationCodec.Dct(10)), out var report);
        Assert.Contains(kept, report!.ToString(), StringComparison.Ordinal);
        if (kept != "bf16") Assert.Equal(plain.data<float>().ToArray(), rebuilt.data<float>().ToArray());
        else Assert.True((rebuilt - plain).abs().max().ToDouble() < 1.0 / 16);
    }

    [Theory]
    [InlineData(1, "bf16"), InlineData(30, "exact: large values of aten::_scaled_dot_product_flash_attention_for_cpu")]
    public void Queries_and_keys_of_large_products_stay_exact(double size, string kept)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        var store = ThroughStore.Store(ActivationCodec.Dct(10));
        Tensor Of(Tensor x) => nn.functional.scaled_dot_product_attention(x * size, x * size, x * 1);
        ThroughStore.Gradient(Of, randn(1, 2, 64, 32), store, out var report);
        Assert.Contains(kept, report!.ToString(), StringComparison.Ordinal);
    }
}
