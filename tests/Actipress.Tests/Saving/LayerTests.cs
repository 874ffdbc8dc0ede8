using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Saving;

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

    [Fact]
    public void A_layer_whose_parameters_are_frozen_does_not_learn()
    {
        using var model = Sequential(("first", Linear(3, 4)), ("half", Linear(4, 4)), ("frozen", Linear(4, 2)));
        foreach (var (name, parameter) in model.named_parameters())
            if (name is "half.weight" or "frozen.weight" or "frozen.bias") parameter.requires_grad_(false);
        var layers = new ModelLayers(model);
        layers.LearnParameters();
        Assert.Equal(2, layers.WithParameters);
        Assert.Equal(["first", "half"], layers.All.Where(layers.Learns).Select(layer => layer.Name));
        Assert.Equal("half", layers.LastWithParameters!.Name);
    }

    [Fact]
    public void A_layer_without_parameters_is_the_one_that_was_registered_behind_the_layer_before()
    {
        using var model = Sequential(
            ("conv1", Conv2d(3, 4, 3)), ("act1", ReLU()), ("conv2", Conv2d(4, 4, 3)), ("act2", ReLU()), ("act3", ReLU()),
            ("pool", MaxPool2d(2)));
        var layers = new ModelLayers(model);
        var (relu, pool) = (Operation.Called("aten::relu"u8), Operation.Called("aten::max_pool2d_with_indices"u8));
        var second = layers.All.Single(layer => layer.Name == "conv2");
        Assert.Equal("act2", layers.WithoutParameters(second, relu).Name);
        Assert.Equal("act2", layers.WithoutParameters(second, relu).Name);    // once more in the next step
        Assert.Equal("act1", layers.WithoutParameters(layers.All.Single(layer => layer.Name == "conv1"), relu).Name);
        Assert.Equal("pool", layers.WithoutParameters(second, pool).Name);
    }

    // A matrix of tokens has two axes.
    [Theory, InlineData(1, false), InlineData(8, true)]
    public void Tokens_of_unlike_sizes_become_bfloat16(double factor, bool areUnlike)
    {
        foreach (long[] shape in (long[][])[[128, 32], [4, 32, 32]])
        {
            using var scope = NewDisposeScope();
            var map = randn(shape);
            var rows = map.view(-1, 32);
            rows[TensorIndex.Slice(step: 3)].mul_(tensor(factor));
            var codec = Sensitivity.Adapt(ActivationCodec.Dct(10), map, Need.Tokens, Zeros.Decide);
            Assert.Equal(areUnlike, codec == ActivationCodec.BFloat16);
        }
    }

    // From this ratio on, a bit for each zero costs several times the bytes of the values.
    [Theory, InlineData(29.9, true), InlineData(30, false), InlineData(100, false)]
    public void From_ratio_30_on_a_convolutions_input_goes_without_zeros_bits(double ratio, bool keepsZeros)
    {
        using var map = randn(2, 3, 16, 16);
        Assert.Equal(keepsZeros, Sensitivity.Adapt(ActivationCodec.Dct(ratio), map, Need.Linear, Zeros.Refine).ExactZeros);
        Assert.True(Sensitivity.Adapt(ActivationCodec.Dct(ratio), map, Need.Linear, Zeros.Decide).ExactZeros);
    }
}
