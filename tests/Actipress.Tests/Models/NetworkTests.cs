using Actipress.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Models;

public sealed class NetworkTests : IDisposable
{
    // On inputs as small as these, threads cost more than they gain.
    readonly int threads = get_num_threads();
    public NetworkTests()
    {
        set_num_threads(1);
        manual_seed(1);
    }

    public void Dispose() => set_num_threads(threads);

    /// <summary>Facts about a network from its publication, and a small input.</summary>
    /// <param name="Parameters">The number of parameters that are trained.</param>
    /// <param name="Input">The shape of an input with its batch. The maps are large enough to be compressed.</param>
    /// <param name="Output">The shape of the output.</param>
    /// <param name="Keys">Some keys of the state dictionary, as published where there is one.</param>
    sealed record Known(long Parameters, long[] Input, long[] Output, params string[] Keys);

    // torchvision's counts are for a 7 x 7 stem and 1000 classes: a 3 x 3 stem has 7 680 parameters fewer, 100 classes 461 700 fewer after
    // 512 channels and 1 844 100 fewer after 2048.
    static readonly Dictionary<string, Known> known = new()
    {
        // 160 + 1 160 + 147 584 + 1 290
        ["LeNet"] = new(150_194, [2, 1, 28, 28], [2, 10], "conv1.weight", "fc2.bias"),
        // He et al. 2016: 0.27 M
        ["ResNet20"] = new(272_474, [2, 3, 16, 16], [2, 10], "conv1.weight", "layer3.2.bn2.running_var", "fc.bias"),
        // torchvision: resnet18 has 11 689 512
        ["ResNet18"] = new(11_220_132, [2, 3, 16, 16], [2, 100], "bn1.num_batches_tracked", "layer4.0.downsample.1.weight"),
        // torchvision: resnet34 has 21 797 672; 4 blocks of 128 channels and 30 of 256 more are 4 * 295 424 + 30 * 1 180 672
        ["ResNet152Basic"] = new(57_930_148, [2, 3, 8, 8], [2, 100], "layer3.35.conv2.weight"),
        // torchvision: resnet152 has 60 192 808
        ["ResNet152"] = new(58_341_028, [2, 3, 8, 8], [2, 100], "layer1.0.downsample.0.weight", "layer3.35.conv3.weight"),
        // torchvision: wide_resnet101_2 has 126 886 696
        ["WideResNet101"] = new(125_034_916, [2, 3, 8, 8], [2, 100], "layer3.22.bn3.bias"),
        // torchvision
        ["ResNet50"] = new(25_557_032, [2, 3, 32, 64], [2, 1000], "conv1.weight", "layer4.0.downsample.0.weight", "layer3.5.bn3.weight"),
        // Huang et al. 2017: 0.8 M
        ["DenseNet"] = new(769_162, [2, 3, 16, 16], [2, 10], "features.denseblock3.denselayer16.conv2.weight",
            "features.transition2.norm.running_var", "features.norm_final.bias", "classifier.weight"),
        // The published experiments: 22.6 M. All add up from 27 ab + 3b (in planes 9 ab + 3b) for a convolution of a to b channels with its
        // batch norm.
        ["UNet2D"] = new(7_766_339, [2, 4, 32, 48], [2, 3, 32, 48], "bottom.conv2.weight", "rise1.bias"),
        ["UNet3D"] = new(22_583_875, [1, 4, 16, 32, 16], [1, 3, 16, 32, 16], "down1.conv1.weight", "up4.bn2.weight"),
        ["UNet3DSpleen"] = new(4_324_714, [1, 1, 16, 32, 16], [1, 2, 16, 32, 16]),
        // vit-pytorch, added up from its text: a layer has 8 396 800 parameters with 16 heads and 6 299 648 with 8; the rest is embedding
        // and head.
        ["ViT"] = new(46_233_576, [2, 3, 128, 64], [2, 1000], "to_patch_embedding.3.bias", "pos_embedding", "transformer.norm.weight",
            "transformer.layers.4.0.to_qkv.weight", "transformer.layers.4.0.to_out.0.bias", "transformer.layers.4.1.net.4.weight",
            "mlp_head.weight"),
        ["ViT3D"] = new(33_708_132, [2, 3, 4, 64, 32], [2, 100], "to_patch_embedding.2.weight", "cls_token",
            "transformer.layers.0.1.net.0.weight", "mlp_head.1.bias"),
        // torchvision: efficientnet_b0 has 5 288 548. The published experiments: 5.29, 10.22, 19.19 M
        ["EfficientNetB0"] = new(5_288_548, [2, 3, 64, 64], [2, 1000], "features.0.1.running_mean", "features.1.0.block.1.fc1.weight",
            "features.2.1.block.3.1.weight", "features.6.3.block.2.fc2.bias", "features.8.0.weight", "classifier.1.weight"),
        ["EfficientNetB4"] = new(10_222_984, [2, 3, 64, 64], [2, 1000], "features.6.7.block.0.0.weight"),
        ["EfficientNetB8"] = new(19_192_432, [2, 3, 64, 64], [2, 1000], "features.6.14.block.0.0.weight"),
        // torchvision: mobilenet_v2 has 3 504 872, of which 1 693 160 come after stage 7; pyramid 2 706 432, decoder 707 573
        ["DeepLabV3Plus"] = new(5_225_717, [2, 3, 64, 64], [2, 21, 64, 64], "backbone.low_level_features.1.conv.0.0.weight",
            "backbone.low_level_features.3.conv.2.weight", "backbone.high_level_features.4.conv.3.bias",
            "backbone.high_level_features.17.conv.1.1.running_var", "classifier.project.0.weight", "classifier.aspp.convs.3.0.weight",
            "classifier.aspp.convs.4.1.weight", "classifier.aspp.project.1.bias", "classifier.classifier.3.bias"),
        // Lim et al. 2017: 43 M. 7 168 head, 38 355 200 body, 4 727 555 tail
        ["EDSR"] = new(
            43_089_923, [1, 3, 8, 8], [1, 3, 32, 32], "sub_mean.weight", "head.0.bias", "body.31.body.2.weight", "body.32.weight",
            "tail.0.2.weight", "tail.1.bias", "add_mean.bias"),
    };

    public static TheoryData<string> Names => [.. Networks.All.Select(network => network.Name)];

    // One test covers all networks, because the largest take a second to make.
    [Theory, MemberData(nameof(Names))]
    public void A_network_is_the_published_one_and_disposes_as_it_goes(string name)
    {
        using var everything = NewDisposeScope();
        var (network, expected) = (Networks.Find(name), known[name]);
        using var model = network.Create();
        ParametersAreThePublishedOnes(model, expected);
        BlocksAreDistinctPartsOf(model, network);

        var x = randn(expected.Input);
        Assert.Equal(network.Input.Length + 1, x.dim());
        var plain = Step(model, x, loss => loss.backward());
        Assert.Equal(expected.Output, plain.shape);
        Assert.All(
            model.named_parameters(), named => Assert.True(named.parameter.grad is not null || !named.parameter.requires_grad, named.name));
        var (_, tensors) = Allocated.Level();
        Step(model, x, loss => loss.backward()).Dispose();
        Assert.Equal(tensors, Tensor.TotalCount);

        var keys = model.state_dict().Keys.ToArray();
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var compressed = Step(model, x, compression.Backward);
        Assert.True(plain.bytes.SequenceEqual(compressed.bytes), "Compression changed the output.");
        Assert.Equal(keys, model.state_dict().Keys);
        NothingIsAliveElsewhere(compression.Report());
    }

    [Theory, MemberData(nameof(Names))]
    public void Blocks_as_checkpoints_give_the_plain_step_bit_for_bit(string name)
    {
        using var everything = NewDisposeScope();
        var (network, input) = (Networks.Find(name), known[name].Input);
        using var model = network.Create();
        var x = randn(input);
        var before = model.buffers().Select(buffer => buffer.clone()).ToArray();
        var plain = StepFrom(before, model, x, SavedTensors.Backward);

        using (Checkpoint.Blocks(model, network.BlocksUpTo(network.Blocks.Count - 1)))
        {
            Assert.Equal(plain, StepFrom(before, model, x, SavedTensors.Backward));
            var (_, tensors) = Allocated.Level();
            Step(model, x, SavedTensors.Backward).Dispose();
            Assert.Equal(tensors, Tensor.TotalCount);

            using var compression =
                model.CompressActivations(options => options.Default(ActivationCodec.Parse("st:1,storage=paper")).AdaptToLayers(false));
            Assert.Equal(plain, StepFrom(before, model, x, compression.Backward));
            Assert.Equal(0, compression.LiveBytes);
            Assert.Empty(compression.Report().Notes);
        }
        Assert.Equal(plain, StepFrom(before, model, x, SavedTensors.Backward));
    }

    // As in 16-bit training, parameters, maps and gradients are bfloat16.
    [Theory, MemberData(nameof(Names))]
    public void A_network_trains_in_16_bits_and_its_maps_are_compressed(string name)
    {
        using var everything = NewDisposeScope();
        var (network, input) = (Networks.Find(name), known[name].Input);
        using var model = network.Create().to(ScalarType.BFloat16);
        var x = randn(input).to(ScalarType.BFloat16);
        var plain = Step(model, x, loss => loss.backward());
        Assert.All(model.parameters(), parameter => Assert.Equal(ScalarType.BFloat16, parameter.dtype));
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        Assert.True(plain.Equals(Step(model, x, compression.Backward)));
        NothingIsAliveElsewhere(compression.Report());
    }

    // Returns the bits of all results of a step: its output, gradients and buffers.
    static List<string> StepFrom(Tensor[] buffers, Module<Tensor, Tensor> model, Tensor x, Action<Tensor> backward)
    {
        using (no_grad())
            foreach (var (buffer, value) in model.buffers().Zip(buffers)) buffer.copy_(value);
        model.zero_grad();
        using var y = Step(model, x, backward);
        return [
            Bits("output", y),
            .. model.named_parameters().Where(named => named.parameter.grad is not null)
                .Select(named => Bits(named.name, named.parameter.grad!)),
            .. model.named_buffers().Select(named => Bits(named.name, named.buffer))];

        static string Bits(string name, Tensor values)
        {
            using var contiguous = values.detach().contiguous();
            return $"{name} {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(contiguous.bytes))}";
        }
    }

    static void ParametersAreThePublishedOnes(Module model, Known expected)
    {
        Assert.Equal(
            expected.Parameters,
            model.parameters().Where(parameter => parameter.requires_grad).Sum(parameter => parameter.NumberOfElements));
        var keys = model.state_dict().Keys;
        Assert.All(expected.Keys, key => Assert.Contains(key, keys));
    }

    static void BlocksAreDistinctPartsOf(Module model, Network network)
    {
        var layers = model.named_modules().Select(named => new Layer(named.name, named.module)).ToArray();
        Assert.All(network.BlocksUpTo(network.Blocks.Count - 1), name => Assert.Contains(layers, layer => layer.Name == name));
        Assert.All(layers, layer => Assert.InRange(network.Blocks.Count(block => block.Any(layer.Matches)), 0, 1));
    }

    // Returns the output, from the same random state each time.
    static Tensor Step(Module<Tensor, Tensor> model, Tensor x, Action<Tensor> backward)
    {
        manual_seed(1);
        var y = model.call(x);
        using var loss = y.sum();
        backward(loss);
        return y;
    }

    static void NothingIsAliveElsewhere(CompressionReport report)
    {
        Assert.True(report.KeptBytes < report.SavedBytes / 2, report.ToString());
        Assert.True(
            report.AliveElsewhereBytes == 0, $"{string.Join(", ", report.Layers.Where(layer => layer.AliveElsewhereBytes > 0))}\n{report}");
        Assert.Equal(0, report.LiveBytes);
        // the input is noise, and the networks are fresh
        Assert.DoesNotContain(report.Notes, note => !note.StartsWith("The gradient of this step is likely far", StringComparison.Ordinal));
    }

    [Fact]
    public void A_network_is_found_in_any_case_and_an_unknown_one_lists_all()
    {
        Assert.Equal("ResNet18", Networks.Find("resnet18").Name);
        Assert.Equal(["conv1", "bn1", "relu", "layer1"], Networks.Find("ResNet18").BlocksUpTo(1));
        Assert.Contains(
            "block0 to block4", Assert.Throws<ArgumentOutOfRangeException>(() => Networks.Find("ResNet18").BlocksUpTo(5)).Message);
        var unknown = Assert.Throws<ArgumentException>(() => Networks.Find("ResNet19"));
        Assert.All(Networks.All, network => Assert.Contains(network.Name, unknown.Message));
    }

    // einops in vit-pytorch: 'b c (h p1) (w p2) -> b (h w) (p1 p2 c)' and 'b c (f pf) (h p1) (w p2) -> b (f h w) (p1 p2 pf c)'.
    [Fact]
    public void A_patchs_values_are_in_the_order_of_vit_pytorch()
    {
        using var everything = NewDisposeScope();
        using var vit = new ViT();
        using var image = randn(1, 3, 64, 96);
        var patches = Patches(vit).call(image);
        Assert.Equal([1, 6, 32 * 32 * 3], patches.shape);
        Assert.Equal(image[0, 2, 32 + 5, 64 + 7].item<float>(), patches[0, 1 * 3 + 2, (5 * 32 + 7) * 3 + 2].item<float>());

        using var vit3D = new ViT3D();
        using var video = randn([1, 3, 4, 32, 48]);
        patches = Patches(vit3D).call(video);
        Assert.Equal([1, 12, 16 * 16 * 2 * 3], patches.shape);
        Assert.Equal(
            video[0, 1, 2 + 1, 16 + 5, 32 + 7].item<float>(),
            patches[0, (1 * 2 + 1) * 3 + 2, ((5 * 16 + 7) * 2 + 1) * 3 + 1].item<float>());
    }

    static Module<Tensor, Tensor> Patches(Module vit) =>
        (Module<Tensor, Tensor>)vit.named_modules().Single(named => named.name == "to_patch_embedding.0").module;
}
