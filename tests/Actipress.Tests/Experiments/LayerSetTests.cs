using Actipress.Experiments;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class LayerSetTests
{
    // Returns the layers that a set compresses in a network's step, from the report.
    static string[] Compressed(string model, string layers)
    {
        var network = Trainable.Find(model);
        random.manual_seed(1);
        using var made = network.Create(3, 4, 8);
        using var compression =
            made.CompressActivations(options => LayerSet.Parse(layers, network).Configure(options, ActivationCodec.Dct(10)));
        using (NewDisposeScope()) made.call(randn(2, 3, 16, 16)).sum().backward();
        return [.. compression.Report().Layers.Where(layer => layer.KeptBytes < layer.SavedBytes / 2).Select(layer => layer.Name)];
    }

    [Fact]
    public void The_papers_blocks_are_layers_by_name()
    {
        var all = Compressed("resnet20", "all");
        var two = Compressed("resnet20", "block0-1");
        // The convolution of layer2, which is not compressed, saves the last map as well.
        Assert.Equal(
            all.Where(name => name is "conv1" or "bn1" or "relu" || name.StartsWith("layer1.", StringComparison.Ordinal))
                .Except(["layer1.2.relu2"]),
            two);
        Assert.Equal(two, Compressed("resnet20", "block0,block1"));
        Assert.Equal(two, Compressed("resnet20", "conv1,bn1,relu,layer1"));
    }

    [Fact]
    public void Batch_norms_alone()
    {
        var norms = Compressed("resnet20", "block1:bn");
        Assert.NotEmpty(norms);
        Assert.All(norms, name => Assert.Matches(@"^layer1\.[012]\.bn[12]$", name));
        Assert.Equal(norms, Compressed("resnet20", "all:bn").Where(name => name.StartsWith("layer1", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("bn", typeof(BatchNorm1d), typeof(BatchNorm2d), typeof(BatchNorm3d))]
    [InlineData("conv", typeof(Conv1d), typeof(Conv2d), typeof(Conv3d))]
    [InlineData("relu", typeof(ReLU), typeof(ReLU6))]
    public void A_kind_is_every_type_of_it_and_no_other(string kind, params Type[] types)
    {
        nn.Module[] modules =
        [
            nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.Conv1d(2, 2, 1), nn.Conv2d(2, 2, 1), nn.Conv3d(2, 2, 1), nn.ReLU(),
            nn.ReLU6(), nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.ConvTranspose2d(2, 2, 1), nn.Linear(2, 2), nn.GELU(),
            nn.LeakyReLU(), nn.MaxPool2d(2), nn.Dropout(),
        ];
        var set = LayerSet.Parse($"all:{kind}", Trainable.Find("resnet20"));
        Assert.Equal(types, modules.Where(module => set.Contains(new Layer("layer", module))).Select(module => module.GetType()));
        Assert.All(modules, module => Assert.True(LayerSet.Parse("all", Trainable.Find("resnet20")).Contains(new Layer("layer", module))));
        Assert.False(LayerSet.Parse($"other:{kind}", Trainable.Find("resnet20"))
            .Contains(new Layer("layer", modules.First(module => module.GetType() == types[0]))));
        foreach (var module in modules) module.Dispose();
    }

    [Theory]
    [InlineData("block0-2:bn", "No layer of kind bn among conv1, relu1, conv2: found conv, relu. Leave out ':bn', or name another kind.")]
    [InlineData(
        "fc1:conv+relu",
        "No layer of kind conv or relu among fc1: found none of the known kinds. Leave out ':conv+relu', or name another kind.")]
    public void A_set_without_a_layer_of_its_kind_is_refused(string text, string says)
    {
        var network = Trainable.Find("lenet");
        using var model = network.Create(1, 10, 16);
        Assert.Equal(says, Assert.Throws<ArgumentException>(() => LayerSet.Parse(text, network).EnsureIn(model)).Message);
        foreach (var possible in (string[])["all", "block0-2", "block0-2:conv", "all:bn+relu", "conv9:bn"])
            LayerSet.Parse(possible, network).EnsureIn(model);
    }

    [Theory]
    [InlineData("block4", "block0 to block3")]
    [InlineData("block2-1", "block0 to block3")]
    [InlineData("", "No layers")]
    [InlineData(":bn", "No layers")]
    [InlineData("all:norm", "No kind of layer 'norm' in 'all:norm'. Known: bn, conv, relu")]
    public void What_is_no_set_is_refused(string text, string says) =>
        Assert.Contains(
            says, Assert.Throws<ArgumentException>(() => LayerSet.Parse(text, Trainable.Find("resnet20"))).Message,
            StringComparison.Ordinal);
}
