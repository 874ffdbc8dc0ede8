using System.Globalization;
using Actipress.Autograd;
using Actipress.Models;
using Actipress.Saving;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>Compression of users' networks.</summary>
public sealed class ClientModelsTests : IDisposable
{
    const int Steps = 10, Batches = 8;

    // On maps as small as these, threads cost more than they gain, and one thread sums in one order.
    readonly int threads = get_num_threads();
    public ClientModelsTests() => set_num_threads(1);
    public void Dispose() => set_num_threads(threads);

    public static IEnumerable<ITheoryDataRow> Clients =>
        ClientModels.All.SelectMany(client => (TheoryDataRow<string, bool>[])[new(client.Name, true), new(client.Name, false)]);

    static void Train(ClientRun run, int steps)
    {
        using var optimizer = optim.Adam(run.Model.parameters(), 2e-3);
        for (var step = 0; step < steps; step++)
        {
            using var scope = NewDisposeScope();
            optimizer.zero_grad();
            run.Loss(step).backward();
            optimizer.step();
        }
        run.Model.zero_grad();
    }

    [Theory, MemberData(nameof(Clients))]
    public void Gradients_are_near_the_plain_ones(string name, bool byCall)
    {
        using var everything = NewDisposeScope();
        var client = ClientModels.Find(name);
        random.manual_seed(1);
        var run = client.Make(new Habit(byCall, Disposes: !byCall));
        using var model = run.Model;
        using var compression = model.CompressActivations(options =>
        {
            options.Default(ActivationCodec.Dct(10));
            options.DisposeIntermediates(byCall);
        });
        var losses = Enumerable.Range(100, Batches).Select(batch => (Func<Tensor>)(() => run.Loss(batch)));
        var fresh = compression.MeasureFidelity(losses);
        Train(run, Steps);
        var trained = compression.MeasureFidelity(losses);
        var report = compression.Report();
        var numbers = string.Create(CultureInfo.InvariantCulture, $"{name} by {(byCall ? "call" : "forward")}: fresh {fresh.Cosine:0.0000} "
            + $"x {fresh.NormRatio:0.00}, trained {trained.Cosine:0.0000} x {trained.NormRatio:0.000}, bias {trained.Bias:0.000}, noise "
            + $"{trained.Noise:0.000}; {report.SavedBytes >> 10} KiB saved, {report.KeptBytes >> 10} kept, "
            + $"{report.AliveElsewhereBytes >> 10} alive elsewhere");
        TestContext.Current.TestOutputHelper!.WriteLine(numbers);
        if (trained.Cosine < client.Cosine) numbers += $"\n{report}\n{string.Join("\n", trained.Worst(8))}";
        Assert.True(trained.Cosine >= client.Cosine, numbers);
        Assert.All([fresh, trained], fidelity => Assert.True(fidelity.NormRatio is > 0.5 and < 2, numbers));
    }

    [Theory]
    [InlineData("SiLU detector")]
    [InlineData("VGG")]
    [InlineData("graph network")]
    [InlineData("attention written out")]
    public void A_fresh_network_keeps_a_cosine_on_other_batches(string name)
    {
        const double Target = 0.98;
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        var run = ClientModels.Find(name).Make(new Habit(ByCall: true, Disposes: false));
        using var model = run.Model;
        using var compression = model.CompressActivations(options =>
        {
            options.KeepFidelity(Target);
            options.DisposeIntermediates();
        });
        for (var step = 0; compression.Fidelity!.IsMeasuring; step++)
        {
            using var scope = NewDisposeScope();
            compression.Backward(run.Loss(step));
            model.zero_grad();
        }
        var fidelity = compression.MeasureFidelity(Enumerable.Range(100, Batches).Select(batch => (Func<Tensor>)(() => run.Loss(batch))));
        var report = compression.Report();
        var numbers = string.Create(CultureInfo.InvariantCulture, $"{name}: {compression.Fidelity}; on {Batches} others "
            + $"{fidelity.Batches.Min(batch => batch.Cosine):0.0000} at least, {fidelity.Cosine:0.0000} on average, bias "
            + $"{fidelity.Bias:0.000}; {report.SavedBytes >> 10} KiB saved, {report.KeptBytes >> 10} kept");
        TestContext.Current.TestOutputHelper!.WriteLine(numbers);
        Assert.True(fidelity.Batches.All(batch => batch.Cosine >= Target), numbers);
        // most of these bytes are the caller's adjacency matrix
        if (name != "graph network") Assert.True(report.KeptBytes < report.SavedBytes * 0.6, numbers);
    }

    static readonly ActivationCodec Eight = ActivationCodec.Parse("quant:8"), Four = ActivationCodec.Dct(4);

    static readonly Dictionary<string, (string Client, Action<CompressionOptions> Configure)> rules = new()
    {
        ["residual network, by name"] =
            ("residual network", options => options.Where("layer1", Four).Where("layer2.*.conv?", Eight).Except("layer2.0.relu1")),
        ["residual network, by type"] = ("residual network", options =>
            options.Where(layer => layer.Is<BatchNorm2d>(), Eight).Where(layer => layer.Is<ReLU>(), ActivationCodec.None)),
        ["residual network, by block"] = ("residual network", options => options.Blocks("layer1", "layer2.1")),
        ["U-Net, by name"] = ("U-Net", options => options.Where("down1", Four).Where("up?.layers.0", Eight).Except("pool")),
        ["U-Net, by type"] = ("U-Net", options =>
            options.Where(layer => layer.Is<BatchNorm2d>(), Eight).Where(layer => layer.Is<MaxPool2d>(), ActivationCodec.None)),
        ["U-Net, by block"] = ("U-Net", options => options.Blocks("down1", "bottom", "up1")),
        ["transformer, by name"] = ("attention written out", options =>
            options.Where("block1.attention", Four).Where("block?.feedForward.0", Eight).Except("block2.norm1")),
        ["transformer, by type"] = ("attention written out", options => options.Where(layer => layer.Is<LayerNorm>(), Eight)
            .Where(layer => layer.Is<GELU>(), ActivationCodec.None).Where(layer => layer.Is<Dropout>(), ActivationCodec.None)),
        ["transformer, by block"] = ("attention written out", options => options.Blocks("block2")),
    };

    public static TheoryData<string> Rules => [.. rules.Keys];

    [Theory, MemberData(nameof(Rules))]
    public void Rules_apply_under_forward_as_under_call(string name)
    {
        var (byCall, byForward) = (Step(name, byCall: true), Step(name, byCall: false));
        for (var step = 0; step < byCall.Count; step++)
        {
            Assert.Equal(byCall[step].Loss, byForward[step].Loss);
            var (wanted, found) = (string.Join("\n", byCall[step].Layers), string.Join("\n", byForward[step].Layers));
            Assert.True(wanted == found, $"step {step}\n{wanted}\n\n{found}");
            Assert.True(
                byCall[step].Gradients.Zip(byForward[step].Gradients).All(pair => pair.First.SequenceEqual(pair.Second)),
                $"gradients of step {step}");
        }
        Assert.Contains(
            byCall[0].Layers,
            layer => layer.KeptAs.Contains("rule", StringComparison.Ordinal) || layer.KeptAs.Contains("quant:8", StringComparison.Ordinal));
    }

    // Returns three steps. The first differs, because under forward the end of the model is unknown before the model has run once.
    static List<(float Loss, IReadOnlyList<LayerReport> Layers, float[][] Gradients)> Step(string name, bool byCall)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        var run = ClientModels.Find(rules[name].Client).Make(new Habit(byCall, Disposes: true));
        using var model = run.Model;
        using var compression = model.CompressActivations(rules[name].Configure);
        List<(float, IReadOnlyList<LayerReport>, float[][])> steps = [];
        for (var step = 0; step < 3; step++)
        {
            using var scope = NewDisposeScope();
            random.manual_seed(step);
            model.zero_grad();
            var loss = run.Loss(step);
            compression.Backward(loss);
            steps.Add((
                loss.item<float>(), compression.Report().Layers,
                [.. model.parameters().Select(p => p.grad!.contiguous().data<float>().ToArray())]));
        }
        return steps;
    }

    // The inputs are small, but every layer runs. Other networks take 64 places a side, or 16 in a volume.
    static readonly Dictionary<string, long[]> inputs = new()
    {
        ["LeNet"] = [2, 1, 28, 28],
        ["ViT"] = [2, 3, 128, 64],
        ["ViT3D"] = [2, 3, 4, 64, 32],
        ["EDSR"] = [1, 3, 8, 8],
    };

    public static TheoryData<string> NetworkNames => [.. Networks.All.Select(network => network.Name)];

    [Theory, MemberData(nameof(NetworkNames))]
    public void The_order_of_registration_tells_the_layers_that_hooks_tell(string name)
    {
        using var everything = NewDisposeScope();
        var network = Networks.Find(name);
        using var model = network.Create();
        long[] shape = inputs.TryGetValue(name, out var known)
            ? known : [2, network.Input[0], .. Enumerable.Repeat(network.Input.Length > 3 ? 16L : 32, network.Input.Length - 1)];
        var layers = new ModelLayers(model);
        using var watch = new LayerWatch(layers, _ => { }, _ => { });
        var hooks = new TwoAnswers(layers, watch);
        using (SavedTensorsScope.Enter(hooks))
        using (var y = model.call(randn(shape))) { }
        TestContext.Current.TestOutputHelper!.WriteLine($"{name}: {hooks.Named} named, {hooks.After} after a layer, "
            + $"{hooks.Apart.Count} apart");
        Assert.Empty(hooks.Failures);
        Assert.True(hooks.Apart.Count == 0, string.Join("\n", hooks.Apart.Distinct()));
    }

    /// <summary>Compares the layer that the structure gives for each saved tensor with the module that runs.</summary>
    sealed class TwoAnswers(ModelLayers layers, LayerWatch watch) : SavedTensorHooks
    {
        Layer? last;

        public int Named { get; private set; }
        public int After { get; private set; }
        public List<string> Apart { get; } = [];
        public List<Exception> Failures { get; } = [];

        public override bool WatchesOperations => true;

        public override void Failed(Exception failure, bool whilePacking) => Failures.Add(failure);

        public override SavedTensor Pack(Tensor tensor)
        {
            var runs = watch.Current!;
            if (layers.OfParameter(StorageReference.AddressOf(tensor)) is { } owner)
            {
                last = owner;
                return new PassedOn(tensor);
            }
            var operation = SavedBy.Of(tensor, OperationObserver.Running, Operations.Of).Operation;
            if (SavedBy.LayerOf(OperationObserver.Running, layers) is { } withParameters)
            {
                last = withParameters;
                // A module may use the parameters of one of its layers by a function.
                if (withParameters != runs && runs.Name.Length > 0 && !withParameters.Matches(runs.Name))
                    Apart.Add($"{operation.Name}: by its parameter {withParameters}, by hooks {runs}");
                else Named++;
                return new PassedOn(tensor);
            }
            var inferred = layers.WithoutParameters(last, Operations.NamedBy(OperationObserver.Running, operation));
            if (inferred.Module is null)
            {
                // A tensor that is saved after a layer belongs to code of a module that contains other modules.
                if (layers.IsWithoutParameters(runs)) Apart.Add($"{operation.Name}: by structure {inferred}, by hooks {runs}");
                else After++;
            }
            else if (inferred != runs) Apart.Add($"{operation.Name}: by structure {inferred}, by hooks {runs}");
            else Named++;
            return new PassedOn(tensor);
        }
    }
}
