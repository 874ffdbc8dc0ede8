using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// A tensor without its data: its layout, its type, and the version counter that it shares with the original. As long as something else
/// keeps the original's storage alive, the tensor can be restored, bit for bit and without a copy.
/// </summary>
/// <remarks>
/// It is a detached tensor whose storage is replaced by an empty one. <see cref="StorageReference.SelfCheck"/> confirms the position of the
/// storage in a tensor's implementation, and <see cref="SelfCheck"/> confirms the replacement.
/// </remarks>
sealed unsafe class WeakTensor : IDisposable
{
    static readonly Tensor nothing = MakeNothing();

    readonly Tensor shell;
    readonly StorageReference storage;
    readonly long version;

    /// <param name="tensor">The original; not disposed.</param>
    /// <param name="storage">A reference to its storage, which must outlive this.</param>
    public WeakTensor(Tensor tensor, StorageReference storage)
    {
        this.storage = storage;
        shell = tensor.detach();
        shell.DetachFromDisposeScope();
        version = LibTorch.Version(shell);
        using var carrier = nothing.detach();
        (StorageOf(shell), StorageOf(carrier)) = (StorageOf(carrier), StorageOf(shell));    // the carrier now has the data
    }

    static Tensor MakeNothing()
    {
        var none = empty(0);
        none.DetachFromDisposeScope();
        return none;
    }

    static ref nint StorageOf(Tensor tensor) => ref StorageReference.WordOf(tensor);

    /// <summary>Whether the original, or another tensor of its memory, was changed in place.</summary>
    public bool IsUnchanged => LibTorch.Version(shell) == version;

    /// <summary>Returns the original again, for the caller to dispose; null where its data are gone or were changed in place.</summary>
    public Tensor? Again()
    {
        if (!IsUnchanged || !storage.TryHold()) return null;
        var empty = StorageOf(shell);
        StorageOf(shell) = storage.Address;
        try { return shell.detach(); }
        finally
        {
            StorageOf(shell) = empty;
            storage.LetGo();    // the new tensor has a reference of its own
        }
    }

    public void Dispose() => shell.Dispose();

    /// <summary>Tests the replacement of the storage on a known tensor.</summary>
    /// <exception cref="PlatformNotSupportedException">The replacement does not work.</exception>
    public static void SelfCheck()
    {
        using var outer = NewDisposeScope();
        var known = ones(2, 3);
        using var reference = StorageReference.Of(known);
        using var weak = new WeakTensor(known, reference);
        using (var again = weak.Again())
            Expect(
                again is not null && StorageReference.AddressOf(again) == reference.Address && LibTorch.Data(again) == LibTorch.Data(known)
                    && again.shape is [2, 3],
                "the tensor itself");
        Expect(reference.IsAlive, "a living storage");
        known.Dispose();
        Expect(!reference.IsAlive && weak.Again() is null, "a storage that died with its tensor");

        static void Expect(bool holds, string what)
        {
            if (!holds) throw LibTorch.Unsupported($"something else in place of {what}", "the tensor layout of libtorch 2.10.0");
        }
    }
}
