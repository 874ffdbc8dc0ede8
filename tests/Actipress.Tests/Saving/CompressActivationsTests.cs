using Actipress.Saving;
using Actipress.Selection;
using Actipress.Tests.Autograd;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Saving;

/// <summary>Models whose maps are compressed keep their gradients and report their bytes. The class is one list of scenarios.</summary>
public class CompressActivationsTests
{
    // The codec stores every value as it is, so that a difference is the policy's fault.
    static readonly ActivationCodec Exact = ActivationCodec.Parse("st:1,storage=paper");

    public static TheoryData<ForwardPass> Passes => [.. ForwardPass.All];

    [Theory, MemberData(nameof(Passes))]
    public void An_exact_codec_leaves_every_gradient_as_it_is(ForwardPass pass) =>
        // values are stored as float32
        Assert.Equal(
            pass.Gradients(), pass.Gradients(() => SavedTensors.Compress(Exact, handsOutOriginals: false)),
            Near(pass.Name == "float64" ? 1e-6f : 0));

    static Func<float[], float[], bool> Near(float tolerance) => (a, b) =>
    {
        var allowed = tolerance * a.Max(Math.Abs);
        return a.Length == b.Length && a.Zip(b).All(pair => Math.Abs(pair.First - pair.Second) <= allowed);
    };

    public static IEnumerable<ITheoryDataRow> ExactTransforms =>
        from pass in ForwardPass.All
        where pass.Name is not ("float16" or "bfloat16")    // these passes round more coarsely
        from codec in (string[])["dct:1,values=float32", "wt:db3:1,values=float32"]
        select new TheoryDataRow<ForwardPass, string>(pass, codec);

    [Theory, MemberData(nameof(ExactTransforms))]
    public void A_transform_that_keeps_everything_gives_the_plain_gradients(ForwardPass pass, string codec)
    {
        var (plain, compressed) = (pass.Gradients(), pass.Gradients(() =>
            SavedTensors.Compress(ActivationCodec.Parse(codec) with { EvenIfLarger = true }, handsOutOriginals: false)));
        double difference = 0, norm = 0;
        foreach (var (a, b) in plain.Zip(compressed))
            for (var i = 0; i < a.Length; i++)
            {
                difference += Math.Pow(a[i] - (double)b[i], 2);
                norm += Math.Pow(a[i], 2);
            }
        Assert.True(Math.Sqrt(difference / norm) <= 1e-5, $"{pass}: relative difference {Math.Sqrt(difference / norm)}");
    }

    /// <summary>Layers whose backward passes get bits, shapes or shared maps in place of the saved maps.</summary>
    public static TheoryData<string> LayerStacks => [.. stacks.Keys];

    static readonly Dictionary<string, Func<Module<Tensor, Tensor>>> stacks = new()
    {
        ["conv, batch norm, relu, max pool"] =
            () => Sequential(Conv2d(3, 8, 3, padding: 1), BatchNorm2d(8), ReLU(), MaxPool2d(2), Conv2d(8, 8, 3, padding: 1), ReLU()),
        ["in-place relu"] = () => Sequential(Conv2d(3, 8, 3, padding: 1), BatchNorm2d(8), ReLU(inplace: true), Conv2d(8, 8, 3, padding: 1)),
        ["leaky relu"] =
            () => Sequential(Conv2d(3, 8, 3, padding: 1), LeakyReLU(0.1), Conv2d(8, 8, 3, padding: 1), LeakyReLU(0.2, inplace: true)),
        ["relu6"] = () => Sequential(Conv2d(3, 8, 3, padding: 1), new Scale(20), ReLU6(), Conv2d(8, 8, 3, padding: 1)),
        ["in-place relu6"] =
            () => Sequential(Conv2d(3, 8, 3, padding: 1), new Scale(20), ReLU6(inplace: true), Conv2d(8, 8, 3, padding: 1), ReLU()),
        ["average pools"] =
            () => Sequential(Conv2d(3, 8, 3, padding: 1), AvgPool2d(2), GELU(), AdaptiveAvgPool2d(3), Flatten(), Linear(72, 4)),
        ["padded max pool with overlap"] =
            () => Sequential(Conv2d(3, 8, 3, padding: 1), MaxPool2d(3, stride: 2, padding: 1), AdaptiveMaxPool2d([5, 5]), Conv2d(8, 4, 3)),
        ["dropout"] = () => Sequential(Conv2d(3, 8, 3, padding: 1), Dropout(0.4), ReLU(), Flatten(), Linear(8 * 24 * 24, 8)),
        ["layer norm"] = () => Sequential(Conv2d(3, 8, 3, padding: 1), LayerNorm([24, 24])),
        ["silu"] = () => Sequential(Conv2d(3, 8, 3, padding: 1), SiLU(), Conv2d(8, 8, 1)),
        ["channels last"] =
            () => Sequential(new ChannelsLast(), Conv2d(3, 8, 3, padding: 1), ReLU(), MaxPool2d(2), Conv2d(8, 8, 3, padding: 1)),
        ["max of a relu's sign and its values elsewhere"] = () => new Branches(),
    };

    [Theory, MemberData(nameof(LayerStacks))]
    public void Known_layers_get_less_and_the_same_gradients(string stack)
    {
        var plain = Gradients(stacks[stack], null, out _);
        var compressed = Gradients(stacks[stack], Lossless, out var report);
        Assert.True(report.KeptBytes <= report.SavedBytes, report.ToString());
        Assert.Equal(0, report.LiveBytes);
        Assert.Equal(plain, compressed);
    }

    [Theory, MemberData(nameof(LayerStacks))]
    public void The_exact_codec_gives_the_plain_gradients_bit_for_bit_through_the_hooks(string stack)
    {
        var plain = Gradients(stacks[stack], null, out _);
        var exact = Gradients(stacks[stack], ActivationCodec.Exact, out var report);
        Assert.Contains(report.Layers, layer => layer.KeptAs.Contains("exact", StringComparison.Ordinal) || layer.AliveElsewhereBytes > 0);
        Assert.Equal(0, report.LiveBytes);
        Assert.Equal(plain, exact);
    }

    static List<float[]> Gradients(Func<Module<Tensor, Tensor>> make, ActivationCodec? codec, out CompressionReport report)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(3);
        using var model = make();
        model.train();
        using var compression = codec is null ? null : model.CompressActivations(codec);
        var x = randn(4, 3, 24, 24);
        random.manual_seed(4);
        using var loss = model.call(x).square().mean();
        if (compression is null) loss.backward();
        else compression.Backward(loss);
        report = compression?.Report()!;
        return [.. model.parameters().Select(p => p.grad!.contiguous().data<float>().ToArray())];
    }

    // All values except zeros are float32, beside a bitmap.
    static readonly ActivationCodec Lossless = ActivationCodec.Parse("st:1,values=float32") with { Keep = new Keep.Above(0) };

    sealed class Scale(double factor) : Module<Tensor, Tensor>(nameof(Scale))
    {
        public override Tensor forward(Tensor x) => x * factor;
    }

    sealed class ChannelsLast() : Module<Tensor, Tensor>(nameof(ChannelsLast))
    {
        public override Tensor forward(Tensor x) => x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
    }

    sealed class Branches : Module<Tensor, Tensor>
    {
        readonly Conv2d first = Conv2d(3, 8, 3, padding: 1), second = Conv2d(8, 8, 3, padding: 1);
        readonly LeakyReLU leaky = LeakyReLU(0.3);
        readonly ReLU relu = ReLU();
        public Branches() : base(nameof(Branches)) => RegisterComponents();
        public override Tensor forward(Tensor x)
        {
            var y = first.call(x);
            return leaky.call(y) + second.call(y) + relu.call(y).transpose(2, 3).sigmoid() * relu.call(y);
        }
    }

    [Fact]
    public void A_map_that_two_layers_save_is_held_once()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), Tanh(), Conv2d(8, 8, 3, padding: 1));
        using var compression = model.CompressActivations(Exact);
        model.call(randn(2, 1, 32, 32)).sum().backward();
        var report = compression.Report();
        var tanh = Assert.Single(report.Layers, layer => layer.Type == "Tanh");
        var conv = Assert.Single(report.Layers, layer => layer.Name == "2");
        Assert.Equal((1, 0), (tanh.Maps, tanh.SharedMaps));
        Assert.Equal((0, 1), (conv.Maps, conv.SharedMaps));
        Assert.Equal(2 * 8 * 32 * 32 * 4, report.SavedBytes);
    }

    [Fact]
    public void A_new_tensor_at_an_old_address_is_another_map()
    {
        using var everything = NewDisposeScope();
        var weight = ones(64, 64, requires_grad: true);
        using (SavedTensors.Compress(Exact, handsOutOriginals: false))
        {
            // Each product is freed as soon as it has been saved, and malloc gives its address to the next one.
            var total = zeros(1);
            for (var i = 1; i <= 20; i++)
                using (NewDisposeScope())
                {
                    var map = weight * i;
                    total = (total + map.square().sum()).MoveToOuterDisposeScope();
                }
            total.backward();
        }
        var expected = Enumerable.Range(1, 20).Sum(i => 2f * i * i);
        Assert.Equal(expected, weight.grad!.max().item<float>());
        Assert.Equal(expected, weight.grad!.min().item<float>());
    }

    [Fact]
    public void A_map_changed_in_place_is_another_map()
    {
        using var everything = NewDisposeScope();
        var weight = ones(64, 64, requires_grad: true);
        using (SavedTensors.Compress(Exact, handsOutOriginals: false))
        {
            var map = weight * 2;
            var squares = map.square().sum();
            map.add_(1);
            (squares + map.pow(3).sum()).backward();
        }
        Assert.Equal(2 * 2 * 2 + 3 * 9 * 2, weight.grad!.max().item<float>());    // d/dw (2w)^2 + (2w + 1)^3
    }

    [Fact]
    public void A_raw_map_changed_in_place_makes_backward_throw()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 4, 3, padding: 1), Tanh());
        using var compression = model.CompressActivations(options => options.Default(ActivationCodec.None));
        var y = model.call(randn(1, 1, 32, 32));
        using (no_grad()) y.add_(1);
        var failure = Assert.Throws<CompressionException>(() => compression.Backward(y.sum()));
        Assert.Contains("changed in place", failure.Message, StringComparison.Ordinal);
        Assert.Contains("1 (Tanh)", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_failed_rebuild_tells_its_cause_under_a_plain_backward_too()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 4, 3, padding: 1), Tanh(), Conv2d(4, 4, 3));
        using var optimizer = torch.optim.SGD(model.parameters(), 0.1);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        model.call(randn(1, 1, 64, 64)).sum().backward();
        var loss = model.call(randn(1, 1, 64, 64)).sum();
        optimizer.step();
        var failure = Assert.ThrowsAny<System.Runtime.InteropServices.ExternalException>(() => loss.backward());
        Assert.Contains("A weight of 2 (Conv2d) of shape (4, 4, 3, 3)", failure.Message, StringComparison.Ordinal);
        Assert.Contains("optimizer.step()", failure.Message, StringComparison.Ordinal);
        Assert.IsType<InvalidOperationException>(failure.InnerException);
        Assert.Contains(compression.Report().Notes, note => note.Contains("optimizer.step()", StringComparison.Ordinal));
        model.call(randn(1, 1, 64, 64)).sum().backward();
        Assert.DoesNotContain(
            "optimizer.step()", Assert.ThrowsAny<System.Runtime.InteropServices.ExternalException>(() => zeros(2).add(zeros(3))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Two_compressions_of_one_model_are_refused()
    {
        using var body = Sequential(Conv2d(1, 8, 3));
        using var model = Sequential(("body", body), ("head", Linear(4, 4)));
        using (var first = body.CompressActivations(Exact))
        {
            var failure = Assert.Throws<InvalidOperationException>(() => model.CompressActivations(Exact));
            Assert.Contains("body (Sequential)", failure.Message, StringComparison.Ordinal);
        }
        using var second = model.CompressActivations(Exact);
        Assert.Throws<InvalidOperationException>(() => body.CompressActivations(Exact));
    }

    [Fact]
    public void What_is_not_known_stays_exact_and_is_named_until_the_user_says_what_it_needs()
    {
        Assert.Contains(
            "aten::special_bessel",
            Assert.Throws<ArgumentException>(() => new CompressionOptions().Operation("aten::special_besel_j0", SavedNeed.Smooth)).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "aten::relu", Assert.Throws<ArgumentException>(() => new CompressionOptions().Operation("relu", SavedNeed.Sign)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() =>
            new CompressionOptions().Operation("aten::renorm", SavedNeed.Smooth).Operation("aten::renorm_", SavedNeed.Exact));
        Assert.Equal(("exact for aten::log1p", 0), KeptAs(options => options));
        Assert.Equal(("bf16", 0), KeptAs(options => options.Operation("aten::log1p", SavedNeed.Steep)));

        static (string, int) KeptAs(Func<CompressionOptions, CompressionOptions> more)
        {
            using var everything = NewDisposeScope();
            using var model = Sequential(Conv2d(1, 8, 3, padding: 1), new Log1p(), Conv2d(8, 8, 3));
            using var compression = model.CompressActivations(options => more(options.Default(ActivationCodec.Dct(10))));
            model.call(rand(2, 1, 32, 32)).sum();
            var line = Assert.Single(compression.Report().Layers, layer => layer.Name == "1");
            return (
                line.KeptAs.Split(", ")[0],
                compression.Report().Notes.Count(note => note.Contains("not in the table", StringComparison.Ordinal)));
        }
    }

    sealed class Log1p() : Module<Tensor, Tensor>(nameof(Log1p))
    {
        public override Tensor forward(Tensor x)
        {
            using var squares = x * x;
            return squares.log1p();
        }
    }

    [Fact]
    public void A_rule_that_met_nothing_and_an_event_for_each_thing_to_know()
    {
        using var everything = NewDisposeScope();
        using var model = new Keeping();
        using var compression = model.CompressActivations(options => options
            .Default(ActivationCodec.Dct(10)).Where("second", ActivationCodec.Dct(4))
            .Where(layer => layer.Is<BatchNorm2d>(), ActivationCodec.None));
        var told = new List<string>();
        compression.Noted += told.Add;
        for (var step = 0; step < 3; step++) model.call(randn(2, 1, 32, 32)).sum().backward();
        Assert.Single(told, note => note.Contains("Rule 2", StringComparison.Ordinal));
        Assert.Single(told, note => note.Contains("alive when the backward pass began", StringComparison.Ordinal));
        Assert.Single(told, note => note.Contains("CompressActivationsTests.cs:", StringComparison.Ordinal));
        Assert.Contains(compression.Report().Notes, note => note.Contains("after first by aten::tanh", StringComparison.Ordinal));
    }

    sealed class Keeping : Module<Tensor, Tensor>
    {
        readonly Conv2d first = Conv2d(1, 8, 3, padding: 1), second = Conv2d(8, 8, 3, padding: 1);
        public Keeping() : base(nameof(Keeping)) => RegisterComponents();
        public override Tensor forward(Tensor x) => second.call(first.call(x).tanh());
    }

    [Fact]
    public void Not_a_number_stays_where_it_is_and_is_counted()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 4, 1), Tanh(), Conv2d(4, 4, 1));
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var x = randn(1, 1, 64, 64);
        x[0, 0, 5, 5] = float.NaN;
        var y = model.call(x);
        y[TensorIndex.Ellipsis, ..32].sum().backward();
        var tanh = Assert.Single(compression.Report().Layers, layer => layer.Type == "Tanh");
        Assert.Equal(1, tanh.NotFinite);
        Assert.Equal(tanh.SavedBytes, tanh.KeptBytes);
    }

    [Fact]
    public void Smooth_tokens_go_through_the_codec_and_what_has_no_neighbours_through_8_bits()
    {
        random.manual_seed(5);    // for noise a sample may choose slightly fewer bytes
        Assert.Equal("dct:10", KeptAs(Linear(64, 64), Smooth(4, 40, 64)));
        Assert.Equal("dct:4", KeptAs(Linear(64, 64), Smooth(4, 40, 64) + 0.18 * randn(4, 40, 64)));
        Assert.Equal("quant:8", KeptAs(Linear(64, 64), randn(4, 40, 64)));
        Assert.Equal("quant:8", KeptAs(Linear(64, 64), Smooth(1, 160, 64)[0]));
        Assert.Equal("quant:8", KeptAs(Sequential(Flatten(), Linear(640, 8)), Smooth(40, 10, 64)));
        Assert.Equal("quant:8", KeptAs(Conv2d(64, 64, 1), randn(40, 64, 1, 1)));
        Assert.Equal("quant:8", KeptAs(Conv2d(8, 8, 3), randn(16, 8, 64, 64)));
        Assert.Equal("dct:10", KeptAs(Conv2d(8, 8, 3), functional.conv2d(randn(4, 8, 64, 64), ones(8, 8, 3, 3))));
        Assert.Equal("dct:10", KeptAs(LayerNorm(64), Smooth(4, 40, 64)));
        Assert.Equal("bf16", KeptAs(LayerNorm(64), Smooth(4, 40, 64) * linspace(-4, 4, 40).exp().unsqueeze(-1)));
        Assert.Equal("quant:8", KeptAs(Sequential(Flatten(), Linear(64, 8)), Smooth(40, 1, 64)));

        static Tensor Smooth(int examples, int tokens, int features) =>
            (linspace(0, 2, tokens).unsqueeze(-1) + linspace(0, 3, features) + arange(examples).view(-1, 1, 1)).sin();

        static string KeptAs(Module<Tensor, Tensor> layer, Tensor input)
        {
            using var everything = NewDisposeScope();
            using var model = Sequential(new Scale(1), layer);
            using var compression = model.CompressActivations(options => options.Default(ActivationCodec.Dct(10)));
            using var y = model.call(input.requires_grad_());
            return Assert.Single(compression.Report().Layers, one => one.SavedBytes >= input.NumberOfElements * input.ElementSize).KeptAs
                .Split(", small")[0];
        }
    }

    [Theory]
    [InlineData(10, "dct:10")]
    [InlineData(100, "dct:100,zeros=none")]
    public void Zeros_are_kept_once_and_where_a_gradient_hangs_on_them(double ratio, string ofConvolution)
    {
        using var everything = NewDisposeScope();
        const int Features = 16, Elements = 4 * Features * 64 * 64;
        using var model = Sequential(
            Conv2d(3, Features, 3, padding: 1), ReLU(), Conv2d(Features, Features, 3, padding: 1), ReLU6(inplace: true),
            Conv2d(Features, Features, 3, padding: 1), ReLU(), MaxPool2d(1), Conv2d(Features, Features, 3));
        using var compression = model.CompressActivations(options => options.Default(ActivationCodec.Dct(ratio)));
        using var y = model.call(randn(4, 3, 64, 64));
        var layers = compression.Report().Layers;
        foreach (var clipped in (string[])["1", "3"])
            Assert.InRange(Layer(clipped).KeptBytes, Elements / 8, (long)(Elements * (1 / 8.0 + 1 / 16.0 + 1 / ratio)));
        Assert.Equal(ofConvolution, Layer("7").KeptAs);

        LayerReport Layer(string name) => Assert.Single(layers, layer => layer.Name == name);
    }

    [Theory, InlineData(1023, "small"), InlineData(1024, "dct:10")]
    public void A_map_of_just_the_smallest_bytes_is_compressed(int elements, string keptAs)
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(new Scale(1), Tanh(), new Scale(1));
        using var compression = model.CompressActivations(options => options.Default(ActivationCodec.Dct(10)));
        using var y = model.call(linspace(0, 3, elements).view(1, 1, 1, -1).requires_grad_());
        var line = Assert.Single(compression.Report().Layers);
        Assert.Equal((elements * sizeof(float), keptAs), (line.SavedBytes, line.KeptAs == "small" ? "small" : "dct:10"));
        Assert.Equal(keptAs != "small", line.KeptBytes < line.SavedBytes);
    }

    [Fact]
    public void Places_that_the_caller_gave_are_his_and_those_that_pooling_found_are_packed()
    {
        using var everything = NewDisposeScope();
        var places = randint(0, 32, [2, 4, 32, 32]);
        using var model = Sequential(Conv2d(1, 4, 3, padding: 1), new Gathering(places), MaxPool2d(2));
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        using var y = model.call(randn(2, 1, 32, 32));
        // For the input of a gather and of a pooling the shape suffices.
        var layers = compression.Report().Layers;
        Assert.Equal((2 * 4 * 32 * 32 * sizeof(float), 0), (Layer("1").SavedBytes, Layer("1").KeptBytes));
        Assert.Equal("indices", Layer("2").KeptAs);
        Assert.InRange(Layer("2").KeptBytes, 1, 2 * 4 * 16 * 16 * sizeof(long) / 2);

        LayerReport Layer(string name) => Assert.Single(layers, layer => layer.Name == name);
    }

    sealed class Gathering(Tensor places) : Module<Tensor, Tensor>(nameof(Gathering))
    {
        public override Tensor forward(Tensor x) => gather(x, 3, places);
    }

    // A scale of each channel that is broadcast over 64 places or more is a convolution of one point, and bears the error of a
    // convolution's input.
    [Theory, InlineData(8, 8, true), InlineData(9, 7, false), InlineData(16, 16, true)]
    public void A_map_that_is_scaled_by_channels_bears_more_from_64_places_on(int height, int width, bool isSpread)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(5);
        using var model = Sequential(new Scale(1), new ScaleOfChannels());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var waves = (linspace(0, 2, height).view(height, 1) + linspace(0, 3, width) + arange(64).view(1, 64, 1, 1)).sin();
        using var y = model.call((waves + tensor(0.3f) * randn(1, 64, height, width)).requires_grad_());
        var map = Assert.Single(compression.Report().Layers, layer => layer.SavedBytes >= 64 * height * width * sizeof(float));
        Assert.Equal(isSpread, map.KeptAs.StartsWith("dct:10", StringComparison.Ordinal));
    }

    sealed class ScaleOfChannels : Module<Tensor, Tensor>
    {
        readonly Parameter weight = new(ones(1, 64, 1, 1));
        public ScaleOfChannels() : base(nameof(ScaleOfChannels)) => RegisterComponents();
        public override Tensor forward(Tensor x) => x * (weight * weight);
    }

    [Fact]
    public void Rules_choose_by_type_name_and_block()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(
            ("body", Sequential(Conv2d(1, 8, 3, padding: 1), Tanh())), ("head", Sequential(Conv2d(8, 8, 3, padding: 1), Sigmoid())));
        using var compression = model.CompressActivations(options => options
            .Default(ActivationCodec.Parse("st:10"))
            .Where(layer => layer.Is<Tanh>(), ActivationCodec.Parse("quant:4"))
            .Operation("aten::tanh", SavedNeed.Smooth)
            .Except("head.1"));
        model.call(randn(2, 1, 32, 32)).sum().backward();
        var layers = compression.Report().Layers.ToDictionary(layer => layer.Name);
        Assert.Equal("quant:4", layers["body.1"].KeptAs);
        Assert.Equal("rule", layers["head.1"].KeptAs);
        Assert.Equal(layers["head.1"].SavedBytes, layers["head.1"].KeptBytes);
    }

    [Fact]
    public void A_pattern_without_a_layer_is_refused_and_the_layers_are_listed()
    {
        using var model = Sequential(("body", Linear(4, 4)), ("head", Linear(4, 4)));
        var failure = Assert.Throws<ArgumentException>(() => model.CompressActivations(options => options.Except("haed")));
        Assert.Contains("'haed'", failure.Message, StringComparison.Ordinal);
        Assert.Contains("body, head", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void After_disposal_nothing_is_seen()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), Tanh());
        using (var compression = model.CompressActivations(Exact)) Assert.Empty(compression.Report().Layers);
        model.call(randn(2, 1, 32, 32)).sum().backward();
    }

    [Fact]
    public void A_forward_pass_that_throws_leaves_nothing_behind()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), Tanh(), Linear(7, 3));
        using var compression = model.CompressActivations(Exact);
        Assert.ThrowsAny<Exception>(() => model.call(randn(2, 1, 32, 32)));
        Assert.ThrowsAny<Exception>(() => model.call(randn(2, 1, 32, 32)));
        using (SavedTensors.Hook(x => x, x => (Tensor)x!)) { }
        Assert.DoesNotContain(compression.Report().Layers, layer => layer.Name.Contains("no layer", StringComparison.Ordinal));
    }

    [Fact]
    public void Under_forward_layers_are_known_by_their_parameters_and_a_loss_passes_as_it_is()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), Tanh(), Conv2d(8, 8, 3, padding: 1));
        using var compression =
            model.CompressActivations(options => options.Default(ActivationCodec.Half).Where("2", ActivationCodec.BFloat16));
        for (var step = 0; step < 2; step++)
        {
            // The network is (conv, tanh, conv) with a loss of the same kind of operation, and nothing is run by call.
            using var disposed = NewDisposeScope();
            using var squashed = Squashed(randn(2, 1, 32, 32));
            var y = ((Conv2d)model[2]).forward(squashed);
            squashed.Dispose();
            var loss = functional.tanh(y).mul(y).sum();
            var line = Assert.Single(compression.Report().Layers, layer => layer.SavedBytes > 0);
            Assert.Equal(("1", "Tanh", 1, HeldSaturating.How), (line.Name, line.Type, line.Maps, line.KeptAs));
            loss.backward();
        }

        Tensor Squashed(Tensor x)
        {
            using var features = ((Conv2d)model[0]).forward(x);
            return functional.tanh(features);
        }
    }

    [Fact]
    public void Another_model_on_the_same_thread_is_left_alone()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), Tanh(), Conv2d(8, 8, 3, padding: 1));
        using var other = Sequential(Conv2d(1, 8, 3, padding: 1), Tanh(), Conv2d(8, 8, 3, padding: 1));
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var x = randn(2, 1, 32, 32);
        other.call(x).sum().backward();
        other.forward(x).sum().backward();
        Assert.Empty(compression.Report().Layers);
        ((Conv2d)model[2]).forward(((Conv2d)model[0]).forward(x).tanh()).sum().backward();
        Assert.NotEmpty(compression.Report().Layers);
        model.call(x).sum().backward();
        other.call(x).sum().backward();
        Assert.DoesNotContain(compression.Report().Layers, layer => layer.Name.Contains("no layer", StringComparison.Ordinal));
    }

    [Fact]
    public void Fidelity_of_an_exact_codec_is_one_and_everything_is_left_as_it_was()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(1, 8, 3, padding: 1), BatchNorm2d(8), ReLU(), Dropout(0.5), Flatten(), Linear(8 * 32 * 32, 3));
        using var compression = model.CompressActivations(options => options.Default(Exact).AdaptToLayers(false));
        var x = randn(2, 1, 32, 32);
        model.call(x).sum().backward();
        var gradient = model.parameters().First().grad!.data<float>().ToArray();
        var mean = model.buffers().First().clone();
        var fidelity = compression.MeasureFidelity(() => model.call(x).square().mean());
        Assert.Equal(1, fidelity.Cosine, 12);
        Assert.Equal(1, fidelity.NormRatio, 12);
        Assert.Equal(model.parameters().Count(), fidelity.Parameters.Count);
        Assert.Equal(gradient, model.parameters().First().grad!.data<float>().ToArray());
        Assert.True(mean.Equals(model.buffers().First()));
        Assert.True(compression.MeasureFidelity(() => model.call(x).square().mean()).Cosine > 0.999, "twice");
    }
}
