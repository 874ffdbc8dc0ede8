using System.Runtime.InteropServices;
using Actipress.Autograd;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Autograd;

/// <summary>
/// A checkpoint gives the plain gradients from a second run of its block. The class is one list of scenarios: gradients, memory, errors and
/// reports.
/// </summary>
[MeasuresMemory]
public sealed class CheckpointTests : IDisposable
{
    readonly DisposeScope everything = NewDisposeScope();
    readonly int threads = get_num_threads();

    public CheckpointTests() => set_num_threads(1);

    public void Dispose()
    {
        everything.Dispose();
        set_num_threads(threads);
    }

    public static TheoryData<ForwardPass> Passes => [.. ForwardPass.All];

    [Theory, MemberData(nameof(Passes))]
    public void Every_gradient_is_that_of_the_plain_run_bit_for_bit(ForwardPass pass)
    {
        var runs = 0;
        var checkpointed = pass with
        {
            Make = () =>
            {
                var (parameters, loss) = pass.Make();
                return (parameters, () => Checkpoint.Run(_ => { runs++; return [loss()]; }, [])[0]);
            },
        };
        Assert.Equal(pass.Gradients(), checkpointed.Gradients());
        Assert.Equal(2, runs);
    }

    // Returns the gradients of a loss over a model, from the same seed each time.
    static List<float[]> Gradients(Module model, Func<Tensor> loss)
    {
        model.zero_grad();
        manual_seed(5);
        using var value = loss();
        SavedTensors.Backward(value);
        return [.. model.parameters().Select(parameter => parameter.grad!.contiguous().data<float>().ToArray())];
    }

    static Sequential Block() =>
        Sequential(Conv2d(4, 4, 3, padding: 1), BatchNorm2d(4), ReLU(), Dropout(0.3), Conv2d(4, 4, 3, padding: 1), Tanh());

    [Fact]
    public void One_block_runs_several_times_with_a_skip_around_it()
    {
        var (block, x) = (Block(), randn(2, 4, 16, 16));
        Tensor Loss(Func<Tensor, Tensor> run)
        {
            var y = run(x);
            var z = run(y) + y;
            return (run(z) * x + z).square().mean();
        }
        Assert.Equal(Gradients(block, () => Loss(block.call)), Gradients(block, () => Loss(y => Checkpoint.Run(block, y))));
    }

    [Fact]
    public void Checkpoints_lie_inside_each_other()
    {
        var (inner, outer, x) = (Block(), Block(), randn(2, 4, 16, 16));
        var both = ModuleList<Module<Tensor, Tensor>>(inner, outer);
        var runs = new List<string>();
        Tensor Inner(Tensor y)
        {
            runs.Add("inner");
            return inner.call(y);
        }
        Tensor Outer(Tensor y)
        {
            runs.Add("outer");
            return outer.call(Checkpoint.Run(Inner, y, inner)) + y;
        }
        var plain = Gradients(both, () => (outer.call(inner.call(x)) + x).square().mean());
        Assert.Equal(plain, Gradients(both, () => Checkpoint.Run(Outer, x, both).square().mean()));
        Assert.Equal(["outer", "inner", "outer", "inner", "inner"], runs);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_second_run_ends_before_an_inner_checkpoint_after_which_nothing_is_saved(bool byName)
    {
        var runs = new List<string>();
        Module<Tensor, Tensor> Part(string name) => new Counting(y => { runs.Add(name); return y.exp().sin(); });
        var (a, b, c, x) = (Part("a"), Part("b"), Part("c"), tensor(new[] { 0.1f, 0.2f }, requires_grad: true));
        var block = Sequential(("a", a), ("b", b), ("c", c));
        var model = Sequential(("block", block));
        float[] Gradient(Func<Tensor> run)
        {
            x.grad = null;
            runs.Clear();
            SavedTensors.Backward(run().sum());
            return x.grad!.data<float>().ToArray();
        }
        var plain = Gradient(() => model.call(x));
        using (byName ? Checkpoint.Blocks(model, "block", "block.a", "block.b", "block.c") : null)
            Assert.Equal(plain, Gradient(() =>
                byName ? model.call(x) : Checkpoint.Run(y => Checkpoint.Run(c, Checkpoint.Run(b, Checkpoint.Run(a, y))), x)));
        Assert.Equal("abc ab c b a".Replace(" ", "", StringComparison.Ordinal), string.Concat(runs));

        // The block saves a tensor after its last inner checkpoint, so that the checkpoint has to run again for it.
        plain = Gradient(() => model.call(x).exp());
        Assert.Equal(plain, Gradient(() => Checkpoint.Run(y => Checkpoint.Run(b, Checkpoint.Run(a, y)).exp().sin(), x).exp()));
        Assert.Equal("abab ba".Replace(" ", "", StringComparison.Ordinal), string.Concat(runs));
    }

    [Fact]
    public void A_second_run_does_not_end_inside_a_backward_pass_of_the_block()
    {
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        Tensor Penalty(Tensor x)
        {
            var inner = x.detach().requires_grad_(true);
            Checkpoint.Run(y => Checkpoint.Run(z => z.square(), y), inner).sum().backward();
            return Checkpoint.Run(y => y * inner.grad!, x);
        }
        SavedTensors.Backward(Checkpoint.Run(Penalty, w).sum());
        Assert.Equal([2f, 4f], w.grad!.data<float>().ToArray());
    }

    [Fact]
    public void Several_tensors_go_in_and_out()
    {
        var table = Embedding(50, 64);
        var (words, scale) = (randint(0, 50, [8, 12]), randn([8, 12, 1], requires_grad: true));
        Tensor[] Function(Tensor[] inputs)
        {
            var y = table.call(inputs[0]) * inputs[1];
            return [y.exp(), y.sigmoid().sum(), inputs[0] + 1];
        }
        Tensor Loss(Tensor[] outputs) => outputs[0].mean() * outputs[1] + outputs[2].sum();
        var plain = Gradients(table, () => Loss(Function([words, scale])));
        var plainScale = scale.grad!.data<float>().ToArray();
        scale.grad.zero_();
        Assert.Equal(plain, Gradients(table, () => Loss(Checkpoint.Run(Function, [words, scale]))));
        Assert.Equal(plainScale, scale.grad!.data<float>().ToArray());
    }

    [Fact]
    public void An_input_may_be_null()
    {
        var x = tensor(new[] { 1f, 2f }, requires_grad: true);
        Tensor[] Function(Tensor?[] inputs)
        {
            Assert.Null(inputs[1]);
            return [inputs[0]!.exp() * (inputs[1] ?? inputs[0]!)];
        }
        Checkpoint.Run(Function, [x, null])[0].sum().backward();
        Assert.Equal([2 * MathF.Exp(1), 3 * MathF.Exp(2)], x.grad!.data<float>().ToArray());
        Assert.Empty(Checkpoint.Run(inputs => [], [null]));
    }

    [Fact]
    public void A_tensor_that_was_disposed_in_between_is_told_of()
    {
        var (x, mask) = (ones(3, requires_grad: true), ones(3));
        using var loss = Checkpoint.Run(v => v.exp() * mask, x).sum();
        mask.Dispose();
        Assert.Contains(
            "A tensor that the block uses beside its inputs has been disposed since the forward pass",
            Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_failure_of_the_second_run_is_not_taken_for_a_disposed_tensor()
    {
        var (runs, x) = (0, ones(3, requires_grad: true));
        using var loss = Checkpoint.Run(v => runs++ == 0 ? v.exp() : throw new InvalidOperationException("out of luck"), x).sum();
        var told = Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message;
        Assert.Contains("again for the backward pass failed. out of luck", told, StringComparison.Ordinal);
        Assert.DoesNotContain("disposed", told, StringComparison.Ordinal);
    }

    [Theory, InlineData(1), InlineData(2), InlineData(3), InlineData(5), InlineData(7)]
    public void A_sequence_in_segments_gives_the_plain_gradients(int segments)
    {
        var modules = Enumerable.Range(0, 7).Select(i => i == 3 ? (Module<Tensor, Tensor>)ReLU(inplace: false) : Block()).ToArray();
        var (all, x) = (ModuleList<Module<Tensor, Tensor>>(modules), randn(2, 4, 16, 16));
        var plain = Gradients(all, () => modules.Aggregate(x, (y, module) => module.call(y)).square().mean());
        Assert.Equal(plain, Gradients(all, () => Checkpoint.Sequential(modules, segments, x).square().mean()));
        var (_, left) = Allocated.Level();
        using (Checkpoint.Sequential(modules, segments, x)) { }
        Assert.Equal(left, Tensor.TotalCount);
    }

    [Theory, InlineData(1, "1111111"), InlineData(2, "2221111"), InlineData(3, "2222111"), InlineData(7, "2222221")]
    public void All_segments_of_a_sequence_but_the_last_run_twice(int segments, string runs)
    {
        var counts = new int[7];
        var modules = Enumerable.Range(0, 7).Select(i => (Module<Tensor, Tensor>)new Counting(y =>
        {
            counts[i]++;
            return y.exp();
        }));
        Checkpoint.Sequential(modules, segments, zeros(2, requires_grad: true)).sum().backward();
        Assert.Equal(runs, string.Concat(counts));
    }

    [Theory, InlineData(0), InlineData(-1), InlineData(3)]
    public void More_segments_than_modules_are_refused(int segments) =>
        Assert.Contains(
            "wanted 1 to 2", Assert.Throws<ArgumentException>(() => Checkpoint.Sequential([ReLU(), ReLU()], segments, zeros(1))).Message,
            StringComparison.Ordinal);

    [Fact]
    public void Buffers_and_random_state_are_those_of_a_plain_step()
    {
        var (block, x) = (Block(), randn(2, 4, 16, 16));
        var before = block.buffers().Select(buffer => buffer.clone()).ToArray();
        string[] After(Func<Tensor, Tensor> run)
        {
            using (no_grad())
                foreach (var (buffer, value) in block.buffers().Zip(before)) buffer.copy_(value);
            Gradients(block, () => run(x).square().mean());
            return [.. block.buffers().Append(get_rng_state()).Select(tensor => Convert.ToHexString(tensor.bytes))];
        }
        var plain = After(block.call);
        Assert.Equal(plain, After(y => Checkpoint.Run(block, y)));
        Assert.Equal(plain, After(y => Checkpoint.Run(block.call, y, block)));
        // As in PyTorch, the checkpoint cannot know the function's modules.
        Assert.NotEqual(plain, After(y => Checkpoint.Run(block.call, y)));
    }

    // Numbers that are drawn between the two passes are drawn once: the second run has the random state of the first run, and leaves the
    // present state unchanged.
    [Theory, InlineData(false), InlineData(true)]
    public void What_is_drawn_between_the_passes_is_not_drawn_again_after_them(bool fails)
    {
        var (block, x, runs) = (Block(), randn(2, 4, 16, 16), 0);
        using (var plain = Drawn(block.call))
        using (var drawn = Drawn(y => Checkpoint.Run(Function, y, block)))
            Assert.Equal(plain.data<float>().ToArray(), drawn.data<float>().ToArray());
        Assert.Equal(2, runs);

        Tensor Function(Tensor input) => ++runs == 2 && fails ? throw new InvalidOperationException("the second time") : block.call(input);

        // Three numbers are drawn between the passes, and three after them.
        Tensor Drawn(Func<Tensor, Tensor> run)
        {
            manual_seed(5);
            using var loss = run(x).square().mean();
            using var between = rand(3);
            var failure = Record.Exception(() => SavedTensors.Backward(loss));
            Assert.Equal(fails && runs > 0, failure is CheckpointException);
            using var after = rand(3);
            return cat([between, after]);
        }
    }

    [Fact]
    public void A_batch_norm_may_run_inside_and_outside()
    {
        var (norm, x) = (BatchNorm2d(4), randn(2, 4, 16, 16));
        Tensor Loss(Func<Tensor, Tensor> run) => (norm.call(x).exp() + run(x.sin())).square().mean();
        Assert.Equal(Gradients(norm, () => Loss(norm.call)), Gradients(norm, () => Loss(y => Checkpoint.Run(norm, y))));
    }

    [Fact]
    public void Autocast_is_brought_back()
    {
        var (model, x) = (Sequential(Linear(16, 32), GELU(), Linear(32, 4)), randn(8, 16));
        Tensor Loss(Func<Tensor, Tensor> run)
        {
            using (Autocast.On(DeviceType.CPU, ScalarType.BFloat16).Again())
            {
                var y = run(x);
                Assert.Equal(ScalarType.BFloat16, y.dtype);
                return y.@float().square().mean();
            }
        }
        Assert.Equal(Gradients(model, () => Loss(model.call)), Gradients(model, () => Loss(y => Checkpoint.Run(model, y))));
        Assert.Equal(ScalarType.Float32, model.call(x).dtype);
    }

    [Fact]
    public void Nothing_is_kept_but_the_input_and_it_goes_with_the_graph()
    {
        const long MiB = 1 << 20;
        var model = Sequential(Enumerable.Range(0, 6).Select(i => ($"{i}", (Module<Tensor, Tensor>)Tanh())));
        var x = zeros([4, 256, 256], requires_grad: true);    // 1 MiB
        long Held(Func<Tensor> run)
        {
            var before = AllocatorMeter.CurrentBytes;
            using var y = run();
            return AllocatorMeter.CurrentBytes - before;
        }
        Assert.InRange(Allocated.Usually(() => Held(() => model.call(x))), 5.9 * MiB, 6.1 * MiB);
        Assert.InRange(Allocated.Usually(() => Held(() => Checkpoint.Run(model, x))), 0.9 * MiB, 1.1 * MiB);

        var (_, tensors) = Allocated.Level();
        Checkpoint.Run(model, x).Dispose();
        Assert.Equal(tensors, Tensor.TotalCount);
        using (var y = Checkpoint.Run(model, x))
        using (var loss = y.sum())
            loss.backward();
        Assert.Equal(tensors, Tensor.TotalCount);
    }

    [Fact]
    public void What_is_saved_of_parameters_and_inputs_is_no_copy()
    {
        const long MiB = 1 << 20;
        var (w, x) = (new Parameter(zeros(4 * MiB)), zeros([4 * MiB], requires_grad: true));    // 16 MiB each
        long Peak(Func<Tensor> run)
        {
            (w.grad, x.grad) = (null, null);
            using var loss = run().sum();
            using var meter = AllocatorMeter.Start();
            var before = AllocatorMeter.CurrentBytes;
            loss.backward();
            return meter.PeakBytes - before;
        }
        var plain = Allocated.Usually(() => Peak(() => w * x));
        Assert.InRange(Allocated.Usually(() => Peak(() => Checkpoint.Run(y => w * y, x))) - plain, -MiB, MiB);
    }

    [Fact]
    public void A_retained_graph_runs_again_and_one_that_is_not_is_refused()
    {
        var (w, runs) = (tensor(new[] { 1f, 2f }, requires_grad: true), 0);
        var loss = Checkpoint.Run(x => { runs++; return x.exp() * x; }, w).sum();
        loss.backward(retain_graph: true);
        var once = w.grad!.data<float>().ToArray();
        loss.backward();
        Assert.Equal(once.Select(g => 2 * g), w.grad!.data<float>().ToArray());
        Assert.Equal(3, runs);
        Assert.Contains("second time", Assert.ThrowsAny<Exception>(() => loss.backward()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Gradients_of_gradients_are_right()
    {
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        var cube = Checkpoint.Run(x => x * x * x, w).sum();
        var first = autograd.grad([cube], [w], retain_graph: true, create_graph: true)[0];
        Assert.Equal([6f, 12f], autograd.grad([first.sum()], [w])[0].data<float>().ToArray());
    }

    [Fact]
    public void A_block_may_differentiate_inside()
    {
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        Tensor Penalty(Tensor x)
        {
            var inner = x.detach().requires_grad_(true);
            inner.square().sum().backward();
            return x * inner.grad!;
        }
        Checkpoint.Run(Penalty, w).sum().backward();
        Assert.Equal([2f, 4f], w.grad!.data<float>().ToArray());
    }

    [Fact]
    public void Backward_runs_on_another_thread()
    {
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        var loss = Checkpoint.Run(x => x.square(), w).sum();
        var elsewhere = new Thread(() => loss.backward());
        elsewhere.Start();
        elsewhere.Join();
        Assert.Equal([2f, 4f], w.grad!.data<float>().ToArray());
    }

    [Fact]
    public void Without_gradients_nothing_is_kept()
    {
        var x = ones(4, requires_grad: true);
        using (no_grad())
        {
            var (_, tensors) = Allocated.Level();
            using var y = Checkpoint.Run(z => z.exp(), x);
            Assert.Equal(tensors + 1, Tensor.TotalCount);
        }
    }

    public static TheoryData<string> WrongBlocks => [.. wrong.Keys];

    // A block's first and second run, and the message about their difference.
    static readonly Dictionary<string, (Func<Tensor, int, Tensor> Block, string Says)> wrong = new()
    {
        ["more tensors"] = ((x, run) => run == 1 ? x.exp() : x.exp().exp(), "2 tensors were saved the second time, 1 the first"),
        ["fewer tensors"] = ((x, run) => run == 1 ? x.exp().exp() : x.exp(), "1 tensors were saved the second time, 2 the first"),
        ["another shape"] = (
            (x, run) => run == 1 ? x.exp() : x[..2].exp(),
            "tensor 1 of 1 saved the second time is (2) Float32 on CPU, the first time (3) Float32 on CPU"),
        ["another type"] = ((x, run) => run == 1 ? x.exp() : x.@double().exp(), "is (3) Float64 on CPU"),
        ["an exception"] = ((x, run) => run == 1 ? x.exp() : throw new InvalidDataException("no more"), "failed. no more"),
    };

    [Theory, MemberData(nameof(WrongBlocks))]
    public void A_block_that_does_something_else_the_second_time_is_told(string what)
    {
        var (block, says) = wrong[what];
        var (w, run) = (ones(3, requires_grad: true), 0);
        var (_, tensors) = Allocated.Level();
        using (var y = Checkpoint.Run(x => block(x, ++run), w))
        using (var loss = y.sum())
        {
            Assert.Contains(says, Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
            Assert.ThrowsAny<Exception>(() => loss.backward());
        }
        GC.Collect();
        Checkpoint.Run(x => x.square(), w).sum().backward();
        Assert.Equal([2f, 2f, 2f], w.grad!.data<float>().ToArray());
    }

    [Fact]
    public void A_parameter_or_input_that_changes_in_between_is_told()
    {
        var (w, x) = (new Parameter(ones(3)), ones(3, requires_grad: true) * 1);
        using (var loss = Checkpoint.Run(y => y * w, x).sum())
        {
            using (no_grad()) w.add_(1);
            Assert.Contains(
                "a parameter (3) Float32 on CPU that has been changed in place",
                Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
        }
        using (var loss = Checkpoint.Run(y => y * w, x).sum())
        {
            using (no_grad()) x.add_(1);
            Assert.Contains(
                "changed in place since the forward pass", Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message,
                StringComparison.Ordinal);
        }
    }

    public static TheoryData<string> UnsavedParameters => [.. unsaved.Keys];

    // A block whose named parameter autograd does not save, and the block's input.
    static readonly Dictionary<string, Func<(Module<Tensor, Tensor> Block, Tensor X, string Parameter)>> unsaved = new()
    {
        ["a bias"] = () => (Sequential(("fc", Linear(3, 4))), ones([2, 3], requires_grad: true), "fc.bias"),
        ["an embedding's table"] =
            () => (Sequential(("table", Embedding(10, 4)), ("act", Tanh())), tensor(new long[] { 1, 2 }), "table.weight"),
        ["the first Linear on data"] = () => (Sequential(("fc", Linear(3, 4)), ("act", Tanh())), ones(2, 3), "fc.weight"),
        ["a batch norm's bias"] =
            () => (Sequential(("norm", BatchNorm1d(3)), ("act", Sigmoid())), randn([4, 3], requires_grad: true), "norm.bias"),
    };

    [Theory, MemberData(nameof(UnsavedParameters))]
    public void A_weight_stepped_between_forward_and_backward_is_told_although_nothing_saves_it(string what)
    {
        var (block, x, name) = unsaved[what]();
        var parameter = block.get_parameter(name)!;
        var model = Sequential(("block", block));
        using var checkpoints = Checkpoint.Blocks(model, "block");
        foreach (var run in (Func<Tensor>[])[
            () => Checkpoint.Run(block, x), () => Checkpoint.Run(block.call, x, block),
            () => Checkpoint.Sequential([block, Identity()], 2, x), () => model.call(x),
        ])
        {
            using var optimizer = optim.SGD([parameter], 0.1);
            using var loss = run().sum();
            parameter.grad = ones_like(parameter);
            optimizer.step();
            var told = Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message;
            Assert.Contains(
                $"parameter {name} of a Sequential has been changed since the forward pass, as by an optimizer.step() between forward and "
                    + "backward: found version",
                told, StringComparison.Ordinal);
            Assert.DoesNotContain("again for the backward pass failed", told, StringComparison.Ordinal);
            using var again = run().sum();
            SavedTensors.Backward(again);
        }
    }

    [Fact]
    public void A_parameter_that_came_in_between_is_told()
    {
        using var scope = NewDisposeScope();
        var (block, x) = (Sequential(("fc", Linear(3, 4))), ones([2, 3], requires_grad: true));
        var loss = Checkpoint.Run(block, x).sum();
        block.append("more", Linear(4, 4));
        var told = Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message;
        Assert.Contains("have 4 parameters, and had 2", told, StringComparison.Ordinal);
    }

    [Fact]
    public void A_parameter_that_was_replaced_or_disposed_in_between_is_told()
    {
        var (block, x) = (Sequential(("fc", Linear(3, 4))), ones([2, 3], requires_grad: true));
        var replaced = Checkpoint.Run(block, x).sum();
        block.to(ScalarType.Float64);
        Assert.Contains(
            "parameter fc.weight of a Sequential has been replaced",
            Assert.Throws<CheckpointException>(() => SavedTensors.Backward(replaced)).Message, StringComparison.Ordinal);
        block.to(ScalarType.Float32);
        var gone = Checkpoint.Run(block, x).sum();
        block.Dispose();
        Assert.Contains(
            "have 0 parameters, and had 2", Assert.Throws<CheckpointException>(() => SavedTensors.Backward(gone)).Message,
            StringComparison.Ordinal);
    }

    public static TheoryData<string> InPlaceBlocks => [.. inPlace.Keys];

    // These blocks change a tensor in place after an operation has returned it.
    static readonly Dictionary<string, Func<Tensor, Tensor>> inPlace = new()
    {
        ["exp, add_"] = x => x.exp().add_(1),
        ["sigmoid, clamp_"] = x => x.sigmoid().clamp_(0.2, 0.7),
        ["tanh, mul_"] = x => x.tanh().mul_(2),
        ["exp, div_"] = x => x.exp().div_(3),
        ["ReLU, dropout in place"] = x => functional.dropout(x.relu(), 0.5, training: true, inplace: true),
        ["a view of exp, add_"] = x =>
        {
            var y = x.exp();
            y[..2].add_(1);
            return y;
        },
        ["x saved, x changed"] = x =>
        {
            var y = x * 1;
            var z = y.square();
            y.add_(1);
            return z + y;
        },
        ["legal: mul, add_"] = x => x.mul(3).add_(1),
        ["legal: exp, then a copy changed"] = x => x.exp().clone().add_(1),
        ["legal: changed, then saved"] = x => x.mul(2).add_(1).exp(),
        ["legal: sin, ReLU in place"] = x => x.sin().relu_(),
        ["legal: sin, sigmoid in place"] = x => x.sin().sigmoid_().mul(2),
        ["legal: batch norm, ReLU in place"] = x => functional.batch_norm(x.view(2, 2), zeros(2), ones(2), training: true).relu_().square(),
    };

    [Theory, MemberData(nameof(InPlaceBlocks))]
    public void A_block_that_changes_in_place_what_it_saved_throws_as_plain_autograd_does(string what)
    {
        var (block, x) = (inPlace[what], tensor(new[] { -1f, 0.5f, 1f, 2f }, requires_grad: true));
        (bool Throws, float[] Gradient) Outcome(Func<Func<Tensor, Tensor>, Tensor> run)
        {
            x.grad?.zero_();
            manual_seed(5);
            using var loss = run(block).sum();
            try { SavedTensors.Backward(loss); }
            catch (Exception failure) when (failure is CheckpointException or ExternalException)
            {
                Assert.Matches("in-?place|in place", failure.Message);
                return (true, []);
            }
            return (false, x.grad!.data<float>().ToArray());
        }
        var (plain, checkpointed) = (Outcome(f => f(x)), Outcome(f => Checkpoint.Run(f, x)));
        Assert.Equal(!what.StartsWith("legal", StringComparison.Ordinal), plain.Throws);
        Assert.Equal(plain.Throws, checkpointed.Throws);
        Assert.Equal(plain.Gradient, checkpointed.Gradient);
    }

    [Fact]
    public void A_change_in_place_is_told_with_shape_and_versions()
    {
        using var loss = Checkpoint.Run(x => x.exp().add_(1), ones(3, requires_grad: true)).sum();
        Assert.Contains(
            "A tensor (3) Float32 on CPU that the backward pass of a checkpoint's function needs was changed in place after it had been "
                + "saved: found version 1, wanted 0",
            Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Named_blocks_of_a_model_are_checkpoints_until_disposal()
    {
        var model = Sequential(("body", Sequential(("a", Block()), ("b", Block()))), ("head", Conv2d(4, 1, 1)));
        var x = randn(2, 4, 16, 16);
        var saved = 0;
        List<float[]> Counted()
        {
            saved = 0;
            using (SavedTensors.Hook(y => { saved++; return y; }, y => (Tensor)y!))
                return Gradients(model, () => model.call(x).square().mean());
        }
        var plain = Counted();
        var all = saved;
        using (Checkpoint.Blocks(model, "body.a"))
        {
            Assert.Equal(plain, Counted());
            Assert.InRange(saved, all / 2, all * 3 / 4);
        }
        using (Checkpoint.Blocks(model, "body", "body.b"))
        {
            Assert.Equal(plain, Counted());
            Assert.InRange(saved, 1, 6);
        }
        Assert.Equal(plain, Counted());
        Assert.Equal(all, saved);
    }

    [Fact]
    public void A_block_that_does_not_exist_is_refused_and_those_that_do_are_listed()
    {
        var model = new Mixed();
        Assert.Contains(
            "'tow': wanted a part of the model that takes tensors, beside numbers and the like, found none of this name. Those that can "
                + "be: one, two, attention, scaled.",
            Assert.Throws<ArgumentException>(() => Checkpoint.Blocks(model, "one", "tow")).Message, StringComparison.Ordinal);
        Assert.Contains("'recurrent': wanted a part of the model that takes tensors, beside numbers and the like, found a LSTM.",
            Assert.Throws<ArgumentException>(() => Checkpoint.Blocks(model, "recurrent")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Named_blocks_may_take_several_tensors_of_which_some_are_null_and_numbers()
    {
        var (model, x) = (new Mixed(), randn([5, 2, 4], requires_grad: true));
        List<float[]> WithInput()
        {
            x.grad?.zero_();
            var gradients = Gradients(model, () => model.call(x).square().mean());
            return [.. gradients, x.grad!.data<float>().ToArray()];
        }
        var plain = WithInput();
        foreach (var names in (string[][])[["two"], ["attention"], ["scaled"], ["one", "two", "attention", "scaled"]])
        {
            using (Checkpoint.Blocks(model, names)) Assert.Equal(plain, WithInput());
            using (model.CompressActivations(ActivationCodec.None))
            using (Checkpoint.Blocks(model, names))
                Assert.Equal(plain, WithInput());
        }
        Assert.Equal(plain, WithInput());
    }

    [Fact]
    public void A_block_of_several_tensors_keeps_these_alone()
    {
        const long MiB = 1 << 20;
        var model = new Pair();
        var (x, y) = (zeros([4, 256, 256], requires_grad: true), zeros([4, 256, 256], requires_grad: true));    // 1 MiB each
        using var checkpoints = Checkpoint.Blocks(model, "gate");
        long Held(bool both)
        {
            var before = AllocatorMeter.CurrentBytes;
            using var z = model.call(x, both ? y : null);
            return AllocatorMeter.CurrentBytes - before;
        }
        Assert.InRange(Held(both: true), 0.9 * MiB, 1.1 * MiB);
        Assert.InRange(Held(both: false), 0.9 * MiB, 1.1 * MiB);
        var (_, tensors) = Allocated.Level();
        using (var z = model.call(x, null))
        using (var loss = z.sum())
            loss.backward();
        x.grad = null;
        Assert.Equal(tensors, Tensor.TotalCount);
    }

    sealed class Pair : Module<Tensor, Tensor?, Tensor>
    {
        readonly Gate gate = new();
        public Pair() : base(nameof(Pair)) => RegisterComponents();
        public override Tensor forward(Tensor x, Tensor? y) => gate.call(x, y);

        sealed class Gate() : Module<Tensor, Tensor?, Tensor>(nameof(Gate))
        {
            public override Tensor forward(Tensor x, Tensor? y)
            {
                using var a = x.tanh();
                using var b = (y ?? x).sigmoid();
                return a * b;
            }
        }
    }

    sealed class Mixed : Module<Tensor, Tensor>
    {
        readonly Linear one = Linear(4, 4);
        readonly Bilinear two = Bilinear(4, 4, 4);
        readonly MultiheadAttention attention = MultiheadAttention(4, 2, dropout: 0.2);
        readonly LSTM recurrent = LSTM(4, 4);
        readonly ModuleList<Module<Tensor, Tensor>> list = new();
        readonly Scaled scaled = new();
        public Mixed() : base(nameof(Mixed)) => RegisterComponents();

        public override Tensor forward(Tensor x)
        {
            var y = two.call(one.call(x), x);
            var z = attention.call(y, x, y, null, false, null).Item1;
            return recurrent.call(scaled.call(z, 2, null, x)).Item1;
        }

        sealed class Scaled() : Module<Tensor, double, bool?, Tensor?, Tensor>(nameof(Scaled))
        {
            public override Tensor forward(Tensor x, double scale, bool? negate, Tensor? add) =>
                (x.exp() * scale * (negate == true ? -1 : 1)).sigmoid() + add!.tanh();
        }
    }

    [Fact]
    public void A_forward_pass_that_throws_leaves_nothing_behind()
    {
        var model = Sequential(("a", Sequential(Linear(4, 4), new Picky())), ("b", Linear(4, 4)));
        using var checkpoints = Checkpoint.Blocks(model, "a");
        var good = randn(2, 4);
        var plain = Gradients(model, () => model.call(good).sum());
        Assert.ThrowsAny<Exception>(() => model.call(randn(3, 4)));
        Assert.Equal(plain, Gradients(model, () => model.call(good).sum()));
        Assert.ThrowsAny<Exception>(() => model.call(randn(3, 4)));
        checkpoints.Dispose();
        Assert.ThrowsAny<Exception>(() => Checkpoint.Run(model, randn(3, 4)));
        var w = ones(3, requires_grad: true);
        w.square().sum().backward();
        Assert.Equal([2f, 2f, 2f], w.grad!.data<float>().ToArray());
    }

    sealed class Picky() : Module<Tensor, Tensor>(nameof(Picky))
    {
        public override Tensor forward(Tensor x) => x.shape[0] == 2 ? x.exp() : throw new InvalidOperationException("wanted two");
    }

    [Theory, InlineData(false), InlineData(true)]
    public void With_compression_the_kept_inputs_are_compressed(bool compressionFirst)
    {
        var model = Sequential(
            ("stem", Conv2d(4, 4, 3, padding: 1)), ("body", Sequential(Block(), ReLU())), ("pool", MaxPool2d(2)),
            ("head", Conv2d(4, 4, 3, padding: 1)));
        var x = randn(2, 4, 32, 32);
        var plain = Gradients(model, () => model.call(x).square().mean());
        IDisposable? checkpoints = compressionFirst ? null : Checkpoint.Blocks(model, "body", "pool");
        using var compression = model.CompressActivations(ActivationCodec.Quantized(8));
        checkpoints ??= Checkpoint.Blocks(model, "body", "pool");
        using (checkpoints)
        {
            model.zero_grad();
            manual_seed(5);
            using var loss = model.call(x).square().mean();
            var (report, live) = (compression.Report(), compression.LiveBytes);
            Assert.Equal(["body", "pool", "head"], report.Layers.Select(layer => layer.Name));
            Assert.All(report.Layers.Take(2), layer =>
                Assert.Equal((1, 0, 2 * 4 * 32 * 32 * 4L, "quant:8"), (layer.Maps, layer.SharedMaps, layer.SavedBytes, layer.KeptAs)));
            Assert.True(live < report.SavedBytes / 3, $"{report}");
            compression.Backward(loss);
            Assert.Equal(report.Layers.Select(Counted), compression.Report().Layers.Select(Counted));
            Assert.Equal(0, compression.LiveBytes);
        }
        var cosine = Cosine(
            [.. plain.SelectMany(gradient => gradient)],
            [.. model.parameters().SelectMany(parameter => parameter.grad!.contiguous().data<float>().ToArray())]);
        Assert.InRange(cosine, 0.999, 0.9999999);
        Assert.Equal(plain, Gradients(
            model, () => { using (Checkpoint.Blocks(model, "body")) { compression.Dispose(); return model.call(x).square().mean(); } }));
    }

    // Returns the report without the lines that depend on the time of the report.
    static (string, int, int, long, long, string, int, double?) Counted(LayerReport layer) =>
        (layer.Name, layer.Maps, layer.SharedMaps, layer.SavedBytes, layer.KeptBytes, layer.KeptAs, layer.NotFinite, layer.RelativeError);

    static double Cosine(float[] a, float[] b) =>
        a.Zip(b, (x, y) => (double)x * y).Sum() / Math.Sqrt(a.Sum(x => (double)x * x) * b.Sum(x => (double)x * x));

    [Fact]
    public void A_watched_model_under_a_checkpoint_keeps_its_input_alone()
    {
        var (model, x) = (Block(), randn([2, 4, 32, 32], requires_grad: true));
        using var compression = model.CompressActivations(ActivationCodec.Dct(4));
        foreach (var first in (bool[])[true, false])
        {
            using var loss = Checkpoint.Run(model, x).square().mean();
            Assert.Empty(compression.Report().Layers);
            compression.Backward(loss);
            Assert.Empty(compression.Report().Layers);
        }
        using (var loss = model.call(x).square().mean()) compression.Backward(loss);
        Assert.NotEmpty(compression.Report().Layers);
    }

    [Fact]
    public void A_failing_second_run_is_told_by_the_compression_too()
    {
        var run = 0;
        var model = Sequential(("a", Conv2d(1, 1, 1)), ("b", new Counting(x => ++run == 1 ? x.exp() : x)));
        using var compression = model.CompressActivations(ActivationCodec.Dct(4));
        using var checkpoints = Checkpoint.Blocks(model, "b");
        using var loss = model.call(randn(2, 1, 40, 40)).sum();
        Assert.Contains(
            "block Counting", Assert.Throws<CheckpointException>(() => compression.Backward(loss)).Message, StringComparison.Ordinal);
    }

    sealed class Counting(Func<Tensor, Tensor> function) : Module<Tensor, Tensor>(nameof(Counting))
    {
        public override Tensor forward(Tensor x) => function(x);
    }

    [Fact]
    public void What_chosen_operations_save_is_kept_and_the_block_runs_again_for_the_rest_alone()
    {
        using var everything = NewDisposeScope();
        var (plain, _, _) = Step(null);
        var (all, runsOfAll, _) = Step(_ => true);
        var (some, runsOfSome, asked) = Step(operation => operation is "aten::tanh" or "aten::native_dropout");
        var (none, runsOfNone, _) = Step(_ => false);
        Assert.All([all, some, none], gradient => Assert.True(gradient.Equals(plain)));
        Assert.Equal((1, 2, 2), (runsOfAll, runsOfSome, runsOfNone));
        Assert.Contains("aten::tanh", asked);
        Assert.Contains("aten::convolution", asked);

        static (Tensor, int, HashSet<string>) Step(Func<string, bool>? keep)
        {
            random.manual_seed(5);
            var block = new CountingConvolutions();
            var x = randn(2, 3, 16, 16);
            var asked = new HashSet<string>();
            var y = keep is null ? block.call(x) : Checkpoint.Run(block, x, operation =>
            {
                asked.Add(operation);
                return keep(operation);
            });
            y.square().sum().backward();
            return (block.parameters().First().grad!, block.Runs, asked);
        }
    }

    [Fact]
    public void What_a_block_keeps_goes_through_the_hooks_around_it()
    {
        var packed = new List<string>();
        var (plain, hooked) = (Gradient(() => null), Gradient(() => SavedTensors.Hook(x =>
        {
            packed.Add(string.Join('x', x.shape));
            return x.clone();
        }, kept => ((Tensor)kept!).clone())));
        Assert.Equal(["2x3x16x16", "2x4x14x14"], packed);    // the input, and the result of tanh
        Assert.True(plain.Equals(hooked));

        static Tensor Gradient(Func<SavedTensorsScope?> hook)
        {
            random.manual_seed(5);
            var block = new CountingConvolutions();
            Tensor loss;
            using (var x = randn(2, 3, 16, 16))
            using (hook())
            using (var y = Checkpoint.Run(block, x, operation => operation == "aten::tanh"))
                loss = y.sum();
            using (loss) loss.backward();
            return block.parameters().First().grad!;
        }
    }

    sealed class CountingConvolutions : Module<Tensor, Tensor>
    {
        readonly TorchSharp.Modules.Conv2d first = Conv2d(3, 4, 3), second = Conv2d(4, 4, 3);
        public int Runs { get; private set; }
        public CountingConvolutions() : base(nameof(CountingConvolutions)) => RegisterComponents();
        public override Tensor forward(Tensor x)
        {
            Runs++;
            return second.call(first.call(x).tanh());
        }
    }
}
