using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

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
    /// If what is returned is <see cref="IDisposable"/>, it is disposed when the graph needs it no longer. Tensors kept inside it are
    /// to be detached from any <c>DisposeScope</c>.
    /// </param>
    /// <param name="unpack">
    /// Gets what <paramref name="pack"/> returned and gives a tensor of the original's shape, type and device. A new tensor is
    /// disposed once autograd has it; returning the kept tensor itself keeps it.
    /// </param>
    /// <returns>A scope to dispose at the end of the forward pass.</returns>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    /// <remarks>
    /// An exception in <paramref name="pack"/> leaves the tensor as it is; one in <paramref name="unpack"/> makes <c>backward()</c>
    /// throw. Both are recorded in <see cref="SavedTensorsScope.Failures"/>.
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

    /// <summary>Runs <c>loss.backward()</c>; where that fails because a saved tensor could not be given back, throws the cause in place of libtorch's error.</summary>
    /// <param name="loss">A scalar; not disposed.</param>
    /// <exception cref="CheckpointException">A checkpoint's block could not be run again, or not as the first time.</exception>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    public static void Backward(Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        using var failures = new UnpackFailures();
        try { loss.backward(); }
        catch (ExternalException) when (failures.First is not null) { ExceptionDispatchInfo.Throw(failures.First); }
    }

    /// <summary>Checks that hooks work in this process, by packing and unpacking a known tensor.</summary>
    /// <exception cref="PlatformNotSupportedException">They do not; the message says what was found and what was wanted.</exception>
    public static void SelfCheck() => EngineHooks.EnsureInstalled();

    sealed class UserHooks(Func<Tensor, object?> pack, Func<object?, Tensor> unpack) : SavedTensorHooks
    {
        public override SavedTensor Pack(Tensor tensor)
        {
            // An output's own graph node holds what is kept of it: keeping the output with its graph would be a cycle.
            var detached = tensor.detach();
            object? kept = null;
            try
            {
                kept = pack(detached);
                return new Kept(kept, unpack);
            }
            finally
            {
                if (ReferenceEquals(kept, detached)) detached.DetachFromDisposeScope();
                else detached.Dispose();
            }
        }

        sealed class Kept : SavedTensor
        {
            readonly object? kept;
            readonly Func<object?, Tensor> unpack;

            public Kept(object? kept, Func<object?, Tensor> unpack)
            {
                (this.kept, this.unpack) = (kept, unpack);
                (kept as Tensor)?.DetachFromDisposeScope();
            }

            public override Tensor Unpack()
            {
                var tensor = unpack(kept) ?? throw new InvalidOperationException("The unpack function returned no tensor.");
                return ReferenceEquals(tensor, kept) ? tensor.alias() : tensor;
            }

            public override void Dispose() => (kept as IDisposable)?.Dispose();
        }
    }
}
