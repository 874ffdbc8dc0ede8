namespace Actipress.Autograd;

/// <summary>
/// A weak reference to a tensor's storage: it tells which storage it is and whether that storage still lives, without keeping its
/// data alive. As long as this reference is held, libtorch cannot give the storage's address to another one, so equal addresses
/// mean the same storage: the identity that "one storage is packed once" rests on.
/// </summary>
/// <remarks>
/// libtorch's <c>c10::StorageImpl</c> is an <c>intrusive_ptr_target</c>: a virtual table, one 64-bit word with the strong count in
/// its low half and the weak count (plus one while strong) in its high half, then the data pointer and, four words on, the size in
/// bytes. <see cref="SelfCheck"/> proves the layout on a known tensor before it is relied on.
/// </remarks>
sealed unsafe class StorageReference : IDisposable
{
    const int TensorStorageWord = 2, CountsWord = 1, DataWord = 2, BytesWord = 6;
    const long OneWeak = 1L << 32;

    nint storage;

    StorageReference(nint storage)
    {
        this.storage = storage;
        Interlocked.Add(ref Counts(storage), OneWeak);
    }

    /// <summary>A weak reference to the storage of <paramref name="tensor"/>; the caller disposes it.</summary>
    public static StorageReference Of(Tensor tensor) => new(AddressOf(tensor));

    /// <summary>The address of the storage object.</summary>
    public nint Address => storage;

    /// <summary>Where its data are; 0 once they are gone.</summary>
    public nint Data => ((nint*)storage)[DataWord];

    /// <summary>The address of a tensor's storage object: its identity while it or a reference to it lives.</summary>
    public static nint AddressOf(Tensor tensor) => WordOf(tensor);

    /// <summary>Where a tensor keeps the address of its storage object.</summary>
    public static ref nint WordOf(Tensor tensor) => ref ((nint*)*(nint*)tensor.Handle)[TensorStorageWord];

    /// <summary>The address of the storage object of a tensor's implementation; 0 where it has none.</summary>
    public static nint AddressOf(nint implementation) => ((nint*)implementation)[TensorStorageWord];

    /// <summary>The size of the storage in bytes, of which the tensor may be a part.</summary>
    public static long BytesOf(Tensor tensor) => ((nint*)AddressOf(tensor))[BytesWord];

    /// <summary>Whether any tensor still uses the storage.</summary>
    public bool IsAlive => Users != 0;

    /// <summary>How many tensors use the storage, or hold it otherwise.</summary>
    public long Users => HoldersOf(storage);

    /// <summary>How many hold an object that libtorch counts, as it does storages and tensors' implementations.</summary>
    public static long HoldersOf(nint counted) => (uint)Interlocked.Read(ref Counts(counted));

    /// <summary>Adds a holder of an object that libtorch counts.</summary>
    public static void Retain(nint counted) => Interlocked.Increment(ref Counts(counted));

    /// <summary>Ends a hold of a counted object without content of its own, such as a text; the last one frees it.</summary>
    public static void Release(nint counted)
    {
        if ((uint)Interlocked.Decrement(ref Counts(counted)) == 0) EndWeak(counted);
    }

    /// <summary>Holds the storage as a tensor would, until <see cref="LetGo"/>; false where its data are gone.</summary>
    public bool TryHold()
    {
        ref var counts = ref Counts(storage);
        for (var known = Interlocked.Read(ref counts); (uint)known != 0;)
        {
            var seen = Interlocked.CompareExchange(ref counts, known + 1, known);
            if (seen == known) return true;
            known = seen;
        }
        return false;
    }

    /// <summary>Ends <see cref="TryHold"/> while a tensor holds the storage too.</summary>
    public void LetGo() => Interlocked.Decrement(ref Counts(storage));

    static ref long Counts(nint storage) => ref ((long*)storage)[CountsWord];

    /// <summary>Gives the reference up; the last one to go frees the storage object itself (its data went with the last tensor).</summary>
    public void Dispose()
    {
        var address = Interlocked.Exchange(ref storage, 0);
        if (address == 0) return;
        EndWeak(address);
    }

    static void EndWeak(nint counted)
    {
        if (Interlocked.Add(ref Counts(counted), -OneWeak) >> 32 == 0) CppAbi.Delete(counted);
    }

    /// <summary>Proves the layout above on a tensor whose data pointer and size are known by other means.</summary>
    /// <exception cref="PlatformNotSupportedException">Something is not where it should be.</exception>
    public static void SelfCheck()
    {
        using var outer = torch.NewDisposeScope();
        var known = torch.zeros(4, 5);
        var words = (nint*)AddressOf(known);
        Expect(words[DataWord] == LibTorch.Data(known), "the storage's data pointer");
        Expect(words[BytesWord] == 80, "the storage's size");
        Expect(words[CountsWord] == (OneWeak | 1), "a storage's counts of one strong reference");
        using var reference = Of(known);
        using (var view = known.view(20)) Expect(words[CountsWord] == (2 * OneWeak | 2), "counts of two tensors and a weak reference");
        Expect(reference.IsAlive, "a living storage");
        known.Dispose();
        Expect(!reference.IsAlive && words[DataWord] == 0, "a dead storage without data");

        static void Expect(bool holds, string what)
        {
            if (!holds) throw LibTorch.Unsupported($"something else in place of {what}", "the storage layout of libtorch 2.10.0");
        }
    }
}
