using Actipress.Autograd;
using Actipress.Tests.Saving;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Autograd;

/// <summary>The observer reports the operation that saves each tensor. The class is one list of scenarios.</summary>
public class OperationObserverTests
{
    static OperationObserverTests() => SavedTensors.SelfCheck();

    /// <summary>
    /// Records for each saved tensor the running operations, innermost first, and the positions at which the innermost operation has the
    /// tensor.
    /// </summary>
    sealed class Recording : SavedTensorHooks
    {
        public List<(string Operations, string Places)> Saved { get; } = [];
        public Action<Tensor>? Within { get; set; }

        public override bool WatchesOperations => true;

        public override SavedTensor Pack(Tensor tensor)
        {
            var running = OperationObserver.Running;
            var names = new List<string>();
            for (var level = 0; level < running?.Depth; level++) names.Add(running.At(level).Operation.Name);
            var places = new List<int>();
            if (names.Count > 0)
                for (var i = 0; i < running!.At(0).ArgumentCount; i++)
                    if (running.At(0).Arguments[i] == OperationObserver.Implementation(tensor)) places.Add(i);
            lock (Saved) Saved.Add((string.Join(" < ", names), string.Join(",", places)));
            Within?.Invoke(tensor);
            return new PassedOn(tensor);
        }

        public IEnumerable<string> Innermost => Saved.Select(saved => saved.Operations.Split(" < ")[0]);
    }

    static List<(string Operations, string Places)> Record(Func<Tensor> run)
    {
        var hooks = new Recording();
        using (SavedTensorsScope.Enter(hooks)) run().Dispose();
        Assert.Null(OperationObserver.Running);
        return hooks.Saved;
    }

    static Tensor Wanted(params long[] shape) => randn(shape, requires_grad: true);

    [Fact]
    public void Each_save_is_told_with_the_operations_around_it_and_the_places_of_its_argument()
    {
        using var everything = NewDisposeScope();
        var (x, w) = (Wanted(2, 3, 8, 8), Wanted(4, 3, 3, 3));
        Assert.Equal([("aten::mul", "1"), ("aten::mul", "0")], Record(() => x * x.sign()).Where(saved => saved.Places.Length > 0)
            .DistinctBy(saved => saved.Places).OrderByDescending(saved => saved.Places));
        Assert.All(Record(() => x * x), saved => Assert.Equal(("aten::mul", "0,1"), saved));
        Assert.Equal(
            [("aten::convolution < aten::conv2d", "0"), ("aten::convolution < aten::conv2d", "1")], Record(() => functional.conv2d(x, w)));
        Assert.Equal([("aten::relu", "")], Record(() => x.relu()));
        Assert.Equal([("aten::mm < aten::matmul", "1"), ("aten::mm < aten::matmul", "0")], Record(() => Wanted(3, 4).matmul(Wanted(4, 5))));
        Assert.Equal(
            [
                ("aten::native_layer_norm < aten::layer_norm", "0"), ("aten::native_layer_norm < aten::layer_norm", ""),
                ("aten::native_layer_norm < aten::layer_norm", ""),
            ],
            Record(() => functional.layer_norm(x, [8])));
    }

    [Fact]
    public void In_place_operations_are_told_by_their_own_names_with_what_they_copy_before()
    {
        using var everything = NewDisposeScope();
        var (x, y) = (Wanted(4, 5), Wanted(4, 5));
        Assert.Equal("aten::relu_", Assert.Single(Record(() => x.exp().relu_()), saved => saved.Operations == "aten::relu_").Operations);
        // The product x * y in place saves a copy of its first factor from before the change, and its second factor.
        var saved = Record(() => x.neg().mul_(y))
            .Where(save => save.Operations.StartsWith("aten::mul_", StringComparison.Ordinal)).ToArray();
        Assert.Equal(["1", ""], saved.Select(save => save.Places).OrderDescending());
        Assert.True(Operation.Called("aten::mul_").IsInPlace && !Operation.Called("aten::mul").IsInPlace
            && !Operation.Called("aten::__and__").IsInPlace);
        Assert.Equal("mul", Operation.Called("aten::mul_").ShortName);
    }

    [Fact]
    public void Numbers_among_the_arguments_are_told()
    {
        using var everything = NewDisposeScope();
        var (x, numbers) = (Wanted(4), (0.0, 0.0));
        using (SavedTensorsScope.Enter(new Recording
        {
            Within = _ => numbers = (OperationObserver.Running!.At(0).Numbers[1], OperationObserver.Running.At(0).Numbers[2]),
        }))
            functional.hardtanh(x, -1.5, 2.5);
        Assert.Equal((-1.5, 2.5), numbers);
    }

    [Fact]
    public void Each_thread_has_its_own_operations()
    {
        var (here, there, both) = (new Recording(), new Recording(), new Barrier(2));
        var failure = (Exception?)null;
        var thread = new Thread(() =>
        {
            try { Run(there, x => x.sigmoid()); }
            catch (Exception caught) { failure = caught; }
        });
        thread.Start();
        Run(here, x => x.tanh());
        thread.Join();
        Assert.Null(failure);
        Assert.All(here.Innermost, name => Assert.Equal("aten::tanh", name));
        Assert.All(there.Innermost, name => Assert.Equal("aten::sigmoid", name));
        Assert.Equal((200, 200), (here.Saved.Count, there.Saved.Count));
        Assert.Null(OperationObserver.Running);

        void Run(Recording hooks, Func<Tensor, Tensor> operation)
        {
            using var everything = NewDisposeScope();
            var x = Wanted(16);
            using (SavedTensorsScope.Enter(hooks))
                for (var i = 0; i < 200; i++)
                {
                    if (i % 50 == 0) both.SignalAndWait();
                    operation(x).Dispose();
                }
            Assert.Null(OperationObserver.Running);
        }
    }

    [Fact]
    public void Without_gradients_nothing_is_saved_and_the_operations_stay_balanced()
    {
        using var everything = NewDisposeScope();
        var (x, hooks) = (Wanted(4, 4), new Recording());
        using (SavedTensorsScope.Enter(hooks))
        {
            using (no_grad()) x.exp().matmul(x).relu();
            using (inference_mode()) x.exp().matmul(x).relu();
            Assert.Empty(hooks.Saved);
            Assert.Equal(0, OperationObserver.Running!.Depth);
            x.exp();
        }
        Assert.Equal([("aten::exp", "")], hooks.Saved);
    }

    [Fact]
    public void Within_the_second_run_of_a_checkpoint_operations_are_known()
    {
        using var everything = NewDisposeScope();
        var (x, within) = (Wanted(8, 8), new List<int>());
        var hooks = new Recording();
        Tensor loss;
        using (SavedTensorsScope.Enter(hooks))
        {
            using var block = Checkpoint.Run(v =>
            {
                // The block opens a scope of its own, which sees both runs.
                using (SavedTensorsScope.Enter(hooks)) return v.sigmoid();
            }, x * 1);
            loss = block.exp().sum();
            within.Add(OperationObserver.Running!.Depth);
        }
        loss.backward();
        Assert.Equal([0], within);
        Assert.All(
            hooks.Innermost.Where(name => name.Length > 0 && name != "aten::exp"),
            name => Assert.Contains(name, (string[])["aten::sigmoid", "aten::mul"]));
        Assert.Contains("aten::sigmoid", hooks.Innermost);
        Assert.Null(OperationObserver.Running);
        Assert.False(Observed());
    }

    // Whether libtorch still calls back on this thread.
    static unsafe bool Observed() => ((delegate* unmanaged[Cdecl]<byte>)LibTorch.Symbol("_ZN2at23hasThreadLocalCallbacksEv"))() != 0;

    [Fact]
    public void The_callbacks_go_with_the_last_scope_in_whatever_order_scopes_end()
    {
        using var everything = NewDisposeScope();
        var (x, hooks) = (Wanted(4), new Recording());
        Assert.False(Observed());
        foreach (var order in (int[][])[[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]])
        {
            SavedTensorsScope[] scopes =
            [
                SavedTensorsScope.Enter(hooks), SavedTensors.Hook(kept => kept, kept => (Tensor)kept!), SavedTensorsScope.Enter(hooks),
            ];
            for (var i = 0; i < 3; i++)
            {
                x.exp().Dispose();
                scopes[order[i]].Dispose();
            }
            Assert.Null(OperationObserver.Running);
            Assert.False(Observed());
        }
        Assert.All(hooks.Saved, saved => Assert.Equal(("aten::exp", ""), saved));
    }

    [Fact]
    public void A_scope_that_ends_on_another_thread_takes_the_callbacks_along()
    {
        using var everything = NewDisposeScope();
        var (x, scope) = (Wanted(4), SavedTensorsScope.Enter(new Recording()));
        Assert.True(Observed());
        var thread = new Thread(scope.Dispose);
        thread.Start();
        thread.Join();
        x.exp().Dispose();    // this thread notices it when it saves a tensor
        Assert.Null(OperationObserver.Running);
        Assert.False(Observed());
    }

    [Fact]
    public void A_scope_that_is_opened_within_an_operation_sees_the_next_ones()
    {
        using var everything = NewDisposeScope();
        var (x, w) = (Wanted(2, 3, 8, 8), Wanted(4, 3, 3, 3));
        var (inner, depths, opened) = (new Recording(), new List<int>(), (SavedTensorsScope?)null);
        using (var outer = SavedTensors.Hook(kept => { opened ??= SavedTensorsScope.Enter(inner); return kept; }, kept => (Tensor)kept!))
        {
            functional.conv2d(x, w).sum().Dispose();
            x.exp().tanh().Dispose();
            depths.Add(OperationObserver.Running!.Depth);
        }
        opened!.Dispose();
        Assert.Equal([0], depths);
        // The convolution began before the scope, so its saved tensors are not known and stay exact.
        Assert.Equal(["", "aten::exp", "aten::tanh"], inner.Innermost);
        Assert.Null(OperationObserver.Running);
        Assert.False(Observed());
    }

    [Fact]
    public void A_scope_that_ends_within_an_operation_leaves_the_operations_balanced()
    {
        using var everything = NewDisposeScope();
        var (x, w) = (Wanted(2, 3, 8, 8), Wanted(4, 3, 3, 3));
        var first = new Recording();
        var scope = SavedTensorsScope.Enter(first);
        var second = (SavedTensorsScope?)null;
        var hooks = new Recording();
        first.Within = _ =>
        {
            scope.Dispose();
            if (Observed()) return;
            second ??= SavedTensorsScope.Enter(hooks);    // the callbacks go off and on again inside aten::convolution
        };
        functional.conv2d(x, w).Dispose();
        Assert.Equal(0, OperationObserver.Running!.Depth);
        x.exp().Dispose();
        second!.Dispose();
        Assert.Equal("aten::exp", hooks.Saved[^1].Operations);
        Assert.Null(OperationObserver.Running);
        Assert.False(Observed());
    }

    [Fact]
    public void An_operation_that_throws_ends_like_any_other()
    {
        using var everything = NewDisposeScope();
        var (a, b, hooks) = (Wanted(3, 4), Wanted(5, 6), new Recording());
        using (SavedTensorsScope.Enter(hooks))
        {
            for (var i = 0; i < 100; i++)
            {
                // matmul has no guard in TorchSharp 0.107.0: its errors end the process, with or without hooks
                Assert.ThrowsAny<Exception>(() => a.mm(b));
                Assert.ThrowsAny<Exception>(() => functional.conv2d(a, b));
                Assert.ThrowsAny<Exception>(() => a.view(7));
                Assert.ThrowsAny<Exception>(() => einsum("ij,jk->ik", a, b));
                Assert.Equal(0, OperationObserver.Running!.Depth);
            }
            hooks.Saved.Clear();
            a.exp().Dispose();
        }
        Assert.Equal([("aten::exp", "")], hooks.Saved);
    }

    [Fact]
    public void Operations_may_be_nested_deeper_than_there_were_frames()
    {
        const int Deep = 100;
        using var everything = NewDisposeScope();
        var (x, deepest) = (Wanted(4), 0);
        var hooks = new Recording();
        var inner = SavedTensors.Hook(kept => kept, kept => (Tensor)kept!);
        inner.Dispose();
        // Each save runs an operation that saves. A scope inside the callback makes the saves nest.
        void Nest(Tensor tensor)
        {
            deepest = Math.Max(deepest, OperationObserver.Running!.Depth);
            if (deepest >= Deep) return;
            SavedTensorsScope.RunApart(hooks, () =>
            {
                using var tracked = enable_grad();
                x.exp().Dispose();
            });
            Assert.Equal("aten::exp", OperationObserver.Running!.At(0).Operation.Name);
        }
        hooks.Within = Nest;
        using (var scope = SavedTensorsScope.Enter(hooks))
        {
            x.exp().Dispose();
            Assert.Equal(0, OperationObserver.Running!.Depth);
            Assert.Empty(scope.Failures);
        }
        Assert.Equal(Deep, deepest);
        Assert.All(hooks.Innermost, name => Assert.Equal("aten::exp", name));
        Assert.Null(OperationObserver.Running);
    }

    [Fact]
    public void A_call_allocates_nothing()
    {
        const int Operations = 10_000;
        using var everything = NewDisposeScope();
        using var nothing = no_grad();
        var x = randn(4, 4);
        var (plain, watched) = (Allocated(), 0L);
        using (SavedTensorsScope.Enter(new Recording())) watched = Allocated();
        // a tenth of a byte for each operation allows for the runtime's own allocations
        Assert.InRange(watched - plain, long.MinValue, Operations / 10);

        long Allocated()
        {
            for (var i = 0; i < 100; i++) x.softmax(0).Dispose();
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < Operations; i++) x.softmax(0).Dispose();
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    [Fact]
    public void A_backward_pass_leaves_the_callbacks_as_they_are()
    {
        using var everything = NewDisposeScope();
        var (x, hooks) = (Wanted(8), new Recording());
        // A scope that ends on another thread is noticed within the backward pass, because libtorch restores this thread's callbacks after
        // each node.
        for (var round = 0; round < 20; round++)
        {
            var scope = SavedTensorsScope.Enter(hooks);
            var loss = x.exp().tanh().sum();
            var thread = new Thread(scope.Dispose);
            thread.Start();
            thread.Join();
            foreach (var gradient in SavedTensors.Grad([loss], [x], createGraph: true)) gradient!.Dispose();
            x.exp().Dispose();
            Assert.Null(OperationObserver.Running);
            Assert.False(Observed(), $"round {round}");
        }
        // A scope that is opened within the pass and stays open sees the operations that follow.
        SavedTensorsScope? opened = null;
        using (SavedTensors.Hook(kept => kept, kept => { opened ??= SavedTensorsScope.Enter(hooks); return (Tensor)kept!; }))
        using (var loss = x.exp().sum()) loss.backward();
        hooks.Saved.Clear();
        x.exp().Dispose();
        opened!.Dispose();
        Assert.Equal([("aten::exp", "")], hooks.Saved);
        x.exp().Dispose();
        Assert.Null(OperationObserver.Running);
        Assert.False(Observed());
    }

    [Fact]
    public void Compiled_operations_have_their_own_arguments()
    {
        using var everything = NewDisposeScope();
        using var script = jit.compile("def f(a, b, c):\n  return torch.mul(a, torch.tanh(torch.div(b, c)))\n");
        var (a, b, c) = (Wanted(4), Wanted(4), Wanted(4));
        var saved = Record(() => (Tensor)script.invoke("f", a, b, c));
        Assert.Equal(
            [("aten::div", "0"), ("aten::div", "1")], saved.Where(save => save.Operations == "aten::div").OrderBy(save => save.Places));
    }

    // The test runs alone in its process, because the switch is read at the first use.
    [Fact]
    public void Without_the_callbacks_modules_tell_what_is_needed() =>
        ChildProcess.RunScenario(typeof(OperationObserverTests), nameof(Modules_tell_what_is_needed));

    [Fact(Explicit = true)]
    public void Modules_tell_what_is_needed()
    {
        AppContext.SetSwitch(OperationObserver.Switch, false);
        Assert.Contains(OperationObserver.Switch, SavedTensors.ObserverRefusal, StringComparison.Ordinal);
        using var everything = NewDisposeScope();
        using var model = Sequential(
            ("conv1", Conv2d(3, 8, 3, padding: 1)), ("relu", ReLU()), ("pool", MaxPool2d(2)), ("conv2", Conv2d(8, 8, 3, padding: 1)),
            ("norm", BatchNorm2d(8)), ("tanh", Tanh()));
        var x = functional.interpolate(randn(2, 3, 8, 8), scale_factor: [4.0, 4.0], mode: InterpolationMode.Bilinear, align_corners: false);
        model.call(x).square().mean().backward();
        var plain = Gradients();
        foreach (var codec in (ActivationCodec[])[ThroughStore.Lossless, ActivationCodec.Dct(4)])
            foreach (var byForward in (bool[])[false, true])
            {
                using var compression = model.CompressActivations(codec);
                model.zero_grad();
                using (var y = byForward ? model.forward(x) : model.call(x)) y.square().mean().backward();
                Assert.Null(OperationObserver.Running);
                var report = compression.Report();
                Assert.Equal(0, report.LiveBytes);
                Assert.DoesNotContain(report.Notes, note => note.Contains("no operation", StringComparison.Ordinal)
                    || note.Contains(" by .", StringComparison.Ordinal) || note.Contains(" by ,", StringComparison.Ordinal));
                if (!byForward) Assert.Equal(["relu", "pool", "conv2", "norm", "tanh"], report.Layers.Select(layer => layer.Name));
                if (codec != ThroughStore.Lossless) Assert.True(report.KeptBytes < report.SavedBytes / 2, report.ToString());
                else Assert.All(plain.Zip(Gradients()), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * plain.Max(Math.Abs)));
            }

        double[] Gradients() => [.. model.parameters().SelectMany(p => p.grad!.data<float>().ToArray()).Select(g => (double)g)];
    }

    // The test runs alone in its process, because finalizers of other tests change the level by megabytes.
    [Fact]
    public void Thousands_of_steps_leave_nothing_behind() =>
        ChildProcess.RunScenario(typeof(OperationObserverTests), nameof(Steps_of_all_kinds_leave_nothing_behind));

    [Fact(Explicit = true)]
    public void Steps_of_all_kinds_leave_nothing_behind()
    {
        // libtorch's threads and the runtime's compiler take up to 9 MB in the first thousand steps, also in plain steps
        const int Warm = 1000, Steps = Warm + 2000;
        set_num_threads(1);
        using var model = Sequential(Conv2d(1, 4, 3, padding: 1), ReLU(), Conv2d(4, 4, 3, padding: 1), Tanh(), Flatten(), Linear(256, 4));
        using var compression = model.CompressActivations(options => options.Default(ActivationCodec.Dct(4)).SmallestBytes(0));
        using var x = randn(2, 1, 8, 8);
        (long Native, long Managed, long Tensors) level = default;
        for (var step = 0; step < Steps; step++)
        {
            using (NewDisposeScope())
            {
                var y = step % 2 == 0 ? model.call(x) : model.forward(x);
                var loss = y.square().sum();
                if (step % 3 == 0)
                {
                    SavedTensors.Backward(loss, retainGraph: true);
                    loss.backward();
                }
                else if (step % 100 != 1) loss.backward();    // in the other steps there is no backward pass
                // Operations and a model fail too.
                if (step % 250 == 2) Assert.ThrowsAny<Exception>(() => model.forward(y));
                if (step % 250 == 3) Assert.ThrowsAny<Exception>(() => model.call(y));
                model.zero_grad();
            }
            if (step == Warm) level = Level();
        }
        Assert.Equal(0, compression.LiveBytes);
        var after = Level();
        Assert.True(after.Native - level.Native < 2 << 20 && after.Managed - level.Managed < 1 << 17, $"{level} before, {after} after");
        Assert.Equal(level.Tensors, after.Tensors);
        compression.Dispose();
        Assert.Null(OperationObserver.Running);
        Assert.False(Observed());

        static (long Native, long Managed, long Tensors) Level()
        {
            for (var i = 0; i < 3; i++) AllocatorMeter.Settle();
            return (AllocatorMeter.CurrentBytes, GC.GetTotalMemory(forceFullCollection: true), Tensor.TotalCount);
        }
    }
}
