using System.Globalization;
using Actipress.Autograd;
using Actipress.Backward;
using Actipress.Distributed;
using Actipress.Models;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Distributed;

/// <summary>One network trained by several ranks.</summary>
public sealed class DataParallelTests
{
    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void The_gradients_of_all_ranks_parts_are_those_of_the_whole_batch(int ranks) =>
        Run(ranks, nameof(DataParallelScenarios.Averages_gradients));

    [Fact]
    public void Accumulated_gradients_are_sent_with_the_last_pass() => Run(2, nameof(DataParallelScenarios.Accumulates));

    [Fact]
    public void A_parameter_that_some_ranks_do_not_use_counts_as_zeros_there_and_one_that_none_uses_stays_without() =>
        Run(3, nameof(DataParallelScenarios.Leaves_parameters_unused));

    [Fact]
    public void Compressed_checkpointed_and_plain_ranks_end_with_the_mean_of_their_own_gradients() =>
        Run(2, nameof(DataParallelScenarios.Compresses_on_every_rank));

    [Fact]
    public void Buffers_are_averaged_unless_each_rank_keeps_its_own() => Run(2, nameof(DataParallelScenarios.Averages_buffers));

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void A_synchronised_batch_norm_is_that_of_the_whole_batch(int ranks) =>
        Run(ranks, nameof(DataParallelScenarios.Normalises_by_the_whole_batch));

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void A_U_Net_with_synchronised_batch_norms_learns_as_in_one_process(int ranks) =>
        Run(ranks, nameof(DataParallelScenarios.Trains_a_U_Net));

    [Fact]
    public void A_synchronised_batch_norm_is_compressed_and_checkpointed_as_any_other() =>
        Run(2, nameof(DataParallelScenarios.Compresses_synchronised_batch_norms));

    [Fact]
    public void Models_that_differ_are_told_at_the_beginning() => Run(3, nameof(DataParallelScenarios.Tells_models_apart));

    [Fact]
    public void Passes_that_differ_are_an_error_of_the_backward_pass_on_every_rank() =>
        Run(2, nameof(DataParallelScenarios.Tells_passes_apart));

    [Fact]
    public void A_rank_whose_backward_pass_does_not_reach_a_synchronised_norm_is_told() =>
        Run(2, nameof(DataParallelScenarios.Goes_around_a_synchronised_norm));

    [Fact]
    public void Two_graphs_of_one_network_may_wait_for_their_backward_passes() =>
        Run(2, nameof(DataParallelScenarios.Keeps_two_graphs));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_rank_whose_backward_pass_fails_ends_all_and_is_named(bool isCaughtFirst)
    {
        // A program of its own, since nothing catches an exception there.
        var (command, file) = FromOutside.Program($"fails-{isCaughtFirst}", $$"""
            using Actipress.Distributed;
            using static TorchSharp.torch;
            using static TorchSharp.torch.nn;

            using var ranks = Ranks.World;
            using var model = Sequential(Conv2d(3, 8, 3), ReLU(), Conv2d(8, 8, 3), ReLU(), Conv2d(8, 4, 3));
            using var parallel = model.DataParallel(ranks, new() { BucketBytes = 100 });
            Pass(fails: false);
            try { Pass(fails: ranks.Rank == 1); }
            catch (Exception) when ({{(isCaughtFirst ? "true" : "false")}}) { Pass(fails: false); }

            void Pass(bool fails)
            {
                using var loss = model.call(ones(2, 3, 8, 8)).square().mean();
                using (no_grad())
                    if (fails) model.get_parameter("2.weight")!.zero_();
                loss.backward();
            }
            """);
        try
        {
            using var program = Mpirun.Start(2, command);
            var ended = ChildProcess.Wait(program, TimeSpan.FromMinutes(2));
            Assert.False(ended.Late, ended.All);
            Assert.NotEqual(0, ended.ExitCode);
            Assert.Contains("Rank 1 of 2 ends with an exception that nothing caught:", ended.Error, StringComparison.Ordinal);
            Assert.Contains(
                isCaughtFirst ? "did not come to its end on this rank" : "modified by an inplace operation", ended.Error,
                StringComparison.Ordinal);
        }
        finally { File.Delete(file); }
    }

    [Fact]
    public void A_replaced_parameter_is_told_before_a_rank_would_learn_alone() =>
        Run(2, nameof(DataParallelScenarios.Tells_of_a_replaced_parameter));

    [Fact]
    public void Gradients_that_are_sent_together_never_hold_more_than_was_allowed() => Run(2, nameof(DataParallelScenarios.Holds_little));

    static void Run(int ranks, string scenario) => Mpirun.RunScenario(ranks, typeof(DataParallelScenarios), scenario);

    [Fact]
    public void One_rank_alone_hooks_nothing()
    {
        using var model = Linear(3, 2);
        using var parallel = model.DataParallel(Ranks.World);
        using var x = randn(4, 3);
        using (var loss = model.call(x).sum()) loss.backward();
        Assert.Equal(0, parallel.Figures.Passes);
    }

    [Fact]
    public void A_synchronised_batch_norm_of_one_rank_is_libtorchs()
    {
        using var outer = NewDisposeScope();
        var x = randn(6, 3, 5, 5) * 3 + 2;
        foreach (var momentum in (double[])[0.1, 0.3])
        {
            var (own, wanted) = (new SyncBatchNorm(3, Ranks.World, momentum: momentum), BatchNorm2d(3, momentum: momentum));
            for (var step = 0; step < 3; step++)
                Assert.Equal(wanted.call(x + step).data<float>().ToArray(), own.call(x + step).data<float>().ToArray());
            Assert.Equal(wanted.state_dict().Keys.Order(), own.state_dict().Keys.Order());
            foreach (var (name, statistics) in wanted.named_buffers())
                Assert.Equal(statistics.to(float64).data<double>().ToArray(), own.get_buffer(name)!.to(float64).data<double>().ToArray());
            own.eval();
            wanted.eval();
            Assert.Equal(wanted.call(x).data<float>().ToArray(), own.call(x).data<float>().ToArray());
        }
        SyncBatchNorm kept;
        using (NewDisposeScope()) kept = new SyncBatchNorm(3, Ranks.World);
        Assert.Equal(x.shape, kept.call(x).shape);
        var (parameter, buffer) = (kept.get_parameter("weight")!, kept.get_buffer("running_var")!);
        kept.Dispose();
        Assert.True(parameter.IsInvalid && buffer.IsInvalid);
        var bare = new SyncBatchNorm(3, Ranks.World, affine: false, track_running_stats: false);
        Assert.Empty(bare.state_dict());
        bare.eval();
        Assert.Equal(BatchNorm2d(3, affine: false).call(x).data<float>().ToArray(), bare.call(x).data<float>().ToArray());
        Assert.Contains("[3]", Assert.Throws<ArgumentException>(() => bare.call(ones(3))).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new SyncBatchNorm(0, Ranks.World));
    }

    [Fact]
    public void A_gradient_hook_is_called_once_with_the_whole_gradient_and_not_after_its_removal()
    {
        using var outer = NewDisposeScope();
        var weight = Parameter(full([2], 3f));
        var seen = new List<float>();
        GradientHook.Set(weight, () =>
        {
            using var gradient = weight.grad!;
            seen.Add(gradient[0].item<float>());
        });
        weight.mul(weight).add(weight).sum().backward();    // 2 * 3 + 1
        weight.mul(weight).sum().backward();                // and 2 * 3 more
        Assert.Equal([7f, 13f], seen);
        GradientHook.Set(weight, null);
        GradientHook.Set(weight, () => throw new InvalidOperationException("goes nowhere"));
        weight.sum().backward();
        GradientHook.Set(weight, null);
        weight.sum().backward();
        Assert.Equal(2, seen.Count);
        Assert.Equal(15, weight.grad![0].item<float>());
    }

    [Theory]
    [InlineData(0, 1, "BucketBytes 0")]
    [InlineData(100, 99, "MostBucketBytes 99")]
    public void Buckets_of_no_size_are_refused(int bucket, int most, string wanted)
    {
        using var model = Linear(3, 2);
        Assert.Contains(wanted,
            Assert.Throws<ArgumentException>(() => model.DataParallel(Ranks.World,
            new() { BucketBytes = bucket, MostBucketBytes = most })).Message, StringComparison.Ordinal);
    }
}

/// <summary>The scenarios of each rank, which <see cref="Mpirun"/> runs.</summary>
public sealed class DataParallelScenarios
{
    static Ranks World => Ranks.World;

    // Returns the whole batch, and this rank's part of it. All parts have the same length.
    static (Tensor Whole, Tensor Part) Batch(params long[] shape)
    {
        random.manual_seed(7);
        var whole = randn([shape[0] * World.Size, .. shape[1..]]);
        return (whole, whole.narrow(0, World.Rank * shape[0], shape[0]));
    }

    static void Different(Module model)
    {
        using var _ = no_grad();
        foreach (var parameter in model.parameters()) parameter.add_(World.Rank);
    }

    static Dictionary<string, Tensor?> Gradients(Module model) =>
        model.named_parameters().ToDictionary(named => named.name, named => named.parameter.grad?.detach().clone());

    static double RelativeError(Tensor? found, Tensor? wanted)
    {
        if (found is null || wanted is null) return found is null && wanted is null ? 0 : double.PositiveInfinity;
        return (found - wanted).to(float64).norm().item<double>() / Math.Max(1e-30, wanted.to(float64).norm().item<double>());
    }

    static void AreNear(Dictionary<string, Tensor?> wanted, Dictionary<string, Tensor?> found, double most)
    {
        Assert.Equal(wanted.Keys, found.Keys);
        foreach (var name in wanted.Keys) Assert.True(RelativeError(found[name], wanted[name]) < most,
            string.Create(CultureInfo.InvariantCulture, $"{name}: {RelativeError(found[name], wanted[name])}"));
    }

    // The layers have no statistics of the batch, so that a mean over parts is the mean over the whole batch.
    static TorchSharp.Modules.Sequential Small() =>
        Sequential(Conv2d(3, 8, 3), ReLU(), Conv2d(8, 8, 3), ReLU(), Flatten(), Linear(8 * 8 * 8, 300), ReLU(), Linear(300, 10));

    [Fact(Explicit = true)]
    public void Averages_gradients()
    {
        foreach (var bucketBytes in (int[])[1, 10_000, 1 << 20])
            foreach (var type in (ScalarType[])[float32, float64, bfloat16])
            {
                using var outer = NewDisposeScope();
                random.manual_seed(3);
                var model = Small().to(type);
                var (whole, part) = Batch(6, 3, 12, 12);
                (whole, part) = (whole.to(type), part.to(type));
                model.call(whole).square().mean().backward();
                var wanted = Gradients(model);
                model.zero_grad();
                if (World.Rank > 0) Different(model);    // all ranks receive rank 0's parameters
                using var parallel = model.DataParallel(World, new() { BucketBytes = bucketBytes, MostBucketBytes = 1 << 20 });
                for (var pass = 0; pass < 2; pass++)
                {
                    model.zero_grad();
                    model.call(part).square().mean().backward();
                    AreNear(wanted, Gradients(model), type == bfloat16 ? 2e-2 : 1e-6);
                }
                Assert.Equal(2, parallel.Figures.Passes);
                Assert.Equal(2 * model.parameters().Sum(parameter => parameter.numel() * (type == float64 ? 8 : 4)),
                    parallel.Figures.Bytes);
                Assert.True(parallel.Figures.Reducing > TimeSpan.Zero);
            }
    }

    /// <summary>The bytes of one gradient of the model of <see cref="Trains_on_two_hosts"/>.</summary>
    public const int BytesOfTwoHosts = 4 * (8 * 3 * 9 + 8 + 8 * 8 * 9 + 8 + 300 * 512 + 300 + 10 * 300 + 10);

    [Fact(Explicit = true)]
    public void Trains_on_two_hosts()
    {
        Assert.Equal((2, 1, 0), (World.Size, World.LocalSize, World.LocalRank));
        Averages_gradients();
    }

    [Fact(Explicit = true)]
    public void Trains_for_long()
    {
        using var model = Small();
        using var parallel = model.DataParallel(World);
        var (_, part) = Batch(6, 3, 12, 12);
        while (true)
        {
            using var scope = NewDisposeScope();
            model.call(part).square().mean().backward();
        }
    }

    [Fact(Explicit = true)]
    public void Accumulates()
    {
        using var outer = NewDisposeScope();
        random.manual_seed(3);
        var model = Small();
        var (whole, part) = Batch(4, 3, 12, 12);
        model.call(whole).square().mean().backward();
        model.call(whole).abs().mean().backward();
        var wanted = Gradients(model);
        model.zero_grad();
        using var parallel = model.DataParallel(World);
        using (parallel.NoSync())
        {
            var first = model.call(part).square().mean();
            first.backward();
        }
        Assert.Equal(0, parallel.Figures.Passes);
        model.call(part).abs().mean().backward();
        Assert.Equal(1, parallel.Figures.Passes);
        AreNear(wanted, Gradients(model), 1e-6);

        parallel.Dispose();
        model.zero_grad();
        model.call(part).square().mean().backward();
        Assert.Equal(1, parallel.Figures.Passes);
    }

    [Fact(Explicit = true)]
    public void Leaves_parameters_unused()
    {
        foreach (var bucketBytes in (int[])[1, 1 << 20])
        {
            using var outer = NewDisposeScope();
            random.manual_seed(3);
            var (first, some, never, last) = (Linear(4, 4), Linear(4, 4), Linear(4, 4), Linear(4, 4));
            var model = Sequential(first, some, never, last);
            foreach (var parameter in last.parameters()) parameter.requires_grad = false;
            using var parallel = model.DataParallel(World, new() { BucketBytes = bucketBytes });
            var (_, part) = Batch(5, 4);
            for (var pass = 0; pass < 3; pass++)
            {
                model.zero_grad();
                Tensor Loss() => last.call((World.Rank == 1 ? some.call(first.call(part)) : first.call(part)).square()).sum();
                Gradient(Loss, out var own);
                Loss().backward();
                foreach (var parameter in never.parameters()) Assert.Null(parameter.grad);
                foreach (var parameter in last.parameters()) Assert.Null(parameter.grad);
                var wanted = own.clone();
                World.AllReduce(wanted, ReduceOp.Avg);
                Assert.True(RelativeError(some.weight.grad, wanted) < 1e-6);
            }
            // Parameters that every rank freezes later are sent no more.
            var bytes = parallel.Figures.Bytes;
            foreach (var parameter in never.parameters().Concat(some.parameters())) parameter.requires_grad = false;
            first.call(part).sum().backward();
            Assert.Equal(bytes + 20 * 4, parallel.Figures.Bytes);

            void Gradient(Func<Tensor> loss, out Tensor own)
            {
                using (parallel.NoSync()) loss().backward();
                own = some.weight.grad ?? zeros(4, 4);
                model.zero_grad();
                foreach (var parameter in model.parameters()) parameter.grad = null;
            }
        }
    }

    [Fact(Explicit = true)]
    public void Compresses_on_every_rank()
    {
        using var outer = NewDisposeScope();
        random.manual_seed(3);
        var model = Small();
        var (_, part) = Batch(8, 3, 12, 12);
        using var parallel = model.DataParallel(World);
        using (var compression = model.CompressActivations(ActivationCodec.Dct(ratio: 4)))
        {
            IsMeanOfOwn(() =>
            {
                using var loss = model.call(part).square().mean();
                compression.Backward(loss);
            });
            Assert.True(compression.Report().KeptBytes < compression.Report().SavedBytes);
            Assert.Equal(0, compression.LiveBytes);
        }
        using (model.CompressActivations(options => options.Default(ActivationCodec.Dct(ratio: 4)).Budget(2_000_000)))
            IsMeanOfOwn(() => model.call(part).square().mean().backward());
        using (Checkpoint.Blocks(model, "2")) IsMeanOfOwn(() => model.call(part).square().mean().backward());
        IsMeanOfOwn(() => SavedTensors.Backward(model.call(part).square().mean()));

        void IsMeanOfOwn(Action pass)
        {
            using (parallel.NoSync())
            {
                pass();    // the next two passes use what the first step learns
                model.zero_grad();
                pass();
            }
            var wanted = Gradients(model);
            foreach (var gradient in wanted.Values) World.AllReduce(gradient!, ReduceOp.Avg);
            model.zero_grad();
            var passes = parallel.Figures.Passes;
            pass();
            Assert.Equal(passes + 1, parallel.Figures.Passes);
            AreNear(wanted, Gradients(model), 1e-6);
            model.zero_grad();
        }
    }

    [Fact(Explicit = true)]
    public void Averages_buffers()
    {
        foreach (var buffers in (BuffersOfRanks[])[BuffersOfRanks.Averaged, BuffersOfRanks.Own])
        {
            using var outer = NewDisposeScope();
            var (norm, still) = (BatchNorm1d(4), BatchNorm1d(4));
            still.eval();
            var model = Sequential(norm, still);
            model.get_buffer("1.running_mean")!.fill_(1f / 3);
            using var parallel = model.DataParallel(World, new() { Buffers = buffers });
            var (whole, part) = Batch(16, 4);
            still.call(norm.call(part)).square().sum().backward();
            var (mean, own) = (model.get_buffer("0.running_mean")!, part.mean([0L]).mul(0.1));
            Assert.True(RelativeError(mean, buffers == BuffersOfRanks.Averaged ? whole.mean([0L]).mul(0.1) : own) < 1e-5);
            Assert.Equal(1f / 3, model.get_buffer("1.running_mean")![0].item<float>());
        }
    }

    // The parts are unlike, and one may have no example.
    [Fact(Explicit = true)]
    public void Normalises_by_the_whole_batch()
    {
        foreach (var type in (ScalarType[])[float32, float64, bfloat16])
            foreach (var axes in (long[][])[[5, 6], []])
                foreach (var (affine, momentum, empty) in ((bool, double, int)[])[(true, 0.1, -1), (false, 0.4, -1), (true, 0.1, 0)])
                {
                    using var outer = NewDisposeScope();
                    random.manual_seed(5);
                    long[] counts = [.. Enumerable.Range(0, World.Size).Select(rank => rank == empty ? 0 : 3L + 2 * rank)];
                    var first = counts[..World.Rank].Sum();
                    // Channels of unlike mean and spread. One is far from zero, where differences of sums are least exact.
                    long[] perChannel = [1, 4, .. axes.Select(_ => 1L)];
                    var whole = randn([counts.Sum(), 4, .. axes], dtype: float64) * tensor([1.0, 3, 0.1, 2]).view(perChannel)
                        + tensor([0.0, 1, 20, -5]).view(perChannel);
                    var weights = randn(whole.shape, dtype: float64);
                    BatchNorm norm = axes.Length > 0
                        ? BatchNorm2d(4, affine: affine, momentum: momentum) : BatchNorm1d(4, affine: affine, momentum: momentum);
                    norm.to(float64);
                    var own = new SyncBatchNorm(4, World, affine: affine, momentum: momentum, dtype: type == bfloat16 ? float32 : type);
                    if (affine)
                        foreach (var (to, from, values) in ((Tensor, Tensor, double[])[])[
                            (own.get_parameter("weight")!, norm.get_parameter("weight")!, [1, 2, -1, 0.5]),
                            (own.get_parameter("bias")!, norm.get_parameter("bias")!, [0, 1, 2, -3])])
                        {
                            using var _ = no_grad();
                            from.copy_(tensor(values));
                            to.copy_(tensor(values));
                        }
                    var most = type == float64 ? 1e-11 : type == float32 ? 2e-5 : 5e-2;
                    for (var step = 0; step < 2; step++)
                    {
                        var (all, part) = (Leaf(whole.to(type).to(float64)), Leaf(whole.narrow(0, first, counts[World.Rank]).to(type)));
                        var (wanted, found) = (norm.call(all), own.call(part));
                        (wanted * weights).sum().backward();
                        (found * weights.narrow(0, first, counts[World.Rank]).to(type)).sum().backward();
                        Assert.Equal(Part(wanted).shape, found.shape);
                        if (counts[World.Rank] == 0) continue;
                        Assert.True(RelativeError(found.detach(), Part(wanted.detach())) < most);
                        Assert.True(RelativeError(part.grad, Part(all.grad!)) < most, $"{RelativeError(part.grad, Part(all.grad!))}");
                    }
                    foreach (var name in affine ? (string[])["weight", "bias"] : [])
                    {
                        var sum = own.get_parameter(name)!.grad!.to(float64);
                        World.AllReduce(sum);
                        Assert.True(RelativeError(sum, norm.get_parameter(name)!.grad) < most, name);
                    }
                    foreach (var (name, buffer) in norm.named_buffers())
                        Assert.True(RelativeError(own.get_buffer(name)!, buffer) < most, name);

                    Tensor Leaf(Tensor values) => values.detach().clone().requires_grad_();
                    Tensor Part(Tensor of) => of.narrow(0, first, counts[World.Rank]);
                }
    }

    [Fact(Explicit = true)]
    public void Trains_a_U_Net()
    {
        using var outer = NewDisposeScope();
        random.manual_seed(3);
        var one = new UNet3D(1, 2, features: 2);
        var own = new UNet3D(1, 2, features: 2, channels => new SyncBatchNorm(channels, World));
        own.load_state_dict(one.state_dict());
        foreach (var model in (Module[])[one, own]) model.to(float64);
        var (whole, part) = Batch(4 / World.Size, 1, 16, 16, 32);
        (whole, part) = (whole.to(float64), part.to(float64));
        using var parallel = own.DataParallel(World);
        using var optimizer = new Adam(one.parameters(), lr: 1e-2);
        using var ownOptimizer = new Adam(own.parameters(), lr: 1e-2);
        for (var step = 0; step < 3; step++)
        {
            var wanted = Loss(one, whole);
            var found = Loss(own, part);
            optimizer.zero_grad();
            ownOptimizer.zero_grad();
            wanted.backward();
            found.backward();
            Assert.Equal(wanted.item<double>(), World.Sum(found.item<double>()) / World.Size, 1e-9);
            // The bias of a convolution before a batch norm has no influence, so that its gradient is rounding.
            foreach (var (name, gradient) in Gradients(one))
                if (!name.EndsWith("conv1.bias", StringComparison.Ordinal) && !name.EndsWith("conv2.bias", StringComparison.Ordinal))
                    Assert.True(RelativeError(Gradients(own)[name], gradient) < 1e-6, name);
            optimizer.step();
            ownOptimizer.step();
        }

        static Tensor Loss(Module<Tensor, Tensor> model, Tensor x) => functional.mse_loss(model.call(x), x.expand(-1, 2, -1, -1, -1));
    }

    [Fact(Explicit = true)]
    public void Compresses_synchronised_batch_norms()
    {
        using var outer = NewDisposeScope();
        random.manual_seed(3);
        var model = Sequential(
            Conv2d(3, 16, 3, padding: 1), new SyncBatchNorm(16, World), ReLU(), Conv2d(16, 2, 3, padding: 1), new SyncBatchNorm(2, World));
        var (_, part) = Batch(3, 3, 256, 256);
        using var parallel = model.DataParallel(World);
        void Pass() => SavedTensors.Backward(model.call(part).pow(3).mean());
        Pass();
        var plain = Gradients(model);
        model.zero_grad();
        using (var compression = model.CompressActivations(ActivationCodec.Parse("quant:8")))
        {
            var read = Placeholder.PiecesRead;
            Pass();
            // What a batch norm's own bias has no influence on is rounding.
            AreNear(Without("0.bias", "3.bias", plain), Without("0.bias", "3.bias", Gradients(model)), 1e-2);
            Assert.True(Placeholder.PiecesRead >= read + 4, "the large map of a batch norm is read in pieces");
            Assert.Equal(0, compression.LiveBytes);
            Assert.Contains(compression.Report().Layers, layer => layer.Name == "1" && layer.KeptBytes < layer.SavedBytes / 2);
        }
        model.zero_grad();
        using (Checkpoint.Blocks(model, "1", "4")) Pass();
        AreNear(Without("0.bias", "3.bias", plain), Without("0.bias", "3.bias", Gradients(model)), 1e-5);
        using (parallel.NoSync())
        {
            var refused = Assert.ThrowsAny<Exception>(() => SavedTensors.Backward(model.call(part).mean(), createGraph: true));
            Assert.Contains("no second derivative", refused.Message, StringComparison.Ordinal);
        }

        static Dictionary<string, Tensor?> Without(string one, string other, Dictionary<string, Tensor?> all) =>
            all.Where(named => named.Key != one && named.Key != other).ToDictionary();
    }

    [Fact(Explicit = true)]
    public void Tells_models_apart()
    {
        using var outer = NewDisposeScope();
        var odd = World.Rank == 2;
        Differs(Linear(odd ? 4 : 3, 2), "rank 0 has parameter weight Float32 [2, 3]; rank 2 has parameter weight Float32 [2, 4]");
        Differs(Linear(3, 2, hasBias: !odd), "rank 0 has a model of 2 parameters", "rank 2 has a model of 1 parameters");
        Differs(odd ? Linear(3, 2).@double() : Linear(3, 2), "rank 2 has parameter weight Float64 [2, 3]");
        var frozen = Linear(3, 2);
        frozen.bias!.requires_grad = !odd;
        Differs(frozen, "rank 2 has parameter bias Float32 [2], frozen");
        Differs(odd ? BatchNorm1d(2) : BatchNorm1d(2, track_running_stats: false), "rank 0 has nothing more; rank 2 has buffer");
        using var same = Linear(3, 2).DataParallel(World);

        static void Differs(Module model, params string[] parts)
        {
            var message = Assert.Throws<RanksException>(() => model.DataParallel(World)).Message;
            foreach (var part in parts) Assert.Contains(part, message, StringComparison.Ordinal);
        }
    }

    [Fact(Explicit = true)]
    public void Tells_passes_apart()
    {
        using var outer = NewDisposeScope();
        var model = Small();
        using var parallel = model.DataParallel(World, new() { BucketBytes = 1000 });
        var (_, part) = Batch(2, 3, 12, 12);
        Pass();
        // One rank is in a backward pass and the other is not; then the roles are exchanged.
        foreach (var elsewhere in (int[])[1, 0])
        {
            var failure = World.Rank == elsewhere ? Assert.Throws<RanksException>(World.Barrier) : Assert.ThrowsAny<Exception>(Pass);
            Assert.Contains("backward pass", failure.Message, StringComparison.Ordinal);
            Assert.Contains($"rank {1} has {(elsewhere == 1 ? "Barrier" : "backward pass")}", failure.Message, StringComparison.Ordinal);
        }
        // The Backward methods of a compression and of SavedTensors throw the same exception.
        if (World.Rank == 1) Assert.Throws<RanksException>(World.Barrier);
        else Assert.Throws<RanksException>(() => SavedTensors.Backward(model.call(part).square().mean()));
        World.Barrier();

        void Pass() => model.call(part).square().mean().backward();
    }

    [Fact(Explicit = true)]
    public void Goes_around_a_synchronised_norm()
    {
        using var outer = NewDisposeScope();
        var model = Sequential(Conv2d(3, 8, 3), new SyncBatchNorm(8, World), ReLU(), Conv2d(8, 4, 3));
        using var parallel = model.DataParallel(World, new() { BucketBytes = 100 });
        var (_, part) = Batch(2, 3, 12, 12);
        using var loss = model.call(part).square().mean();
        using var other = model.get_parameter("3.weight")!.square().sum();
        var failure = Assert.Throws<RanksException>(() => SavedTensors.Backward(World.Rank == 0 ? loss : other));
        Assert.Contains("rank 0 has AllReduce Sum of Float64 [24]; rank 1 has ", failure.Message, StringComparison.Ordinal);
        Assert.Contains("of backward pass 1.", failure.Message, StringComparison.Ordinal);
        World.Barrier();
    }

    // As a network that judges another one learns: of both graphs before any backward pass.
    [Fact(Explicit = true)]
    public void Keeps_two_graphs()
    {
        using var outer = NewDisposeScope();
        var model = Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), ReLU());
        using var parallel = model.DataParallel(World);
        var (_, part) = Batch(4, 3, 6, 6);
        using (parallel.NoSync()) Both();
        var wanted = Gradients(model);
        foreach (var gradient in wanted.Values) World.AllReduce(gradient!, ReduceOp.Avg);
        model.zero_grad();
        Both();
        AreNear(wanted, Gradients(model), 1e-6);

        void Both()
        {
            var (one, other) = (model.call(part).square().mean(), model.call(part.mul(2).Add(1)).square().mean());
            one.backward();
            other.backward();
        }
    }

    [Fact(Explicit = true)]
    public void Tells_of_a_replaced_parameter()
    {
        using var outer = NewDisposeScope();
        var model = Linear(3, 2);
        using var parallel = model.DataParallel(World);
        model.call(ones(1, 3)).sum().backward();
        model.weight = Parameter(zeros(2, 3));
        Assert.Contains("Parameter weight was replaced", Assert.Throws<InvalidOperationException>(() => model.call(ones(1, 3))).Message,
            StringComparison.Ordinal);
    }

    [Fact(Explicit = true)]
    public void Holds_little()
    {
        using var outer = NewDisposeScope();
        // There are 64 gradients of 64 KiB, each of which follows from the product of another layer, and one of 4 MiB.
        var model = Sequential([.. Enumerable.Range(0, 64).Select(i => ($"{i}", (Module<Tensor, Tensor>)Linear(128, 128, hasBias: false))),
            ("last", Linear(128, 8192, hasBias: false))]);
        const int Most = 512 << 10;
        using var parallel = model.DataParallel(World, new() { BucketBytes = 128 << 10, MostBucketBytes = Most });
        var (_, part) = Batch(2, 128);
        for (var pass = 0; pass < 2; pass++) model.call(part).sum().backward();
        Assert.InRange(parallel.Figures.BufferBytes, 128 << 10, Most);
        Assert.Equal(2 * 4 * (64 * 128 * 128 + 128 * 8192), parallel.Figures.Bytes);
    }
}
