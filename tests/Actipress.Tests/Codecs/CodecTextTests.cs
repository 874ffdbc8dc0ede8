namespace Actipress.Tests.Codecs;

public class CodecTextTests
{
    [Theory]
    [InlineData("none"), InlineData("st:10"), InlineData("dct:10"), InlineData("dct:1.1"), InlineData("wt:db3:100"), InlineData("quant:4"), InlineData("half"), InlineData("bf16"), InlineData("half,zeros=exact")]
    [InlineData("dct:10,block=8"), InlineData("wt:haar:10,levels=5"), InlineData("dct:10,values=float16,index=byte"), InlineData("st:10,storage=paper"), InlineData("dct:10,storage=paper,zeros=exact"), InlineData("dct:4,zeros=none")]
    public void Text_and_codec_are_two_forms_of_the_same(string text)
    {
        var codec = ActivationCodec.Parse(text);
        Assert.Equal(text, codec.ToString());
        Assert.Equal(codec, ActivationCodec.Parse(codec.ToString()));
    }

    [Fact]
    public void Every_known_example_parses() => Assert.All(ActivationCodec.Known, known => ActivationCodec.Parse(known.Example));

    [Theory]
    [InlineData("dtc:10", "dct:10")]
    [InlineData("", "dct:10")]
    [InlineData("wt:db99:10", "db8")]
    [InlineData("dct:ten", "wanted a number")]
    [InlineData("dct:0.5", "1 or more")]
    [InlineData("dct:NaN", "1 or more")]
    [InlineData("dct:Infinity", "1 or more")]
    [InlineData("quant:3", "8, 4 or 2")]
    [InlineData("dct:10,block=9", "4, 8 or 16")]
    [InlineData("wt:haar:10,levels=9", "1 to 5")]
    [InlineData("dct:10,levels=2", "no option 'levels'")]
    [InlineData("dct:10,colour=red", "no option 'colour'")]
    [InlineData("dct:10,values=int5", "int8, float16, bfloat16, float32")]
    [InlineData("dct:10,values=1", "int8, float16, bfloat16, float32")]
    [InlineData("dct:10,index=7", "auto, byte, bitmap")]
    [InlineData("half,values=int8", "no option 'values'")]
    [InlineData("quant:4,storage=paper", "No storage=paper")]
    [InlineData("dct:10,block", "name=value")]
    [InlineData("dct:10,block=8,block=8", "each name once")]
    public void A_wrong_text_is_refused_with_the_way_out(string text, string says) =>
        Assert.Contains(says, Assert.Throws<FormatException>(() => ActivationCodec.Parse(text)).Message, StringComparison.Ordinal);
}
