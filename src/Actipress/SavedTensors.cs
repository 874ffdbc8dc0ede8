using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Saving;

namespace Actipress;

/// <summary>
/// Saved-tensor hooks for TorchSharp: see and replace every tensor that autograd saves for the backward pass, as PyTorch's
/// <c>torch.autograd.graph.saved_tensors_hooks</c> does.
/// </summary>
/// <remarks>
/// Scopes are per thread and nest; the innermost one wins. What was packed under a scope is unpacked by it, however often and on
/// whichever thread backward runs, also after the scope has ended. See docs/hooks.md.
/// </remarks>
public static class SavedTensors
{
    /// <summary>Until the returned scope is disposed, hands each tensor that this thread's autograd saves to <paramref name="pack"/>.</summary>
    /// <param name="pack">
    /// Gets the saved tensor, detached, and returns whatever is to be kept in its place. The tensor is disposed right after, unless
    /// <paramref name="pack"/> returns it; keep an <c>alias()</c> to hold it inside something else. It must not be changed in place.
    /// If what is returned is <see cref="IDisposable"/>, it is disposed when no graph needs it any longer; the same object may be returned
    /// for several tensors. Tensors kept inside it are to be detached from any <c>DisposeScope</c>.
    /// </param>
    /// <param name="unpack">
    /// Gets what <paramref name="pack"/> returned and gives a tensor of the original's shape, type and device. A new tensor is
    /// disposed once autograd has it; returning the kept tensor itself keeps it.
    /// </param>
    /// <returns>A scope to dispose at the end of the forward pass.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    /// <exception cref="InvalidOperationException">Hooks are forbidden here, by <see cref="Forbid"/>.</exception>
    /// <remarks>
    /// An exception in <paramref name="pack"/> cannot leave the forward pass, which is native code: the tensor counts as lost, and
    /// <c>backward()</c> throws where it needs the tensor. <see cref="SavedTensorsScope.ThrowIfFailed"/> throws the exception right after the
    /// forward pass. One in <paramref name="unpack"/> makes <c>backward()</c> throw. <see cref="Backward(Tensor)"/>
    /// throws either exception itself, and both are in <see cref="SavedTensorsScope.Failures"/>.
    /// </remarks>
    public static SavedTensorsScope Hook(Func<Tensor, object?> pack, Func<object?, Tensor> unpack)
    {
        ArgumentNullException.ThrowIfNull(pack);
        ArgumentNullException.ThrowIfNull(unpack);
        EngineHooks.EnsureInstalled();
        return SavedTensorsScope.Enter(new UserHooks(pack, unpack));
    }

    /// <summary>Until the returned scope is disposed, compresses the activation maps that this thread's autograd saves.</summary>
    /// <param name="codec">How maps are stored.</param>
    /// <returns>A scope to dispose at the end of the forward pass, or of the part of it that is to be compressed.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    /// <remarks>No layers are known here; for codecs by layer and a report use <see cref="CompressActivationsExtensions"/>.</remarks>
    public static SavedTensorsScope Compress(ActivationCodec codec) => Compress(codec, handsOutOriginals: true);

    internal static SavedTensorsScope Compress(ActivationCodec codec, bool handsOutOriginals)
    {
        ArgumentNullException.ThrowIfNull(codec);
        return EnterStore(new CompressingPolicy(new CompressionOptions().Default(codec)), handsOutOriginals);
    }

    /// <summary>
    /// Until the returned scope is disposed, moves the tensors that this thread's autograd saves to another device, and back when the
    /// backward pass asks for them, as PyTorch's <c>save_on_cpu</c> does: each storage once, parameters not at all, and what is on that
    /// device already stays as it is.
    /// </summary>
    /// <param name="device">Where to; the CPU where none is given.</param>
    /// <returns>A scope to dispose at the end of the forward pass, or of the part of it whose tensors are to be moved.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public static SavedTensorsScope Offload(torch.Device? device = null) => EnterStore(new OffloadingPolicy(device ?? torch.CPU));

    static SavedTensorsScope EnterStore(SavingPolicy policy, bool handsOutOriginals = true)
    {
        EngineHooks.EnsureInstalled();
        return SavedTensorsScope.Enter(new ActivationStore(policy, run: null) { HandsOutOriginals = handsOutOriginals });
    }

    /// <summary>Whether hooks see what this thread's autograd saves now: those of this class, of a compressed model or of a checkpoint.</summary>
    public static bool AreHooksActive => SavedTensorsScope.Active is not null;

    /// <summary>
    /// Until the result is disposed, on the same thread, refuses every hook: entering a scope of hooks, a checkpoint or a compressed model's
    /// forward pass throws. As PyTorch's <c>disable_saved_tensors_hooks</c>, for code that relies on what autograd saves being left alone.
    /// Regions nest; the innermost reason is told. A backward pass may run earlier checkpoints again.
    /// </summary>
    /// <param name="why">The message of the exception.</param>
    /// <exception cref="InvalidOperationException">Hooks are active already.</exception>
    public static IDisposable Forbid(string why)
    {
        ArgumentException.ThrowIfNullOrEmpty(why);
        return SavedTensorsScope.Forbid(why);
    }

    /// <summary>Runs <c>loss.backward()</c>; where that fails because a saved tensor could not be given back, throws the cause in place of libtorch's error.</summary>
    /// <param name="loss">A scalar; not disposed.</param>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's.</exception>
    public static void Backward(Tensor loss) => Backward(loss, gradient: null);

    /// <summary>As <see cref="Backward(Tensor)"/>, with the arguments of torch's.</summary>
    /// <param name="loss">A scalar, or a tensor whose <paramref name="gradient"/> is given; not disposed.</param>
    /// <param name="gradient">The gradient of <paramref name="loss"/>, of its shape; 1 for a scalar where none is given. Not disposed.</param>
    /// <param name="retainGraph">Whether the graph can be used again; by default where <paramref name="createGraph"/> asks for it.</param>
    /// <param name="createGraph">
    /// Whether the gradients can be differentiated themselves. A leaf and its <c>grad</c> then hold each other: <see cref="Grad"/> leaves no such cycle.
    /// </param>
    /// <param name="inputs">
    /// The tensors whose <c>grad</c> is added to, such as <c>model.parameters()</c>; by default all leaves. One that is no leaf keeps its
    /// <c>grad</c> from then on, as after <c>retain_grad()</c>.
    /// </param>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's.</exception>
    public static void Backward(Tensor loss, Tensor? gradient = null, bool? retainGraph = null, bool createGraph = false, IEnumerable<Tensor>? inputs = null)
    {
        ArgumentNullException.ThrowIfNull(loss);
        Backward([loss], [gradient], retainGraph, createGraph, inputs);
    }

    /// <summary>As <see cref="Backward(Tensor)"/>, from several tensors at once.</summary>
    /// <param name="tensors">Scalars, or tensors whose gradients are given; not disposed.</param>
    /// <param name="gradTensors">Their gradients, in the same order; null where there is none to give for a scalar. Not disposed.</param>
    /// <param name="retainGraph">Whether the graph can be used again; by default where <paramref name="createGraph"/> asks for it.</param>
    /// <param name="createGraph">Whether the gradients can be differentiated themselves.</param>
    /// <param name="inputs">The tensors whose <c>grad</c> is added to; by default all leaves.</param>
    /// <exception cref="ArgumentException">More or fewer gradients than tensors, none for a tensor of several elements, or an empty list of inputs.</exception>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's.</exception>
    public static void Backward(IEnumerable<Tensor> tensors, IEnumerable<Tensor?>? gradTensors = null, bool? retainGraph = null, bool createGraph = false, IEnumerable<Tensor>? inputs = null)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        var (outputs, leaves) = (tensors.ToArray(), inputs?.ToArray());
        if (leaves is { Length: 0 }) throw new ArgumentException("Found no inputs to give gradients to, wanted at least one, or null for all leaves.", nameof(inputs));
        BackwardPass.Run(outputs, gradTensors, nameof(gradTensors), retainGraph, createGraph, leaves);
    }

    /// <summary>
    /// The gradients of <paramref name="outputs"/> with respect to <paramref name="inputs"/>, as <c>torch.autograd.grad</c>: no tensor's
    /// <c>grad</c> is touched. In TorchSharp 0.107.0 any error inside <c>torch.autograd.grad</c> ends the process; here it is an exception.
    /// </summary>
    /// <param name="outputs">Scalars, or tensors whose gradients are given; not disposed.</param>
    /// <param name="inputs">Leaves or results of operations that <paramref name="outputs"/> were computed from; not disposed.</param>
    /// <param name="gradOutputs">The gradients of <paramref name="outputs"/>, in the same order; null where there is none to give for a scalar. Not disposed.</param>
    /// <param name="retainGraph">Whether the graph can be used again; by default where <paramref name="createGraph"/> asks for it.</param>
    /// <param name="createGraph">Whether the gradients can be differentiated themselves.</param>
    /// <param name="allowUnused">Whether an input may have no influence on the outputs: its gradient is null then.</param>
    /// <returns>A gradient of the input's shape for each input, for the caller to dispose.</returns>
    /// <exception cref="ArgumentException">More or fewer gradients than outputs, none for an output of several elements, or no inputs.</exception>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's, such as an input that is not used.</exception>
    public static Tensor?[] Grad(IEnumerable<Tensor> outputs, IEnumerable<Tensor> inputs, IEnumerable<Tensor?>? gradOutputs = null, bool? retainGraph = null, bool createGraph = false, bool allowUnused = false)
    {
        ArgumentNullException.ThrowIfNull(outputs);
        ArgumentNullException.ThrowIfNull(inputs);
        var (of, to) = (outputs.ToArray(), inputs.ToArray());
        if (to.Length == 0) throw new ArgumentException("Found no inputs to give gradients for, wanted at least one.", nameof(inputs));
        return BackwardPass.Grad(of, to, gradOutputs, nameof(gradOutputs), retainGraph ?? createGraph, createGraph, allowUnused);
    }

    /// <summary>Checks that hooks work in this process, by packing and unpacking a known tensor.</summary>
    /// <exception cref="PlatformNotSupportedException">They do not; the message says what was found and what was wanted.</exception>
    public static void SelfCheck() => EngineHooks.EnsureInstalled();

    /// <summary>
    /// Why this libtorch does not tell which of its operations run; null where it does. Without, what is kept of a map goes by the module that
    /// runs, which is known under <c>call</c> alone.
    /// </summary>
    public static string? ObserverRefusal => OperationObserver.Refusal?.Message;
}
