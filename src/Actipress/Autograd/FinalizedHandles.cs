using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// Keeps the tensors and scalars that the collector finalizes until no running operation can read them any more.
/// </summary>
/// <remarks>
/// <para>TorchSharp hands a number to libtorch in place of a tensor or a scalar, so that the collector may finalize the argument of an
/// operation that still runs (docs/torchsharp-scalars.md). Hooks make that likely: they run within operations, and allocate. A LeakyReLU of
/// a compressed network met a freed scalar within some ten steps.</para>
/// <para>TorchSharp frees both by two small functions. Their first instructions, a test for null, are replaced by a jump to a function
/// here. While operations are observed on some thread, that function defers the calls of the finalizer's thread until the operations that
/// run have ended, and for a moment, since an operation that is about to begin has received its arguments. All other calls free at
/// once.</para>
/// </remarks>
static unsafe class FinalizedHandles
{
    // A function of C++ that calls two operations may still read an argument of the first, or not have called an operation yet.
    const int LeastMilliseconds = 100, MostOfBatch = 20;

    // On a loaded machine the thread of such a function may not get the processor for long. A scalar takes only some bytes meanwhile, where
    // a tensor may take many.
    const int LeastMillisecondsOfScalars = 10_000;

    static readonly Lazy<PlatformNotSupportedException?> refusal = new(Install, LazyThreadSafetyMode.ExecutionAndPublication);
    static readonly Lock gate = new();
    static readonly Queue<Batch> waiting = new();
    static readonly Queue<Batch> withScalars = new();
    static Batch? newest;
    static readonly List<WeakReference<RunningOperations>> threads = [];
    static delegate* unmanaged[Cdecl]<nint, void> disposeTensor, disposeScalar;
    static volatile int finalizer;
    static volatile bool isWaiting;

    // Handles that were finalized at about one time, while the same operations ran.
    sealed class Batch(List<(RunningOperations Thread, long Number)> running)
    {
        public long Since { get; } = Environment.TickCount64;

        public List<nint> Tensors { get; } = [];

        public List<nint> Scalars { get; } = [];

        public bool IsOver => running.All(operation => operation.Thread.HasEnded(operation.Number));

        public bool Takes(List<(RunningOperations Thread, long Number)> others) =>
            Environment.TickCount64 - Since < MostOfBatch && running.SequenceEqual(others);
    }

    /// <summary>Why the functions of TorchSharp cannot be replaced here; null where they are.</summary>
    public static PlatformNotSupportedException? Refusal => refusal.Value;

    /// <summary>Whether handles wait for the end of an operation.</summary>
    public static bool IsWaiting => isWaiting;

    /// <summary>Adds the operations of a thread, for the life of the thread.</summary>
    public static void Watch(RunningOperations thread)
    {
        lock (gate)
        {
            threads.RemoveAll(other => !other.TryGetTarget(out _));
            threads.Add(new(thread));
        }
    }

    /// <summary>Frees what waited for operations that have ended.</summary>
    /// <param name="atOnce">Whether also what was finalized a moment ago is freed.</param>
    public static void Free(bool atOnce = false)
    {
        while (Next(waiting, LeastMilliseconds) is { } over)
            foreach (var tensor in over.Tensors) disposeTensor(tensor);
        while (Next(withScalars, LeastMillisecondsOfScalars) is { } over)
            foreach (var scalar in over.Scalars) disposeScalar(scalar);

        Batch? Next(Queue<Batch> queue, int least)
        {
            lock (gate)
            {
                if (!queue.TryPeek(out var over) || !over.IsOver || (!atOnce && Environment.TickCount64 - over.Since < least)) return null;
                queue.Dequeue();
                if (queue == waiting && over.Scalars.Count > 0) withScalars.Enqueue(over);
                isWaiting = waiting.Count + withScalars.Count > 0;
                return over;
            }
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void DisposeTensor(nint tensor)
    {
        if (!IsDeferred(tensor, isTensor: true)) disposeTensor(tensor);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void DisposeScalar(nint scalar)
    {
        if (!IsDeferred(scalar, isTensor: false)) disposeScalar(scalar);
    }

    static bool IsDeferred(nint handle, bool isTensor)
    {
        if (handle == 0 || Environment.CurrentManagedThreadId != finalizer) return false;
        if (isWaiting) Free();
        try
        {
            lock (gate)
            {
                var (isObserved, running) = (false, new List<(RunningOperations, long)>());
                foreach (var thread in threads)
                {
                    if (!thread.TryGetTarget(out var operations)) continue;
                    isObserved |= operations.IsObserved;
                    if (operations.RunningNumber is { } number) running.Add((operations, number));
                }
                if (!isObserved && running.Count == 0) return false;
                if (waiting.Count == 0 || !newest!.Takes(running)) waiting.Enqueue(newest = new(running));
                (isTensor ? newest.Tensors : newest.Scalars).Add(handle);
                return isWaiting = true;
            }
        }
        catch (OutOfMemoryException) { return true; }    // lost rather than freed under an operation
    }

    static PlatformNotSupportedException? Install()
    {
        try
        {
            if (!NativeLibrary.TryLoad("LibTorchSharp", typeof(torch).Assembly, null, out var library))
                throw LibTorch.Unsupported("no LibTorchSharp", "TorchSharp 0.107.0's");
            var tensors = Prepare(library, "THSTensor_dispose", (nint)(delegate* unmanaged[Cdecl]<nint, void>)&DisposeTensor);
            var scalars = Prepare(library, "THSTorch_dispose_scalar", (nint)(delegate* unmanaged[Cdecl]<nint, void>)&DisposeScalar);
            // Other threads may free a tensor while the jumps are written.
            disposeTensor = (delegate* unmanaged[Cdecl]<nint, void>)tensors.Original;
            disposeScalar = (delegate* unmanaged[Cdecl]<nint, void>)scalars.Original;
            MachineCode.Overwrite(tensors.Function, tensors.Jump);
            MachineCode.Overwrite(scalars.Function, scalars.Jump);
            Probe();
            GC.Collect(0);
            GC.WaitForPendingFinalizers();
            return null;
        }
        catch (PlatformNotSupportedException refused) { return refused; }

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Probe() => _ = new FinalizerProbe();
    }

    sealed class FinalizerProbe
    {
        ~FinalizerProbe() => finalizer = Environment.CurrentManagedThreadId;
    }

    /// <summary>
    /// Prepares to replace an exported function that begins with a test of its argument for null. Returns its address, the word with a jump
    /// to write there, and the address of a function that does what it did.
    /// </summary>
    /// <param name="library">The library that exports the function.</param>
    /// <param name="name">The function, which returns where its argument is null.</param>
    /// <param name="replacement">The function in its place.</param>
    /// <exception cref="PlatformNotSupportedException">The function begins otherwise.</exception>
    internal static (nint Function, nint Jump, nint Original) Prepare(nint library, string name, nint replacement)
    {
        // The test is: test rdi, rdi (rcx on Windows); je to a ret. It has five bytes, as many as a jump.
        const int JumpBytes = 5, Return = 0xC3;
        if (!NativeLibrary.TryGetExport(library, name, out var function)) throw LibTorch.Unsupported($"no function {name}", "one");
        var begin = new ReadOnlySpan<byte>((void*)function, sizeof(nint));
        ReadOnlySpan<byte> test = CppAbi.IsMicrosofts ? [0x48, 0x85, 0xC9, 0x74] : [0x48, 0x85, 0xFF, 0x74];
        if (!begin.StartsWith(test) || begin[4] > sbyte.MaxValue || ((byte*)function)[JumpBytes + begin[4]] != Return
            || function % sizeof(nint) != 0)
            throw LibTorch.Unsupported($"code {Convert.ToHexString(begin)} at the beginning of {name}", "a test for null");
        var code = new MachineCode(near: function);
        var jump = code.Here;
        code.Add([0x48, 0xB8], replacement);                                        // mov rax, replacement
        code.Add([0xFF, 0xE0]);                                                     // jmp rax
        var original = code.Here;
        code.Add(begin[..3]);                                                       // test rdi, rdi
        code.Add([0x75, 0x01, Return]);                                             // jne over the ret
        code.Add([0x48, 0xB8], function + JumpBytes);                               // mov rax, the rest of the function
        code.Add([0xFF, 0xE0]);                                                     // jmp rax
        code.Seal();
        Span<byte> word = stackalloc byte[sizeof(nint)];
        begin.CopyTo(word);
        word[0] = 0xE9;                                                             // jmp
        MemoryMarshal.Write(word[1..], checked((int)(jump - (function + JumpBytes))));
        return (function, MemoryMarshal.Read<nint>(word), original);
    }
}
