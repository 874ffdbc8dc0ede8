using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>A dropout's mask has zeros and one other value, which is above zero.</summary>
public class HeldMaskTests
{
    // The length exceeds both the part that is tested at once and the part that is tested first, and is no multiple of them.
    const int Elements = 261;

    static float[] Mask(float other) => [.. Enumerable.Range(0, Elements).Select(i => i % 3 == 1 ? 0 : other)];

    public static MatrixTheoryData<string, ScalarType> Masks => new(masks.Keys, Codecs.CodecLaws.Types);

    static readonly Dictionary<string, (Func<float[]> Values, bool IsMask)> masks = new()
    {
        ["of twos"] = (() => Mask(2), true),
        ["of ones"] = (() => Mask(1), true),
        ["of small numbers"] = (() => Mask(0.125f), true),
        ["that starts with zeros"] = (() => [.. new float[100], .. Mask(2)[100..]], true),
        ["of zeros alone"] = (() => new float[Elements], true),
        ["without zeros"] = (() => [.. Enumerable.Repeat(2f, Elements)], true),
        ["whose last value is another"] = (() => [.. Mask(2)[..^1], 1], false),
        ["whose first value is another"] = (() => [1, .. Mask(2)[1..]], false),
        ["with another value behind the first ones"] = (() => [.. Mask(2)[..100], 1, .. Mask(2)[101..]], false),
        ["whose last value is below zero"] = (() => [.. Mask(2)[..^1], -2], false),
        ["of negative numbers"] = (() => Mask(-2), false),
        ["of infinities"] = (() => Mask(float.PositiveInfinity), false),
        ["with one that is no number"] = (() => [.. Mask(2)[..^1], float.NaN], false),
    };

    public static MatrixTheoryData<long[], string> Expanded { get; } = new(
        [[8, 16, 1, 1], [8, 1, 1, 1], [8, 1, 12, 12], [1, 16, 1, 12], [8, 16, 12, 1], [1, 1, 12, 12]], ["exact", "half", "dct:10"]);

    [Theory, MemberData(nameof(Expanded))]
    public void An_expanded_mask_is_held_once_and_lets_the_same_elements_through(long[] shape, string codec)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        var mask = rand(shape).gt(0.5).to(float32).mul(2);
        Func<Tensor, Tensor> product = x =>
        {
            using var expanded = mask.clone().expand(8, 16, 12, 12);
            return x * expanded;
        };
        var plain = ThroughStore.Gradient(product, ones(8, 16, 12, 12), null, out _);
        var rebuilt = ThroughStore.Gradient(product, ones(8, 16, 12, 12), ThroughStore.Store(ActivationCodec.Parse(codec)), out var report);
        Assert.Equal(plain.data<float>().ToArray(), rebuilt.data<float>().ToArray());
        Assert.True(report!.KeptBytes <= report.SavedBytes, $"{report}");
    }

    [Theory, MemberData(nameof(Masks))]
    public void A_mask_takes_a_bit_an_element_and_comes_back(string name, ScalarType type)
    {
        using var everything = NewDisposeScope();
        var (values, isMask) = masks[name];
        var line = torch.tensor(values()).to(type);
        foreach (var tensor in (Tensor[])[line, line.view(9, 29), line.view(9, 29).t()])
        {
            using var held = HeldMask.Pack(tensor);
            Assert.Equal(isMask, held is not null);
            if (held is null) continue;
            Assert.Equal((Elements + 7) / 8, held.Bytes);
            var back = held.Unpack();
            Assert.Equal(type, back.dtype);
            Assert.Equal(tensor.shape, back.shape);
            Assert.True(back.Equals(tensor));
        }
    }
}
