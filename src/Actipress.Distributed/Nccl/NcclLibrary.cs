using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Distributed.Nccl;

/// <summary>NVIDIA's library of collectives between GPUs: the functions of its C interface that ranks need.</summary>
sealed unsafe class NcclLibrary
{
    /// <summary>The variable that names the file of a library with another name or place.</summary>
    public const string Variable = "ACTIPRESS_NCCL";

    /// <summary>The oldest version with all functions that are called: ncclCommAbort and asynchronous errors came with 2.4.</summary>
    public const int OldestVersion = 2400;

    const int Success = 0, InProgress = 7;

    /// <summary>The unique id that rank 0 makes and all ranks pass: 128 bytes, by value.</summary>
    [InlineArray(Bytes)]
    public struct UniqueId
    {
        public const int Bytes = 128;

        byte first;
    }

    readonly delegate* unmanaged[Cdecl]<UniqueId*, int> getUniqueId;
    readonly delegate* unmanaged[Cdecl]<nint*, int, UniqueId, int, int> commInitRank;
    readonly delegate* unmanaged[Cdecl]<nint, int> commDestroy, commAbort;
    readonly delegate* unmanaged[Cdecl]<nint, int*, int> commGetAsyncError;
    readonly delegate* unmanaged[Cdecl]<nint, nint, nuint, int, int, nint, nint, int> allReduce, broadcast;
    readonly delegate* unmanaged[Cdecl]<int, nint> getErrorString;

    /// <summary>The installed library; null where there is none.</summary>
    public static NcclLibrary? Here => here.Value;

    static readonly Lazy<NcclLibrary?> here = new(() =>
    {
        if (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named)
            return NativeLibrary.TryLoad(named, out var own) ? new(Exports(own), named)
                : throw new PlatformNotSupportedException($"{Variable} names {named}: found no library there, wanted NCCL's libnccl.so.2.");
        // PyTorch's own builds contain NCCL in libtorch_cuda.so.
        if (LibTorch.SymbolIn("libtorch_cuda.so", "ncclCommInitRank") != 0) return new(name => LibTorch.SymbolIn("libtorch_cuda.so", name),
            "libtorch_cuda.so");
        return NativeLibrary.TryLoad("libnccl.so.2", out var library) ? new(Exports(library), "libnccl.so.2") : null;
    });

    static Func<string, nint> Exports(nint library) => name => NativeLibrary.TryGetExport(library, name, out var address) ? address : 0;

    /// <param name="symbol">Returns the address of one of the library's functions; 0 where it has none of that name.</param>
    /// <param name="file">The file of the library, for messages.</param>
    /// <exception cref="PlatformNotSupportedException">The library is too old.</exception>
    public NcclLibrary(Func<string, nint> symbol, string file)
    {
        getErrorString = (delegate* unmanaged[Cdecl]<int, nint>)Symbol("ncclGetErrorString");
        getUniqueId = (delegate* unmanaged[Cdecl]<UniqueId*, int>)Symbol("ncclGetUniqueId");
        commInitRank = (delegate* unmanaged[Cdecl]<nint*, int, UniqueId, int, int>)Symbol("ncclCommInitRank");
        commDestroy = (delegate* unmanaged[Cdecl]<nint, int>)Symbol("ncclCommDestroy");
        commAbort = (delegate* unmanaged[Cdecl]<nint, int>)Symbol("ncclCommAbort");
        commGetAsyncError = (delegate* unmanaged[Cdecl]<nint, int*, int>)Symbol("ncclCommGetAsyncError");
        allReduce = (delegate* unmanaged[Cdecl]<nint, nint, nuint, int, int, nint, nint, int>)Symbol("ncclAllReduce");
        broadcast = (delegate* unmanaged[Cdecl]<nint, nint, nuint, int, int, nint, nint, int>)Symbol("ncclBroadcast");
        int version;
        Check(((delegate* unmanaged[Cdecl]<int*, int>)Symbol("ncclGetVersion"))(&version), "ncclGetVersion");
        if (version < OldestVersion) throw new PlatformNotSupportedException($"{file} is NCCL of version code {version}: " +
            $"wanted {OldestVersion} (2.4) or newer.");
        Version = $"NCCL {Dotted(version)} ({file})";

        nint Symbol(string name) =>
            symbol(name) is var address and not 0 ? address : throw new PlatformNotSupportedException($"{file} has no {name}: wanted " +
            $"NCCL 2.4 or newer.");
    }

    // 2804 is version 2.8.4. Since 2.9 the number has five digits: 21805 is 2.18.5.
    static string Dotted(int code) =>
        code < 10_000 ? $"{code / 1000}.{code % 1000 / 100}.{code % 100}" : $"{code / 10_000}.{code % 10_000 / 100}.{code % 100}";

    /// <summary>The library's name, version and file.</summary>
    public string Version { get; }

    public byte[] MakeUniqueId()
    {
        UniqueId id = default;
        Check(getUniqueId(&id), "ncclGetUniqueId");
        return ((ReadOnlySpan<byte>)id).ToArray();
    }

    /// <summary>Makes a communicator of all ranks that pass the same id. Returns when all have called it.</summary>
    public nint Begin(ReadOnlySpan<byte> id, int rank, int size)
    {
        UniqueId own = default;
        id.CopyTo(own);
        nint communicator;
        Check(commInitRank(&communicator, size, own, rank), "ncclCommInitRank");
        return communicator;
    }

    public void End(nint communicator) => Check(commDestroy(communicator), "ncclCommDestroy");

    public void Abort(nint communicator) => commAbort(communicator);

    public void AllReduce(nint data, long elements, int type, int operation, nint communicator, nint stream) =>
        Check(allReduce(data, data, (nuint)elements, type, operation, communicator, stream), "ncclAllReduce");

    public void Broadcast(nint data, long elements, int type, int root, nint communicator, nint stream) =>
        Check(broadcast(data, data, (nuint)elements, type, root, communicator, stream), "ncclBroadcast");

    /// <summary>Throws where an asynchronous error has occurred: a rank has ended, or the network is down.</summary>
    public void ThrowIfFailed(nint communicator)
    {
        int error;
        Check(commGetAsyncError(communicator, &error), "ncclCommGetAsyncError");
        if (error != InProgress) Check(error, "a collective of NCCL's");
    }

    void Check(int result, string doing)
    {
        if (result is not (Success or InProgress)) throw new RanksException($"{doing} " +
            $"failed: {Marshal.PtrToStringUTF8(getErrorString(result))} (error {result}). NCCL_DEBUG=WARN in the environment says more.");
    }
}
