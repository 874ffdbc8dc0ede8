using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Distributed;
using Actipress.Distributed.Nccl;
using Actipress.Tests.Gpu;
using static TorchSharp.torch;

namespace Actipress.Tests.Distributed;

/// <summary>
/// NCCL in C#. Its functions take and check the arguments of the real functions, and reduce the CPU's memory of the ranks by MPI. It can be
/// told to fail.
/// </summary>
static unsafe class StandInNccl
{
    const int Success = 0, InvalidArgument = 4, InvalidUsage = 5;
    const nint Communicator = 0xC0;

    /// <summary>The calls, in order.</summary>
    public static List<string> Calls { get; } = [];

    public static int Version { get; set; } = 22703;

    /// <summary>The error codes that its functions return, by their names.</summary>
    public static Dictionary<string, int> Failures { get; } = [];

    /// <summary>The names of functions that it lacks.</summary>
    public static HashSet<string> Missing { get; } = [];

    /// <summary>The arguments with which ranks were initialised.</summary>
    public static byte[] Id { get; private set; } = [];

    public static NcclLibrary Open() => new(Symbol, "a stand-in");

    public static TorchStream Stream() => new(StandInDriver.Open(), 0, StandInDriver.CurrentStream);

    static nint Symbol(string name) => Missing.Contains(name) ? 0 : name switch
    {
        "ncclGetVersion" => (nint)(delegate* unmanaged[Cdecl]<int*, int>)&GetVersion,
        "ncclGetUniqueId" => (nint)(delegate* unmanaged[Cdecl]<byte*, int>)&GetUniqueId,
        "ncclCommInitRank" => (nint)(delegate* unmanaged[Cdecl]<nint*, int, NcclLibrary.UniqueId, int, int>)&CommInitRank,
        "ncclCommDestroy" => (nint)(delegate* unmanaged[Cdecl]<nint, int>)&CommDestroy,
        "ncclCommAbort" => (nint)(delegate* unmanaged[Cdecl]<nint, int>)&CommAbort,
        "ncclCommGetAsyncError" => (nint)(delegate* unmanaged[Cdecl]<nint, int*, int>)&CommGetAsyncError,
        "ncclAllReduce" => (nint)(delegate* unmanaged[Cdecl]<nint, nint, nuint, int, int, nint, nint, int>)&AllReduce,
        "ncclBroadcast" => (nint)(delegate* unmanaged[Cdecl]<nint, nint, nuint, int, int, nint, nint, int>)&Broadcast,
        "ncclGetErrorString" => (nint)(delegate* unmanaged[Cdecl]<int, nint>)&GetErrorString,
        _ => 0,
    };

    static int Said(string call, string name)
    {
        lock (Calls) Calls.Add(call);
        return StandInDriver.Current == StandInDriver.TorchContext ? Failures.GetValueOrDefault(name) : InvalidUsage;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetVersion(int* version)
    {
        *version = Version;
        return Success;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetUniqueId(byte* id)
    {
        new Random(5).NextBytes(new Span<byte>(id, 128));
        return Failures.GetValueOrDefault("ncclGetUniqueId");
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int CommInitRank(nint* communicator, int size, NcclLibrary.UniqueId id, int rank)
    {
        Id = ((ReadOnlySpan<byte>)id).ToArray();
        *communicator = Communicator;
        return Said($"begin {rank} of {size}", "ncclCommInitRank");
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int CommDestroy(nint communicator) => communicator == Communicator ? Said("end", "ncclCommDestroy") : InvalidArgument;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int CommAbort(nint communicator) => communicator == Communicator ? Said("abort", "ncclCommAbort") : InvalidArgument;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int CommGetAsyncError(nint communicator, int* error)
    {
        *error = Failures.GetValueOrDefault("a collective");
        return communicator == Communicator ? Success : InvalidArgument;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int AllReduce(nint from, nint to, nuint count, int type, int operation, nint communicator, nint stream)
    {
        if (from != to || communicator != Communicator || stream == StandInDriver.TorchStream || stream == 0) return InvalidArgument;
        var (of, bytes) =
            type switch { 7 => (ScalarType.Float32, 4), 8 => (ScalarType.Float64, 8), 4 => (ScalarType.Int64, 8), _ => default };
        if (bytes == 0) return InvalidArgument;
        var by = operation switch { 2 => ReduceOp.Max, 3 => ReduceOp.Min, _ => ReduceOp.Sum };
        Ranks.World.Collectives?.AllReduce(to, (long)count, of, bytes, by, TimeSpan.FromMinutes(1));
        return Said($"reduce {count} {of} by {operation}", "ncclAllReduce");
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Broadcast(nint from, nint to, nuint count, int type, int root, nint communicator, nint stream)
    {
        if (from != to || communicator != Communicator || type != 1) return InvalidArgument;
        if (stream == StandInDriver.TorchStream || stream == 0) return InvalidArgument;
        Ranks.World.Collectives?.Broadcast(to, (long)count, root, TimeSpan.FromMinutes(1));
        return Said($"broadcast {count} of {root}", "ncclBroadcast");
    }

    static readonly nint words = Marshal.StringToCoTaskMemUTF8("unhandled cuda error");

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint GetErrorString(int error) => words;
}
