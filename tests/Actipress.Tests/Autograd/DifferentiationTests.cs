using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Tests.Autograd;

/// <summary><c>SavedTensors.Backward</c> and <c>Grad</c> return the same as torch's own backward and grad.</summary>
public sealed class DifferentiationTests : IDisposable
{
    readonly DisposeScope everything = NewDisposeScope();
    readonly Tensor a = tensor(new[] { 1f, 2f }, requires_grad: true), b = tensor(new[] { 3f, 5f }, requires_grad: true);

    public void Dispose() => everything.Dispose();

    static float[] Values(Tensor? tensor) => tensor is null ? [] : tensor.detach().data<float>().ToArray();

    [Fact]
    public void A_gradient_may_be_given()
    {
        SavedTensors.Backward(a * b, tensor(new[] { 1f, 10f }));
        Assert.Equal([3f, 50f], Values(a.grad));
        Assert.Equal([1f, 20f], Values(b.grad));
    }

    [Fact]
    public void Several_tensors_are_differentiated_at_once()
    {
        SavedTensors.Backward([a.square().sum(), a * b], [null, tensor(new[] { 1f, 10f })]);
        Assert.Equal([2 + 3f, 4 + 50f], Values(a.grad));
        SavedTensors.Backward([b.sum(), b.square().sum()]);
        Assert.Equal([1 + 1 + 6f, 20 + 1 + 10f], Values(b.grad));
    }

    [Fact]
    public void Only_the_inputs_get_gradients_and_one_may_be_no_leaf()
    {
        var y = a * b;
        SavedTensors.Backward(y.square().sum(), inputs: [a, y]);
        Assert.Equal([2 * 3 * 3f, 2 * 10 * 5f], Values(a.grad));
        Assert.Equal([6f, 20f], Values(y.grad));
        Assert.Null(b.grad);
    }

    [Fact]
    public void A_graph_may_be_retained_or_differentiated_again()
    {
        var y = (a * a * a).sum();
        SavedTensors.Backward(y, retainGraph: true);
        SavedTensors.Backward(y, createGraph: true);
        Assert.Equal([6f, 24f], Values(a.grad));
        SavedTensors.Backward(a.grad!.sum());
        Assert.Equal([6 + 6f, 24 + 12f], Values(a.grad));
    }

    [Fact]
    public void Grad_is_that_of_torch_and_touches_no_grad()
    {
        var y = (a * b).exp();
        var expected = autograd.grad([y], [a, b], [ones(2)], retain_graph: true);
        for (var again = 0; again < 4; again++)
        {
            var found = SavedTensors.Grad([y], [a, b], [ones(2)], retainGraph: again < 3);
            Assert.Equal(expected.Select(Values), found.Select(Values));
        }
        Assert.Null(a.grad);
        Assert.Null(b.grad);
    }

    [Fact]
    public void Grad_of_something_in_between_leaves_what_is_below_it()
    {
        var middle = a.exp();
        var gradient = SavedTensors.Grad([middle.square().sum()], [middle])[0]!;
        Assert.Equal(Values(2 * middle), Values(gradient));
        Assert.False(gradient.requires_grad);
        SavedTensors.Backward(middle, gradient);
        Assert.Equal(Values((2 * a).exp() * 2), Values(a.grad), (x, y) => Math.Abs(x - y) < 1e-3);
    }

    [Fact]
    public void An_unused_input_has_no_gradient_where_that_is_allowed()
    {
        var found = SavedTensors.Grad([a.square().sum()], [b, a], allowUnused: true);
        Assert.Null(found[0]);
        Assert.Equal([2f, 4f], Values(found[1]));
    }

    [Fact]
    public void Gradients_of_gradients_are_right_through_hooks_and_checkpoints()
    {
        foreach (var cube in (Func<Tensor>[])[
            () => a * a * a,
            () => Checkpoint.Run(x => x * x * x, a),
            () => { using (SavedTensors.Hook(x => x.clone(), x => ((Tensor)x!).clone())) return a * a * a; }])
        {
            var first = SavedTensors.Grad([cube().sum()], [a], createGraph: true)[0]!;
            Assert.True(first.requires_grad);
            Assert.Equal([3f, 12f], Values(first));
            Assert.Equal([6f, 12f], Values(SavedTensors.Grad([first.sum()], [a])[0]));
        }
    }

    [Fact]
    public void What_cannot_be_differentiated_is_refused_by_name()
    {
        void Refused(string says, Action action) =>
            Assert.Contains(says, Assert.Throws<ArgumentException>(action).Message, StringComparison.Ordinal);
        Refused("no gradient for tensor 0 of shape (2)", () => SavedTensors.Backward(a.square()));
        Refused("no gradient for tensor 1 of shape (2)", () => SavedTensors.Grad([a.sum(), a.square()], [a]));
        Refused("Found 1 gradients for 2 tensors", () => SavedTensors.Backward([a.sum(), b.sum()], [ones(1)]));
        Refused("Found no inputs", () => SavedTensors.Backward(a.sum(), inputs: []));
        Refused("Found no inputs", () => SavedTensors.Grad([a.sum()], []));
        Assert.Throws<ExternalException>(() => SavedTensors.Backward(ones(1)));
    }

    [Fact]
    public void No_tensor_is_left_behind()
    {
        a.grad = zeros_like(a);
        var y = a.square().sum();
        void Run()
        {
            SavedTensors.Backward(y, retainGraph: true);
            foreach (var gradient in SavedTensors.Grad([y], [b, a], retainGraph: true, allowUnused: true)) gradient?.Dispose();
            Assert.Throws<ExternalException>(() => SavedTensors.Grad([y], [b], retainGraph: true));
        }
        Run();
        var before = Tensor.TotalCount;
        for (var i = 0; i < 5; i++) Run();
        Assert.Equal(before, Tensor.TotalCount);
    }
}
