using System.Runtime.InteropServices;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Tests.Autograd;

public class SavedTensorsTests
{
    public static TheoryData<ForwardPass> Passes => [.. ForwardPass.All];

    [Theory, MemberData(nameof(Passes))]
    public void Identity_hooks_leave_every_gradient_equal_bit_for_bit(ForwardPass pass)
    {
        int packed = 0, unpacked = 0;
        var plain = pass.Gradients();
        var hooked = pass.Gradients(() => SavedTensors.Hook(x => { packed++; return x; }, kept => { unpacked++; return (Tensor)kept!; }));
        Assert.Equal(plain, hooked);
        Assert.True(packed > 0 && unpacked > 0, $"{packed} packed, {unpacked} unpacked");
    }

    [Theory, MemberData(nameof(Passes))]
    public void A_copy_given_back_leaves_every_gradient_equal_bit_for_bit(ForwardPass pass) =>
        Assert.Equal(pass.Gradients(), pass.Gradients(() => SavedTensors.Hook(x => x.clone(), kept => ((Tensor)kept!).clone())));

    [Fact]
    public void What_hooks_save_themselves_they_do_not_see()
    {
        var (packed, unpacked) = (0, 0);
        using var factor = ones(3, requires_grad: true);
        Tensor Multiplied(Tensor x)
        {
            using (enable_grad()) factor.mul(factor).Dispose();    // which saves the factor
            return x.clone();
        }
        using (SavedTensors.Hook(x => { packed++; return Multiplied(x); }, kept => { unpacked++; return Multiplied((Tensor)kept!); }))
        {
            using var w = arange(3f).requires_grad_();
            using var loss = w.exp().sum();
            loss.backward();
        }
        Assert.Equal((1, 1), (packed, unpacked));
    }

    [Fact]
    public void The_innermost_scope_wins_and_an_ended_scope_is_out()
    {
        using var everything = NewDisposeScope();
        var seen = new List<string>();
        SavedTensorsScope Named(string name) => SavedTensors.Hook(x => { seen.Add(name); return x; }, x => (Tensor)x!);
        var w = ones(3, requires_grad: true);
        using (Named("outer"))
        {
            _ = w.exp();
            using (Named("inner")) _ = w.exp();
            _ = w.exp();
        }
        _ = w.exp();
        Assert.Equal(["outer", "inner", "outer"], seen);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_tensor_that_pack_does_not_return_is_disposed(bool returnsIt)
    {
        using var everything = NewDisposeScope();
        var seen = new List<Tensor>();
        var w = ones(3, requires_grad: true);
        using (SavedTensors.Hook(x => { seen.Add(x); return returnsIt ? x : x.clone(); }, x => ((Tensor)x!).alias()))
        {
            var y = w.exp();
            Assert.Equal(!returnsIt, Assert.Single(seen).IsInvalid);
            y.sum().backward();
        }
        Assert.True(w.grad!.allclose(w.exp()));
    }

    [Fact]
    public void Scopes_may_end_in_any_order()
    {
        using var everything = NewDisposeScope();
        var seen = new List<string>();
        SavedTensorsScope Named(string name) => SavedTensors.Hook(x => { seen.Add(name); return x; }, x => (Tensor)x!);
        var w = ones(3, requires_grad: true);
        var outer = Named("outer");
        var inner = Named("inner");
        outer.Dispose();
        _ = w.exp();
        inner.Dispose();
        _ = w.exp();
        Assert.Equal(["inner"], seen);
    }

    [Fact]
    public void A_scope_belongs_to_its_thread()
    {
        var packed = 0;
        using var scope = SavedTensors.Hook(x => { packed++; return x; }, x => (Tensor)x!);
        var elsewhere = new Thread(() =>
        {
            using var everything = NewDisposeScope();
            _ = ones(3, requires_grad: true).exp();
        });
        elsewhere.Start();
        elsewhere.Join();
        Assert.Equal(0, packed);
    }

    [Fact]
    public void Backward_runs_on_another_thread()
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        Tensor loss;
        using (SavedTensors.Hook(x => x.clone(), x => ((Tensor)x!).clone())) loss = w.square().sum();
        loss.DetachFromDisposeScope();
        var elsewhere = new Thread(() => loss.backward());
        elsewhere.Start();
        elsewhere.Join();
        loss.Dispose();
        Assert.Equal([2f, 4f], w.grad!.data<float>().ToArray());
    }

    [Fact]
    public void A_retained_graph_unpacks_again()
    {
        using var everything = NewDisposeScope();
        var unpacked = 0;
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        Tensor loss;
        using (SavedTensors.Hook(x => x.clone(), x => { unpacked++; return ((Tensor)x!).clone(); })) loss = w.square().sum();
        loss.backward(retain_graph: true);
        loss.backward();
        Assert.Equal([4f, 8f], w.grad!.data<float>().ToArray());
        Assert.Equal(2, unpacked);
    }

    [Fact]
    public void Gradients_of_gradients_are_right()
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        using var scope = SavedTensors.Hook(x => x.clone(), x => ((Tensor)x!).clone());
        var cube = (w * w * w).sum();
        var first = autograd.grad([cube], [w], retain_graph: true, create_graph: true)[0];
        var second = autograd.grad([first.sum()], [w])[0];
        Assert.Equal([3f, 12f], first.detach().data<float>().ToArray());
        Assert.Equal([6f, 12f], second.data<float>().ToArray());
    }

    [Fact]
    public void What_was_packed_is_disposed_with_the_graph()
    {
        var disposed = 0;
        using var everything = NewDisposeScope();
        var w = ones(3, requires_grad: true);
        Tensor value;
        using (SavedTensors.Hook(_ => new CountsDisposal(() => disposed++), _ => ones(3))) value = w.exp().sum();
        Assert.Equal(0, disposed);
        value.backward();
        Assert.Equal(1, disposed);

        using (SavedTensors.Hook(_ => new CountsDisposal(() => disposed++), _ => ones(3))) value = w.exp().sum();
        everything.Dispose();    // the graph is disposed without a backward pass
        Assert.Equal(2, disposed);
    }

    sealed class CountsDisposal(Action disposed) : IDisposable
    {
        public void Dispose() => disposed();
    }

    [Fact]
    public void A_failing_pack_cannot_be_missed()
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        using var scope = SavedTensors.Hook(_ => throw new InvalidDataException("no room"), x => (Tensor)x!);
        scope.ThrowIfFailed();
        var loss = w.square().sum();
        Assert.Equal("no room", Assert.Throws<InvalidDataException>(scope.ThrowIfFailed).Message);
        Assert.Throws<ExternalException>(() => loss.backward(retain_graph: true));
        Assert.Equal("no room", Assert.Throws<InvalidDataException>(() => SavedTensors.Backward(loss, retainGraph: true)).Message);
        Assert.Equal("no room", Assert.Throws<InvalidDataException>(() => SavedTensors.Grad([loss], [w])).Message);
        Assert.IsType<InvalidDataException>(Assert.Single(scope.Failures));
        Assert.Null(w.grad);
    }

    [Fact]
    public void A_failing_pack_of_a_checkpoints_input_is_the_cause_that_is_told()
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        using var scope = SavedTensors.Hook(_ => throw new InvalidDataException("no room"), x => (Tensor)x!);
        var loss = Checkpoint.Run(x => x.square(), w).sum();
        Assert.Equal("no room", Assert.Throws<CheckpointException>(() => SavedTensors.Backward(loss)).InnerException?.Message);
    }

    [Fact]
    public void One_object_may_be_kept_for_several_tensors()
    {
        using var everything = NewDisposeScope();
        var (disposed, w) = (0, ones(3, requires_grad: true));
        var kept = new CountsDisposal(() => disposed++);
        Tensor early, late;
        using (SavedTensors.Hook(_ => kept, _ => ones(3))) (early, late) = (w.square().sum(), w.exp().sum());
        early.backward();
        Assert.Equal(0, disposed);
        late.backward();
        Assert.Equal(1, disposed);

        var one = ones(3).DetachFromDisposeScope();
        using (SavedTensors.Hook(_ => one, x => (Tensor)x!)) (early, late) = (w.square().sum(), w.exp().sum());
        early.backward();
        late.backward();
        Assert.True(one.IsInvalid);

        using var scope = SavedTensors.Hook(_ => kept, _ => ones(3));
        var again = w.square().sum();
        Assert.Contains(
            "returned a CountsDisposal again that was disposed with an earlier graph",
            Assert.Throws<InvalidOperationException>(() => SavedTensors.Backward(again)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void It_is_told_who_disposed_a_kept_tensor()
    {
        using var everything = NewDisposeScope();
        var w = ones(3, requires_grad: true);
        string Told(Func<Tensor, object?> pack, Func<object?, Tensor> unpack)
        {
            Tensor loss;
            using (SavedTensors.Hook(pack, unpack)) loss = w.square().sum();
            return Assert.Throws<InvalidOperationException>(() => SavedTensors.Backward(loss)).Message;
        }
        var mine = ones(3);
        using (SavedTensors.Hook(_ => mine, x => (Tensor)x!))
        {
            var loss = w.square().sum();
            mine.Dispose();
            Assert.StartsWith(
                "The tensor that the pack function returned had been disposed by the program",
                Assert.Throws<InvalidOperationException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
        }
        Assert.StartsWith("A tensor that the unpack function uses had been disposed by the program, or by the DisposeScope in which it was "
            + "made (DetachFromDisposeScope keeps it)", Told(
                x =>
                {
                    using var inner = NewDisposeScope();
                    return (object)new[] { x.alias() };
                }, x => ((Tensor[])x!)[0].alias()), StringComparison.Ordinal);
        Assert.StartsWith("The tensor that the unpack function returned had been disposed by the function itself", Told(x => "", x =>
        {
            var y = ones(3);
            y.Dispose();
            return y;
        }), StringComparison.Ordinal);
    }

    [Fact]
    public void It_is_known_whether_hooks_are_active()
    {
        using var everything = NewDisposeScope();
        var (seen, w) = (new List<bool>(), ones(3, requires_grad: true));
        Assert.False(SavedTensors.AreHooksActive);
        using (SavedTensors.Hook(x => { seen.Add(SavedTensors.AreHooksActive); return x; }, x => (Tensor)x!))
        {
            Assert.True(SavedTensors.AreHooksActive);
            w.exp();
            OnThread(null, () => Assert.False(SavedTensors.AreHooksActive));
        }
        Assert.Equal([false], seen);
        Assert.False(SavedTensors.AreHooksActive);
        Checkpoint.Run(x => { seen.Add(SavedTensors.AreHooksActive); return x.exp(); }, w);
        Assert.Equal([false, true], seen);
    }

    [Fact]
    public void Hooks_can_be_forbidden_for_a_region()
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        SavedTensorsScope Hook() => SavedTensors.Hook(x => x, x => (Tensor)x!);
        var earlier = Checkpoint.Run(x => Checkpoint.Run(y => y.square(), x), w).sum();
        var forbidden = SavedTensors.Forbid("outer");
        using (SavedTensors.Forbid("inner")) Assert.Equal("inner", Assert.Throws<InvalidOperationException>(Hook).Message);
        foreach (var enter in (Action[])[
            () => Hook(), () => SavedTensors.Offload(), () => SavedTensors.Compress(ActivationCodec.Half),
            () => Checkpoint.Run(x => x.exp(), w),
        ])
            Assert.Equal("outer", Assert.Throws<InvalidOperationException>(enter).Message);
        OnThread(null, () => Hook().Dispose());
        earlier.backward();
        Assert.Equal([2f, 4f], w.grad!.data<float>().ToArray());
        forbidden.Dispose();
        forbidden.Dispose();
        using (Hook())
            Assert.Contains(
                "cannot be forbidden. why not", Assert.Throws<InvalidOperationException>(() => SavedTensors.Forbid("why not")).Message,
                StringComparison.Ordinal);
    }

    [Fact]
    public void A_failing_unpack_makes_backward_throw_and_the_process_lives()
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        using var scope = SavedTensors.Hook(x => x, _ => throw new InvalidDataException("lost"));
        var loss = w.square().sum();
        Assert.ThrowsAny<Exception>(() => loss.backward());
        Assert.IsType<InvalidDataException>(Assert.Single(scope.Failures));
    }

    static Tensor LossThat(string fails, Action? first = null)
    {
        using (SavedTensors.Hook(x => x, _ =>
        {
            first?.Invoke();
            throw new InvalidDataException(fails);
        }))
            return ones(3, requires_grad: true).square().sum().DetachFromDisposeScope();
    }

    static void OnThread(string? name, Action action)
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try { action(); }
            catch (Exception thrown) { failure = thrown; }
        });
        thread.Name = name;
        thread.Start();
        thread.Join();
        Assert.Null(failure);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_backward_pass_tells_of_its_own_failure_and_not_of_another_threads(bool otherIsPlain)
    {
        void Elsewhere() => OnThread(null, () =>
        {
            using var theirs = LossThat("theirs");
            Assert.ThrowsAny<Exception>(() => { if (otherIsPlain) theirs.backward(); else SavedTensors.Backward(theirs); });
        });
        using var mine = LossThat("mine", first: Elsewhere);
        Assert.Equal("mine", Assert.Throws<InvalidDataException>(() => SavedTensors.Backward(mine)).Message);

        // libtorch refuses the wrong shape. This failure belongs to no other thread.
        using var w = ones(3, requires_grad: true);
        using var scope = SavedTensors.Hook(x => x, _ =>
        {
            Elsewhere();
            return ones(7);
        });
        using var wrong = w.square().sum();
        Assert.Throws<ExternalException>(() => SavedTensors.Backward(wrong));
    }

    [Fact]
    public void A_failure_on_the_engines_threads_is_told_where_this_thread_has_none()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libtorch's threads have names on Linux alone");
        using var failures = new UnpackFailures();
        OnThread("pt_autograd_0", () => UnpackFailures.Tell(new InvalidDataException("on a GPU")));
        Assert.Equal("on a GPU", failures.First?.Message);
        UnpackFailures.Tell(new InvalidDataException("here"));
        Assert.Equal("here", failures.First?.Message);
    }

    [Fact]
    public void What_was_packed_may_fail_to_be_disposed_without_being_the_cause_of_anything()
    {
        using var everything = NewDisposeScope();
        var w = ones(3, requires_grad: true);
        Tensor loss;
        using (SavedTensors.Hook(_ => new CountsDisposal(() => throw new InvalidDataException("disposal")), _ => ones(3)))
            loss = w.exp().sum();
        SavedTensors.Backward(loss);
        Assert.Contains(
            "second time", Assert.Throws<ExternalException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_tensor_of_another_shape_or_none_makes_backward_throw(bool none)
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f, 3f }, requires_grad: true);
        using var scope = SavedTensors.Hook(x => x, _ => none ? null! : ones(7));
        var loss = w.square().sum();
        Assert.ThrowsAny<Exception>(() => loss.backward());
    }

    // A product unpacks both of its factors, one after the other.
    [Theory, InlineData(true), InlineData(false)]
    public void Of_two_failures_in_one_pass_the_first_is_the_cause(bool throughBackward)
    {
        using var everything = torch.NewDisposeScope();
        var (asked, x) = (0, torch.randn([4], requires_grad: true));
        torch.Tensor loss;
        using (SavedTensors.Hook(saved => saved, _ => throw new InvalidTimeZoneException($"failure {++asked}")))
            loss = x.exp().mul(x.sin()).sum();
        var failure = Assert.ThrowsAny<Exception>(() => { if (throughBackward) SavedTensors.Backward(loss); else loss.backward(); });
        Assert.Equal(2, asked);
        while (failure.InnerException is { } inner) failure = inner;
        Assert.Equal("failure 1", failure.Message);
    }
}
