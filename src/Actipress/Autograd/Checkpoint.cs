using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Recomputation in place of memory (Chen et al. 2016), as PyTorch's non-reentrant <c>torch.utils.checkpoint</c>. Only the block's input is
/// kept of the tensors that autograd saves inside a block, and the backward pass runs the block again.
/// </summary>
/// <remarks>
/// <para>The second run starts from the random state and the autocast settings of the first run, so that dropout is the same and the
/// gradients are those of the plain run, bit for bit. The second run does not change the model's buffers, so that batch norm counts each
/// batch once; PyTorch counts it twice. Tensors of the second run are disposed at its end, except those that the block detaches from its
/// <c>DisposeScope</c>.</para>
/// <para>A kept input passes the saved-tensor hooks that are active around the block: under
/// <see cref="CompressActivationsExtensions.CompressActivations(nn.Module, ActivationCodec)"/> it is compressed, and the block runs again
/// on the rebuilt input. Checkpoints may nest. Where a second run fails or differs from the first, <c>backward()</c> throws, and
/// <c>SavedTensors.Backward</c> throws the <see cref="CheckpointException"/> with the cause. See docs/comparators.md.</para>
/// </remarks>
public static class Checkpoint
{
    /// <summary>Runs <paramref name="block"/> by <c>call</c>, and again in the backward pass.</summary>
    /// <param name="block">Must do the same both times.</param>
    /// <param name="x">Its input, which it must not change in place; not disposed.</param>
    /// <returns>The block's output, which the caller disposes.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public static Tensor Run(nn.Module<Tensor, Tensor> block, Tensor x)
    {
        ArgumentNullException.ThrowIfNull(block);
        ArgumentNullException.ThrowIfNull(x);
        using var run = CheckpointFrame.Start(block, [block], inputs => block.call(inputs[0]!), [x]);
        return block.call(x);
    }

    /// <summary>As <see cref="Run(nn.Module{Tensor, Tensor}, Tensor)"/>, but what chosen operations save is kept.</summary>
    /// <param name="block">Must do the same both times.</param>
    /// <param name="x">Its input, which it must not change in place; not disposed.</param>
    /// <param name="keep">
    /// Called with the name of an operation of libtorch, such as <c>aten::_softmax</c>. Returns whether the tensors that the operation
    /// saves are kept, as they would be without the checkpoint (compressed, under a compression). The block does not run again as long as
    /// no other tensor is needed.
    /// </param>
    /// <returns>The block's output, which the caller disposes.</returns>
    /// <exception cref="PlatformNotSupportedException">
    /// This platform or libtorch has no place for the hooks, or does not report its operations.
    /// </exception>
    public static Tensor Run(nn.Module<Tensor, Tensor> block, Tensor x, Func<string, bool> keep)
    {
        ArgumentNullException.ThrowIfNull(block);
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(keep);
        if (OperationObserver.Refusal is { } refusal) throw new PlatformNotSupportedException(refusal.Message, refusal);
        using var run = CheckpointFrame.Start(block, [block], inputs => block.call(inputs[0]!), [x], keep);
        return block.call(x);
    }

    /// <summary>Runs <paramref name="function"/>, and again in the backward pass.</summary>
    /// <param name="function">Must do the same both times.</param>
    /// <param name="x">Its input, which it must not change in place; not disposed.</param>
    /// <param name="modules">
    /// What it runs: the second run leaves the buffers of these as they are, and is refused where one of their parameters has been changed
    /// since the first, as by <c>optimizer.step()</c> between forward and backward.
    /// </param>
    /// <returns>The function's result, which the caller disposes.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public static Tensor Run(Func<Tensor, Tensor> function, Tensor x, params nn.Module[] modules)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentNullException.ThrowIfNull(x);
        return Run(inputs => [function(inputs[0])], [x], modules)[0];
    }

    /// <summary>As <see cref="Run(Func{Tensor, Tensor}, Tensor, nn.Module[])"/>, for a function of several tensors.</summary>
    /// <param name="function">
    /// Must do the same both times. Objects that it uses beside its inputs must live until the backward pass.
    /// </param>
    /// <param name="inputs">
    /// The inputs, of any type and device; not changed in place, not disposed. A null input is null for the function too.
    /// </param>
    /// <param name="modules">
    /// What it runs: the second run leaves the buffers of these as they are, and is refused where one of their parameters has been changed
    /// since the first, as by <c>optimizer.step()</c> between forward and backward.
    /// </param>
    public static Tensor[] Run(Func<Tensor[], Tensor[]> function, Tensor?[] inputs, params nn.Module[] modules)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(modules);
        using var run = CheckpointFrame.Start(null, modules, again => function(again!), inputs);
        return function(inputs!);
    }

    /// <summary>
    /// Runs modules one after the other in <paramref name="segments"/> parts of equal length; the last part also takes the remaining
    /// modules. All parts but the last are checkpoints: the backward pass reaches the last part first, so that a checkpoint there would
    /// free no memory in time.
    /// </summary>
    /// <param name="modules">Such as the children of a <c>Sequential</c>.</param>
    /// <param name="segments">The number of parts: 1 for no checkpoint, at most the number of modules.</param>
    /// <param name="x">The input, which is not disposed. Each result between two modules is disposed.</param>
    /// <returns>The last module's output, which the caller disposes.</returns>
    /// <exception cref="ArgumentException">The number of segments is below 1 or above the number of modules.</exception>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public static Tensor Sequential(IEnumerable<nn.Module<Tensor, Tensor>> modules, int segments, Tensor x)
    {
        ArgumentNullException.ThrowIfNull(modules);
        ArgumentNullException.ThrowIfNull(x);
        var all = modules.ToArray();
        if (segments < 1 || segments > all.Length)
            throw new ArgumentException(
                $"{all.Length} modules cannot be run in {segments} segments: wanted 1 to {all.Length}.", nameof(segments));
        var length = all.Length / segments;
        var y = x;
        for (var segment = 0; segment < segments; segment++)
        {
            var isLast = segment == segments - 1;
            var part = isLast ? all[(segment * length)..] : all[(segment * length)..((segment + 1) * length)];
            var next = isLast ? Through(part, y) : Run(input => Through(part, input), y, part);
            if (!ReferenceEquals(y, x)) y.Dispose();
            y = next;
        }
        return y;
    }

    static Tensor Through(nn.Module<Tensor, Tensor>[] modules, Tensor x)
    {
        var y = x;
        foreach (var module in modules)
        {
            var next = module.call(y);
            if (!ReferenceEquals(y, x)) y.Dispose();
            y = next;
        }
        return y;
    }

    /// <summary>
    /// From now on these parts of <paramref name="model"/> run as checkpoints wherever the model runs them by <c>call</c>. The model's code
    /// need not change.
    /// </summary>
    /// <param name="model">Any TorchSharp model.</param>
    /// <param name="names">
    /// Names of submodules as in the state dictionary, such as <c>layer1</c>. Each takes one tensor or several, of which some may be null,
    /// beside numbers, booleans and strings, and may return anything. A submodule inside another named one is a checkpoint inside a
    /// checkpoint.
    /// </param>
    /// <returns>Disposing this ends the checkpoints. Blocks that ran before can still be run again by a backward pass.</returns>
    /// <exception cref="ArgumentException">
    /// The model has no such submodule, or the submodule has other inputs, such as a tuple of tensors. The message lists the submodules
    /// that can be named.
    /// </exception>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public static IDisposable Blocks(nn.Module model, params string[] names)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(names);
        EngineHooks.EnsureInstalled();
        return new CheckpointedBlocks(model, names);
    }
}
