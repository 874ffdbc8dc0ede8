namespace Actipress.Tests.Policy;

public class LayerTests
{
    [Theory]
    [InlineData("layer1", "layer1", true)]
    [InlineData("layer1.0.conv1", "layer1", true)]
    [InlineData("layer1.0.conv1", "layer1.0", true)]
    [InlineData("layer10", "layer1", false)]
    [InlineData("layer10.conv", "layer1", false)]
    [InlineData("layer1", "layer1.0", false)]
    [InlineData("layer1.0.conv1", "conv1", false)]
    [InlineData("layer1.0.conv1", "*.conv1", true)]
    [InlineData("layer1.0.conv1", "layer?.*.conv*", true)]
    [InlineData("layer10.0.conv1", "layer?.*", false)]
    [InlineData("", "layer1", false)]
    public void A_pattern_names_a_layer_all_below_it_and_what_its_wildcards_match(string name, string pattern, bool matches)
    {
        Assert.Equal(matches, new Layer(name, null).Matches(pattern));
        if (name.Length > 0) Assert.Equal(matches, Layer.After(new(name, null)).Matches(pattern));
    }
}
