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
        everything.Dispose();    // the graph goes without a backward pass
        Assert.Equal(2, disposed);
    }

    sealed class CountsDisposal(Action disposed) : IDisposable
    {
        public void Dispose() => disposed();
    }

    [Fact]
    public void A_failing_pack_keeps_the_tensor_and_says_so()
    {
        using var everything = NewDisposeScope();
        var w = tensor(new[] { 1f, 2f }, requires_grad: true);
        using var scope = SavedTensors.Hook(_ => throw new InvalidDataException("no room"), x => (Tensor)x!);
        w.square().sum().backward();
        Assert.Equal([2f, 4f], w.grad!.data<float>().ToArray());
        Assert.IsType<InvalidDataException>(Assert.Single(scope.Failures));
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
        }) { Name = name };
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

        // libtorch refuses the wrong shape: that is no other thread's failure.
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
        using (SavedTensors.Hook(_ => new CountsDisposal(() => throw new InvalidDataException("disposal")), _ => ones(3))) loss = w.exp().sum();
        SavedTensors.Backward(loss);
        Assert.Contains("second time", Assert.Throws<ExternalException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
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
}
