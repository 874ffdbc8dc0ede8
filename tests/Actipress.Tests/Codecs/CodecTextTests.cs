using Actipress.Encodings;
using Actipress.Selection;
using Actipress.Transforms;
using CsCheck;

namespace Actipress.Tests.Codecs;

public class CodecTextTests
{
    [Theory]
    [InlineData("none"), InlineData("exact"), InlineData("st:10"), InlineData("dct:10"), InlineData("dct:1.1"), InlineData("wt:db3:100")]
    [InlineData("quant:4")]
    [InlineData("half"), InlineData("bf16"), InlineData("half,zeros=exact"), InlineData("dct:10,block=8")]
    [InlineData("wt:haar:10,levels=5")]
    [InlineData("dct:10,values=float16,index=byte"), InlineData("st:10,storage=paper"), InlineData("dct:10,storage=paper,zeros=exact")]
    [InlineData("dct:4,zeros=none"), InlineData("st:above:0.1"), InlineData("wt:db3:above:0,storage=compact")]
    [InlineData("quant:2,larger=pack")]
    [InlineData("dct:10,storage=paper,larger=leave")]
    public void Text_and_codec_are_two_forms_of_the_same(string text)
    {
        var codec = ActivationCodec.Parse(text);
        Assert.Equal(text, codec.ToString());
        Assert.Equal(codec, ActivationCodec.Parse(codec.ToString()));
    }

    // Naming a default value is the same as not naming it.
    [Theory]
    [InlineData("dct:10,storage=grid", "dct:10"), InlineData("dct:10,block=16,zeros=exact,larger=leave", "dct:10")]
    [InlineData("wt:haar:10,levels=3", "wt:haar:10"), InlineData("st:3,index=auto", "st:3,storage=compact")]
    [InlineData("st:3,values=int8,storage=compact", "st:3,storage=compact"), InlineData("half,zeros=none", "half")]
    [InlineData("dct:1e1", "dct:10")]
    [InlineData("st:2,zeros=none,storage=paper", "st:2,storage=paper")]
    public void An_option_that_says_the_default_says_nothing(string text, string shorter) =>
        Assert.Equal(shorter, ActivationCodec.Parse(text).ToString());

    static readonly Gen<Transform> transforms = Gen.OneOf<Transform>(
        Gen.Const<Transform>(new Identity()),
        Gen.OneOf(4, 8, 16).Select(block => (Transform)new Dct(block)),
        Gen.Select(Gen.OneOf<string>([.. Wavelet.Families]), Gen.Int[1, 5])
            .Select((family, levels) => (Transform)new Wavelet(family, levels)));

    static readonly Gen<Keep> keeps = Gen.OneOf<Keep>(
        Gen.Double[1, 1e6].Select(ratio => (Keep)new Keep.TopK(ratio)),
        Gen.Float.Where(threshold => threshold >= 0 && float.IsFinite(threshold)).Select(threshold => (Keep)new Keep.Above(threshold)));

    static readonly Gen<Encoding> encodings = Gen.OneOf<Encoding>(
        Gen.Const<Encoding>(new GridStorage()),
        Gen.Const<Encoding>(new Coo()),
        Gen.Select(Gen.Enum<IndexForm>(), Gen.Enum<ValueForm>()).Select((index, values) => (Encoding)new Compact(index, values)));

    static readonly Gen<ActivationCodec> stages = Gen.OneOf<ActivationCodec>(
        Gen.Select(transforms, keeps, encodings).Select((transform, keep, encoding) => new ActivationCodec(transform, keep, encoding)),
        Gen.OneOf(
            ActivationCodec.Half, ActivationCodec.BFloat16, ActivationCodec.Quantized(8), ActivationCodec.Quantized(4),
            ActivationCodec.Quantized(2)));

    [Fact]
    public void Every_codec_is_read_back_from_its_text() =>
        Gen.Select(stages, Gen.Bool, Gen.Bool).Select((codec, zeros, larger) => codec with { ExactZeros = zeros, EvenIfLarger = larger })
            .Sample(codec =>
            {
                Assert.Equal(codec, ActivationCodec.Parse(codec.ToString()));
                Assert.True(codec.HasText, codec.ToString());
            }, iter: 5000);

    // A user's transform with the name of a library's transform is not the library's.
    [Theory, InlineData("negated"), InlineData("dct"), InlineData("st:10,zeros")]
    public void A_codec_with_a_transform_of_the_user_s_own_says_that_it_has_no_text(string name)
    {
        var codec = ActivationCodec.Threshold(10) with { Transform = new Named(name) };
        Assert.False(codec.HasText);
        Assert.StartsWith($"{name}:10", codec.ToString(), StringComparison.Ordinal);
        Assert.True(ActivationCodec.Threshold(10).HasText);
    }

    sealed record Named(string Word) : Transform
    {
        public override string Name => Word;
        public override long Coefficients(MapShape shape) => shape.Elements;
        public override void Forward(ReadOnlySpan<float> map, MapShape shape, Span<float> coefficients) => map.CopyTo(coefficients);
        public override void Inverse(ReadOnlySpan<float> coefficients, MapShape shape, Span<float> map) => coefficients.CopyTo(map);
        public override Tensor Forward(Tensor map, MapShape shape) => map.alias();
        public override Tensor Inverse(Tensor coefficients, MapShape shape) => coefficients.alias();
    }

    [Fact]
    public void Every_known_example_parses() => Assert.All(ActivationCodec.Known, known => ActivationCodec.Parse(known.Example));

    [Theory]
    [InlineData("dtc:10", "dct:10")]
    [InlineData("", "dct:10")]
    [InlineData("dct", "dct:10")]
    [InlineData("dct:10:2", "dct:10")]
    [InlineData("wt:db99:10", "db8")]
    [InlineData("wt:10", "db8")]
    [InlineData("none:10", "dct:10")]
    public void An_unknown_codec_is_refused_with_the_known_ones(string text, string says) => Refused(text, says);

    [Theory]
    [InlineData("dct:ten", "wanted a number")]
    [InlineData("dct:0.5", "1 or more")]
    [InlineData("dct:NaN", "1 or more")]
    [InlineData("dct:Infinity", "1 or more")]
    [InlineData("dct:1e400", "1 or more")]
    [InlineData("quant:3", "8, 4 or 2")]
    [InlineData("quant:4.9", "'4.9'", "wanted a whole number")]
    [InlineData("quant:4e0", "wanted a whole number")]
    [InlineData("dct:10,block=9", "4, 8 or 16")]
    [InlineData("dct:10,block=8.5", "'8.5'", "wanted a whole number")]
    [InlineData("wt:haar:10,levels=9", "1 to 5")]
    [InlineData("wt:haar:10,levels=2.7", "'2.7'", "wanted a whole number")]
    [InlineData("wt:haar:10,levels=99999999999", "wanted a whole number")]
    [InlineData("st:above:-1", "'-1'", "wanted 0 or a number from")]
    [InlineData("st:above:NaN", "wanted 0 or a number from")]
    [InlineData("st:above:1e39", "wanted 0 or a number from")]
    [InlineData("st:above:1e-60", "wanted 0 or a number from")]
    [InlineData("st:above", "wanted a number")]
    public void A_number_that_would_be_cut_or_is_out_of_range_is_refused(string text, params string[] says) => Refused(text, says);

    [Theory]
    [InlineData("dct:10,levels=2", "'dct:10' has no option 'levels'", "levels is for wt")]
    [InlineData("st:10,block=8", "'st:10' has no option 'block'", "block is for dct")]
    [InlineData("quant:4,block=8", "no option 'block'")]
    [InlineData("dct:10,storage=grid,values=int8", "'dct:10' has no option 'values'", "values is for compact storage")]
    [InlineData("dct:10,index=byte,storage=grid", "no option 'index'")]
    [InlineData("dct:10,storage=paper,values=int8", "'dct:10,storage=paper' has no option 'values'")]
    [InlineData("half,values=int8", "no option 'values'", "values is for compact storage")]
    [InlineData("bf16,index=byte", "no option 'index'")]
    [InlineData("quant:4,values=int8", "no option 'values'")]
    [InlineData("quant:4,storage=paper", "'quant:4' has no option 'storage'", "storage is for st, dct and wt")]
    [InlineData("half,storage=compact", "no option 'storage'")]
    [InlineData("none,zeros=exact", "'none' has no option 'zeros'", "zeros is for every codec but none and exact")]
    [InlineData("exact,larger=leave", "'exact' has no option 'larger'")]
    [InlineData("none,larger=pack", "no option 'larger'")]
    [InlineData("none,storage=grid", "no option 'storage'")]
    [InlineData("dct:10,colour=red", "no option 'colour'", "Known: block (dct), levels (wt), storage (st, dct and wt)")]
    public void An_option_that_the_codec_does_not_have_is_refused(string text, params string[] says) => Refused(text, says);

    [Theory]
    [InlineData("dct:10,values=int5", "int8, float16, bfloat16, float32")]
    [InlineData("dct:10,values=1", "int8, float16, bfloat16, float32")]
    [InlineData("dct:10,index=7", "auto, byte, bitmap")]
    [InlineData("dct:10,storage=wide", "grid, compact, paper")]
    [InlineData("dct:10,zeros=maybe", "exact, none")]
    [InlineData("dct:10,larger=no", "leave, pack")]
    [InlineData("dct:10,block", "name=value")]
    [InlineData("dct:10,", "name=value")]
    [InlineData("dct:10,block=8,block=8", "each name once")]
    public void A_value_that_an_option_does_not_have_is_refused(string text, string says) => Refused(text, says);

    static void Refused(string text, params string[] says)
    {
        var message = Assert.Throws<FormatException>(() => ActivationCodec.Parse(text)).Message;
        Assert.All(says, part => Assert.Contains(part, message, StringComparison.Ordinal));
        Assert.False(ActivationCodec.TryParse(text, out var codec));
        Assert.Null(codec);
    }
}
