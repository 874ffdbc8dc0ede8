using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Saving;

namespace Actipress;

/// <summary>
/// Saved-tensor hooks for TorchSharp: see and replace every tensor that autograd saves for the backward pass, as PyTorch's
/// <c>torch.autograd.graph.saved_tensors_hooks</c> does.
/// </summary>
/// <remarks>
/// Scopes belong to a thread and nest; the innermost scope wins. A scope unpacks the tensors that it has packed, however often and on
/// whichever thread backward runs, also after the scope has ended. See docs/hooks.md.
/// </remarks>
public static class SavedTensors
{
    /// <summary>
    /// Until the returned scope is disposed, hands each tensor that this thread's autograd saves to <paramref name="pack"/>.
    /// </summary>
    /// <param name="pack">
    /// Receives the saved tensor, detached, and returns the object that is kept in its place. The tensor is disposed right after, unless
    /// <paramref name="pack"/> returns it; an <c>alias()</c> of it may be kept inside another object. The tensor must not be changed in
    /// place. If the returned object is <see cref="IDisposable"/>, it is disposed when no graph needs it any longer. The same object may be
    /// returned for several tensors. Tensors inside it must be detached from any <c>DisposeScope</c>.
    /// </param>
    /// <param name="unpack">
    /// Receives the object that <paramref name="pack"/> returned, and returns a tensor of the original's shape, type and device. A new
    /// tensor is disposed once autograd has it. If the kept tensor itself is returned, it is kept.
    /// </param>
    /// <returns>A scope to dispose at the end of the forward pass.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    /// <exception cref="InvalidOperationException">Hooks are forbidden here, by <see cref="Forbid"/>.</exception>
    /// <remarks>
    /// An exception in <paramref name="pack"/> cannot leave the forward pass, which is native code: the tensor counts as lost, and
    /// <c>backward()</c> throws where it needs the tensor. <see cref="SavedTensorsScope.ThrowIfFailed"/> throws the exception right after
    /// the forward pass. An exception in <paramref name="unpack"/> makes <c>backward()</c> throw. <see cref="Backward(Tensor)"/> throws
    /// either exception itself, and both are in <see cref="SavedTensorsScope.Failures"/>.
    /// </remarks>
    public static SavedTensorsScope Hook(Func<Tensor, object?> pack, Func<object?, Tensor> unpack)
    {
        ArgumentNullException.ThrowIfNull(pack);
        ArgumentNullException.ThrowIfNull(unpack);
        EngineHooks.EnsureInstalled();
        return SavedTensorsScope.Enter(new UserHooks(pack, unpack));
    }

    /// <summary>Until the returned scope is disposed, compresses the activation maps that this thread's autograd saves.</summary>
    /// <param name="codec">The codec of the maps.</param>
    /// <returns>A scope to dispose at the end of the forward pass, or of the compressed part of it.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    /// <remarks>Layers are not known here. <see cref="CompressActivationsExtensions"/> has codecs by layer and a report.</remarks>
    public static SavedTensorsScope Compress(ActivationCodec codec) => Compress(codec, handsOutOriginals: true);

    internal static SavedTensorsScope Compress(ActivationCodec codec, bool handsOutOriginals)
    {
        ArgumentNullException.ThrowIfNull(codec);
        return EnterStore(new CompressingPolicy(new CompressionOptions().Default(codec)), handsOutOriginals);
    }

    /// <summary>
    /// Until the returned scope is disposed, moves the tensors that this thread's autograd saves to another device, and back when the
    /// backward pass needs them, as PyTorch's <c>save_on_cpu</c>. Each storage is moved once. Parameters, and tensors that are on that
    /// device already, stay as they are.
    /// </summary>
    /// <param name="device">The device to move to; by default the CPU.</param>
    /// <returns>A scope to dispose at the end of the forward pass, or of the part of it whose tensors are moved.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public static SavedTensorsScope Offload(torch.Device? device = null) => EnterStore(new OffloadingPolicy(device ?? torch.CPU));

    static SavedTensorsScope EnterStore(SavingPolicy policy, bool handsOutOriginals = true)
    {
        EngineHooks.EnsureInstalled();
        return SavedTensorsScope.Enter(new ActivationStore(policy, run: null) { HandsOutOriginals = handsOutOriginals });
    }

    /// <summary>
    /// Whether hooks receive the tensors that this thread's autograd saves now: hooks of this class, of a compressed model or of a
    /// checkpoint.
    /// </summary>
    public static bool AreHooksActive => SavedTensorsScope.Active is not null;

    /// <summary>
    /// Until the result is disposed, on the same thread, refuses every hook: entering a scope of hooks, a checkpoint or a compressed
    /// model's forward pass throws. This is PyTorch's <c>disable_saved_tensors_hooks</c>, for code that relies on autograd's saved tensors
    /// being unchanged. Regions nest; the exception has the innermost reason. A backward pass may run earlier checkpoints again.
    /// </summary>
    /// <param name="why">The message of the exception.</param>
    /// <exception cref="InvalidOperationException">Hooks are active already.</exception>
    public static IDisposable Forbid(string why)
    {
        ArgumentException.ThrowIfNullOrEmpty(why);
        return SavedTensorsScope.Forbid(why);
    }

    /// <summary>
    /// Runs <c>loss.backward()</c>. Where it fails because a saved tensor could not be unpacked, it throws the cause in place of libtorch's
    /// error.
    /// </summary>
    /// <param name="loss">A scalar; not disposed.</param>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's.</exception>
    public static void Backward(Tensor loss) => Backward(loss, gradient: null);

    /// <summary>As <see cref="Backward(Tensor)"/>, with the arguments of torch's.</summary>
    /// <param name="loss">A scalar, or a tensor whose <paramref name="gradient"/> is given; not disposed.</param>
    /// <param name="gradient">
    /// The gradient of <paramref name="loss"/>, of its shape; 1 for a scalar where none is given. Not disposed.
    /// </param>
    /// <param name="retainGraph">Whether the graph can be used again; by default where <paramref name="createGraph"/> asks for it.</param>
    /// <param name="createGraph">
    /// Whether the gradients can be differentiated themselves. A leaf and its <c>grad</c> then hold each other: <see cref="Grad"/> leaves
    /// no such cycle.
    /// </param>
    /// <param name="inputs">
    /// The tensors whose <c>grad</c> is added to, such as <c>model.parameters()</c>; by default all leaves. A tensor that is no leaf keeps
    /// its <c>grad</c> from then on, as after <c>retain_grad()</c>.
    /// </param>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's.</exception>
    public static void Backward(
        Tensor loss, Tensor? gradient = null, bool? retainGraph = null, bool createGraph = false, IEnumerable<Tensor>? inputs = null)
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
    /// <exception cref="ArgumentException">
    /// The numbers of gradients and tensors differ, a tensor of several elements has no gradient, or the list of inputs is empty.
    /// </exception>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's.</exception>
    public static void Backward(
        IEnumerable<Tensor> tensors, IEnumerable<Tensor?>? gradTensors = null, bool? retainGraph = null, bool createGraph = false,
        IEnumerable<Tensor>? inputs = null)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        var (outputs, leaves) = (tensors.ToArray(), inputs?.ToArray());
        if (leaves is { Length: 0 })
            throw new ArgumentException(
                "Found no inputs to give gradients to, wanted at least one, or null for all leaves.", nameof(inputs));
        BackwardPass.Run(outputs, gradTensors, nameof(gradTensors), retainGraph, createGraph, leaves);
    }

    /// <summary>
    /// The gradients of <paramref name="outputs"/> with respect to <paramref name="inputs"/>, as <c>torch.autograd.grad</c>: no tensor's
    /// <c>grad</c> changes. In TorchSharp 0.107.0 any error inside <c>torch.autograd.grad</c> ends the process; here it is an exception.
    /// </summary>
    /// <param name="outputs">Scalars, or tensors whose gradients are given; not disposed.</param>
    /// <param name="inputs">Leaves or results of operations that <paramref name="outputs"/> were computed from; not disposed.</param>
    /// <param name="gradOutputs">
    /// The gradients of <paramref name="outputs"/>, in the same order; null where there is none to give for a scalar. Not disposed.
    /// </param>
    /// <param name="retainGraph">Whether the graph can be used again; by default where <paramref name="createGraph"/> asks for it.</param>
    /// <param name="createGraph">Whether the gradients can be differentiated themselves.</param>
    /// <param name="allowUnused">Whether an input may have no influence on the outputs. Its gradient is then null.</param>
    /// <returns>A gradient of the input's shape for each input, for the caller to dispose.</returns>
    /// <exception cref="ArgumentException">
    /// The numbers of gradients and outputs differ, an output of several elements has no gradient, or there are no inputs.
    /// </exception>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    /// <exception cref="ExternalException">Any other error of libtorch's, such as an input that is not used.</exception>
    public static Tensor?[] Grad(
        IEnumerable<Tensor> outputs, IEnumerable<Tensor> inputs, IEnumerable<Tensor?>? gradOutputs = null, bool? retainGraph = null,
        bool createGraph = false, bool allowUnused = false)
    {
        ArgumentNullException.ThrowIfNull(outputs);
        ArgumentNullException.ThrowIfNull(inputs);
        var (of, to) = (outputs.ToArray(), inputs.ToArray());
        if (to.Length == 0) throw new ArgumentException("Found no inputs to give gradients for, wanted at least one.", nameof(inputs));
        return BackwardPass.Grad(of, to, gradOutputs, nameof(gradOutputs), retainGraph ?? createGraph, createGraph, allowUnused);
    }

    /// <summary>Checks that hooks work in this process, by packing and unpacking a known tensor.</summary>
    /// <exception cref="PlatformNotSupportedException">
    /// The hooks do not work; the message says what was found and what was wanted.
    /// </exception>
    public static void SelfCheck() => EngineHooks.EnsureInstalled();

    /// <summary>
    /// Why this libtorch does not report which of its operations run; null where it does. Without these reports the treatment of a map
    /// follows from the running module, which is known under <c>call</c> only.
    /// </summary>
    public static string? ObserverRefusal => OperationObserver.Refusal?.Message;

    /// <summary>
    /// Why the tensors and scalars that the collector finalizes are not kept until running operations have ended; null where they are.
    /// Without this, an operation with a number, such as a LeakyReLU, may fail or compute with another number.
    /// </summary>
    public static string? FinalizerRefusal => FinalizedHandles.Refusal?.Message;
}
