using Actipress.Autograd;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Autograd;

/// <summary>An optimizer that steps within the backward pass gives the parameters of one that steps after it.</summary>
[MeasuresMemory]
public sealed class StepInBackwardTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    public void Dispose() => scope.Dispose();

    static Sequential Model()
    {
        manual_seed(5);
        return Sequential(
            ("conv", Conv2d(3, 8, 3, padding: 1)), ("norm", BatchNorm2d(8)), ("relu", ReLU()), ("flat", Flatten()),
            ("fc", Linear(8 * 64, 10)));
    }

    static optim.Optimizer Make(string name, Module model) => name switch
    {
        "Adam" => optim.Adam(model.parameters(), 0.01),
        "SGD with momentum" => optim.SGD(model.parameters(), 0.05, momentum: 0.9),
        "AdamW of two groups" => optim.AdamW(
        [
            new AdamW.ParamGroup(model.parameters().Take(2), lr: 0.02), new AdamW.ParamGroup(model.parameters().Skip(2), lr: 0.001),
        ]),
        _ => throw new ArgumentException(name),
    };

    static void Step(Module<Tensor, Tensor> model, optim.Optimizer optimizer, ActivationCompression compression, int seed)
    {
        manual_seed(seed);
        using var everything = NewDisposeScope();
        optimizer.zero_grad();
        compression.Backward(model.call(randn(16, 3, 8, 8)).square().mean());
        optimizer.step();
    }

    static void Train(Module<Tensor, Tensor> model, string optimizer, bool inBackward)
    {
        using var steps = Make(optimizer, model);
        using var compression = model.CompressActivations(options => options.SmallestBytes(0).Default(ActivationCodec.Dct(4)));
        using var within = inBackward ? compression.StepInBackward(steps) : null;
        for (var step = 0; step < 5; step++) Step(model, steps, compression, step);
        Assert.All(model.parameters(), parameter => Assert.Equal(inBackward, parameter.grad is null));
    }

    [Theory]
    [InlineData("Adam")]
    [InlineData("SGD with momentum")]
    [InlineData("AdamW of two groups")]
    public void Parameters_are_those_of_steps_after_the_pass_to_the_bit(string optimizer)
    {
        var (after, within) = (Model(), Model());
        using var begun = after.parameters().First().clone();
        Train(after, optimizer, inBackward: false);
        Train(within, optimizer, inBackward: true);
        foreach (var (expected, found) in after.parameters().Zip(within.parameters())) Assert.True(expected.Equals(found));
        Assert.False(begun.Equals(within.parameters().First()));
    }

    [Fact]
    public void Every_group_has_its_parameters_again_and_the_learning_rate_that_a_scheduler_gives()
    {
        var model = Model();
        using var optimizer = (AdamW)Make("AdamW of two groups", model);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        using var within = compression.StepInBackward(optimizer);
        Step(model, optimizer, compression, 1);
        Assert.Equal([2, 4], optimizer.ParamGroups.Select(group => ((ParamGroup)group).Parameters.Count()));
        foreach (var group in optimizer.ParamGroups) group.LearningRate = 0;
        var before = model.parameters().Select(parameter => parameter.clone()).ToArray();
        Step(model, optimizer, compression, 2);
        // AdamW's decay is the learning rate times the parameter.
        foreach (var (expected, found) in before.Zip(model.parameters())) Assert.True(expected.Equals(found));
    }

    [Fact]
    public void A_group_that_is_added_later_is_stepped_once_by_the_caller()
    {
        var (after, within) = (Model(), Model());
        foreach (var model in (Sequential[])[after, within])
        {
            // The added layer's gradients are the first of the pass.
            using var optimizer = optim.SGD(model.parameters().SkipLast(2), 0.05, momentum: 0.9);
            using var compression = model.CompressActivations(ActivationCodec.Dct(10));
            using var steps = model == within ? compression.StepInBackward(optimizer) : null;
            optimizer.add_param_group(new SGD.ParamGroup(
                model.parameters().TakeLast(2), new SGD.Options { LearningRate = 0.05, InitialLearningRate = 0.05, momentum = 0.9 }));
            for (var step = 0; step < 3; step++) Step(model, optimizer, compression, step);
        }
        foreach (var (expected, found) in after.parameters().Zip(within.parameters())) Assert.True(expected.Equals(found));
    }

    [Fact]
    public void A_parameter_that_is_frozen_at_first_is_stepped_within_the_pass_once_it_is_not()
    {
        var model = Model();
        var frozen = model.parameters().First();
        frozen.requires_grad = false;
        using var optimizer = optim.SGD(model.parameters(), 0.1);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        using var steps = compression.StepInBackward(optimizer);
        using var before = frozen.clone();
        Step(model, optimizer, compression, 1);
        Assert.True(before.Equals(frozen));
        frozen.requires_grad = true;
        using (var loss = model.call(randn(4, 3, 8, 8)).square().mean()) compression.Backward(loss);
        Assert.Null(frozen.grad);
        Assert.False(before.Equals(frozen));
    }

    [Fact]
    public void Fidelity_is_measured_without_a_step()
    {
        var model = Model();
        using var optimizer = optim.SGD(model.parameters(), 0.1);
        using var compression = model.CompressActivations(options => options.SmallestBytes(0));
        var before = model.parameters().Select(parameter => parameter.clone()).ToArray();
        var x = randn(4, 3, 8, 8);
        var expected = compression.MeasureFidelity(Loss).Cosine;
        using var steps = compression.StepInBackward(optimizer);
        Assert.Equal(expected, compression.MeasureFidelity(Loss).Cosine);
        foreach (var (found, begun) in model.parameters().Zip(before)) Assert.True(begun.Equals(found));
        Step(model, optimizer, compression, 1);
        Assert.False(before[0].Equals(model.parameters().First()));

        Tensor Loss() => model.call(x).square().mean();
    }

    [Fact]
    public void A_parameter_that_two_layers_share_is_stepped_once_by_its_whole_gradient()
    {
        using var layer = Linear(4, 4, hasBias: false);
        using var optimizer = optim.SGD(layer.parameters(), 1);
        using var compression = layer.CompressActivations(ActivationCodec.Dct(10));
        using var within = compression.StepInBackward(optimizer);
        var x = randn(3, 4);
        using var copy = layer.weight!.detach().clone().requires_grad_();
        functional.linear(functional.linear(x, copy), copy).sum().backward();
        layer.call(layer.call(x)).sum().backward();
        Assert.True((copy - copy.grad!).allclose(layer.weight!));
    }

    [Fact]
    public void Gradients_are_freed_one_by_one()
    {
        using var model = Sequential(
            Enumerable.Range(0, 8).Select(i => ($"{i}", (Module<Tensor, Tensor>)Linear(512, 512, hasBias: false))));
        var x = randn(2, 512);
        var (within, after) = (Peak(inBackward: true), Peak(inBackward: false));
        var ofLayer = 512 * 512 * sizeof(float);
        Assert.InRange(after - within, 4 * ofLayer, 8 * ofLayer);

        long Peak(bool inBackward)
        {
            using var optimizer = optim.SGD(model.parameters(), 0.1);
            using var compression = model.CompressActivations(ActivationCodec.Dct(10));
            using var steps = inBackward ? compression.StepInBackward(optimizer) : null;
            return Allocated.Usually(() =>
            {
                model.zero_grad();
                return Allocated.Peak(() =>
                {
                    using var y = model.call(x);
                    using var loss = y.sum();
                    compression.Backward(loss);
                    optimizer.step();
                    return null;
                });
            });
        }
    }

    [Fact]
    public void After_the_end_gradients_stay_and_another_may_begin()
    {
        var model = Model();
        using var optimizer = optim.SGD(model.parameters(), 0.1);
        using (var compression = model.CompressActivations(ActivationCodec.Dct(10)))
        {
            using (compression.StepInBackward(optimizer))
                Assert.Contains("one user", Assert.Throws<InvalidOperationException>(() => compression.StepInBackward(optimizer)).Message,
                    StringComparison.Ordinal);
            Step(model, optimizer, compression, 1);
            Assert.All(model.parameters(), parameter => Assert.NotNull(parameter.grad));
            compression.StepInBackward(optimizer);
        }
        // The end of the compression ended the steps too.
        using var next = model.CompressActivations(ActivationCodec.Dct(10));
        Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
        Step(model, optimizer, next, 2);
        Assert.All(model.parameters(), parameter => Assert.NotNull(parameter.grad));
    }

    [Fact]
    public void Averaging_over_ranks_and_steps_within_the_pass_exclude_each_other()
    {
        var model = Model();
        using var optimizer = optim.SGD(model.parameters(), 0.1);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        // Data-parallel training sets this hook where there is more than one rank.
        var parameter = model.parameters().Last();
        using (compression.StepInBackward(optimizer))
            Assert.Throws<InvalidOperationException>(() => GradientHook.Set(parameter, () => { }));
        GradientHook.Set(parameter, () => { });
        Assert.Throws<InvalidOperationException>(() => compression.StepInBackward(optimizer));
        GradientHook.Set(parameter, null);
        compression.StepInBackward(optimizer);    // the refused one left no hook behind
    }

    [Fact]
    public void An_optimizer_that_needs_all_gradients_is_refused()
    {
        using var model = Model();
        using var optimizer = optim.LBFGS(model.parameters());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var refusal = Assert.Throws<ArgumentException>(() => compression.StepInBackward(optimizer));
        Assert.Contains("LBFGS", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_optimizer_that_has_a_parameter_twice_is_refused()
    {
        using var model = Model();
        using var optimizer = optim.SGD(model.parameters().Append(model.parameters().First()), 0.1);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var refusal = Assert.Throws<ArgumentException>(() => compression.StepInBackward(optimizer));
        Assert.Contains("more than once", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_weight_that_the_pass_needs_after_its_step_is_told()
    {
        using var layer = Linear(4, 4, hasBias: false);
        using var optimizer = optim.SGD(layer.parameters(), 1);
        using var compression = layer.CompressActivations(ActivationCodec.Dct(10));
        using var within = compression.StepInBackward(optimizer);
        var x = randn(3, 4, requires_grad: true);
        using var loss = layer.call(functional.linear(x, layer.weight!.detach())).sum();
        var refusal = Assert.Throws<InvalidOperationException>(() => compression.Backward(loss));
        Assert.Contains("A weight of Linear of shape (4, 4)", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("StepInBackward", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_optimizer_that_throws_ends_the_pass_with_its_exception()
    {
        var model = Model();
        using var optimizer = new Throwing(model.parameters());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        using var within = compression.StepInBackward(optimizer);
        using (var loss = model.call(randn(4, 3, 8, 8)).sum())
            Assert.Throws<InvalidTimeZoneException>(() => compression.Backward(loss));
        optimizer.Throws = false;
        Step(model, optimizer, compression, 1);
        Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
    }

    sealed class Throwing(IEnumerable<Parameter> parameters) : SGD(parameters, 0.1)
    {
        public bool Throws = true;

        public override Tensor step(Func<Tensor>? closure = null) => Throws ? throw new InvalidTimeZoneException() : base.step(closure);
    }
}
