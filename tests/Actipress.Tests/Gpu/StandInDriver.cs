using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Gpu;

namespace Actipress.Tests.Gpu;

/// <summary>
/// A CUDA driver in C#. Its functions have the arguments of the real functions, and it runs the given PTX on <see cref="PtxMachine"/>, in
/// the CPU's memory. It can be told to fail.
/// </summary>
static unsafe class StandInDriver
{
    public const nint TorchContext = 0x1234, TorchStream = 0x5678;
    public const int OutOfMemory = 2, UnsupportedPtx = 222;

    static readonly List<PtxMachine> modules = [];
    [ThreadStatic] static Stack<nint>? entered;

    /// <summary>The current context of this thread; 0 for none.</summary>
    public static nint Current => entered is { Count: > 0 } ? entered.Peek() : 0;

    /// <summary>The properties of the driver and its GPU.</summary>
    public static int Version { get; set; } = 12080;

    public static int Major { get; set; } = 8;

    /// <summary>The error codes that its functions return, by their names.</summary>
    public static Dictionary<string, int> Failures { get; } = [];

    /// <summary>The names of functions that it lacks.</summary>
    public static HashSet<string> Missing { get; } = [];

    public static int Launches { get; private set; }

    public static CudaDriver Open() => new(Symbol);

    /// <summary>Makes a device of this driver, whose memory is the CPU's.</summary>
    public static CudaDevice MakeDevice() => new(Open(), torch.CPU, CurrentStream);

    /// <summary>libtorch's current stream.</summary>
    public static nint CurrentStream => (nint)(delegate* unmanaged[Cdecl]<int, nint*, int>)&GetStream;

    public static void Reset()
    {
        (Version, Major) = (12080, 8);
        Failures.Clear();
        Missing.Clear();
        Waits.Clear();
        Pinned.Clear();
        Events.Clear();
        Busy = false;
    }

    static nint Symbol(string name) => Missing.Contains(name) ? 0 : name switch
    {
        "cuInit" => (nint)(delegate* unmanaged[Cdecl]<uint, int>)&Init,
        "cuDriverGetVersion" => (nint)(delegate* unmanaged[Cdecl]<int*, int>)&GetVersion,
        "cuDeviceGetCount" => (nint)(delegate* unmanaged[Cdecl]<int*, int>)&GetCount,
        "cuDeviceGet" => (nint)(delegate* unmanaged[Cdecl]<int*, int, int>)&GetDevice,
        "cuDeviceGetName" => (nint)(delegate* unmanaged[Cdecl]<byte*, int, int, int>)&GetName,
        "cuDeviceGetAttribute" => (nint)(delegate* unmanaged[Cdecl]<int*, int, int, int>)&GetAttribute,
        "cuDevicePrimaryCtxRetain" => (nint)(delegate* unmanaged[Cdecl]<nint*, int, int>)&Retain,
        "cuCtxPushCurrent_v2" => (nint)(delegate* unmanaged[Cdecl]<nint, int>)&Push,
        "cuCtxPopCurrent_v2" => (nint)(delegate* unmanaged[Cdecl]<nint*, int>)&Pop,
        "cuModuleLoadDataEx" => (nint)(delegate* unmanaged[Cdecl]<nint*, byte*, uint, int*, nint*, int>)&Load,
        "cuModuleGetFunction" => (nint)(delegate* unmanaged[Cdecl]<nint*, nint, byte*, int>)&GetFunction,
        "cuLaunchKernel" =>
            (nint)(delegate* unmanaged[Cdecl]<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)&Launch,
        "cuMemGetInfo_v2" => (nint)(delegate* unmanaged[Cdecl]<nuint*, nuint*, int>)&MemoryInfo,
        "cuStreamCreate" => (nint)(delegate* unmanaged[Cdecl]<nint*, uint, int>)&CreateStream,
        "cuStreamWaitEvent" => (nint)(delegate* unmanaged[Cdecl]<nint, nint, uint, int>)&WaitEvent,
        "cuEventCreate" => (nint)(delegate* unmanaged[Cdecl]<nint*, uint, int>)&CreateEvent,
        "cuEventRecord" => (nint)(delegate* unmanaged[Cdecl]<nint, nint, int>)&RecordEvent,
        "cuEventQuery" => (nint)(delegate* unmanaged[Cdecl]<nint, int>)&QueryEvent,
        "cuEventSynchronize" => (nint)(delegate* unmanaged[Cdecl]<nint, int>)&SynchronizeEvent,
        "cuEventDestroy_v2" => (nint)(delegate* unmanaged[Cdecl]<nint, int>)&DestroyEvent,
        "cuMemHostAlloc" => (nint)(delegate* unmanaged[Cdecl]<nint*, nuint, uint, int>)&HostAllocate,
        "cuMemFreeHost" => (nint)(delegate* unmanaged[Cdecl]<nint, int>)&FreeHost,
        "cuMemcpyDtoHAsync_v2" or "cuMemcpyHtoDAsync_v2" => (nint)(delegate* unmanaged[Cdecl]<nint, nint, nuint, nint, int>)&Copy,
        "cuGetErrorName" => (nint)(delegate* unmanaged[Cdecl]<int, byte**, int>)&ErrorName,
        "cuGetErrorString" => (nint)(delegate* unmanaged[Cdecl]<int, byte**, int>)&ErrorName,
        _ => 0,
    };

    static int Result(string name) => Failures.GetValueOrDefault(name);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Init(uint flags) => Result("cuInit");

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetVersion(int* version)
    {
        *version = Version;
        return Result("cuDriverGetVersion");
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetCount(int* count)
    {
        *count = 1;
        return Result("cuDeviceGetCount");
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetDevice(int* device, int index)
    {
        *device = 70 + index;
        return Result("cuDeviceGet");
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetName(byte* name, int length, int device)
    {
        "A stand-in\0"u8.CopyTo(new Span<byte>(name, length));
        return device == 70 ? 0 : 101;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetAttribute(int* value, int attribute, int device)
    {
        *value = attribute switch { 75 => Major, 76 => 0, _ => -1 };
        return *value < 0 || device != 70 ? 1 : 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Retain(nint* context, int device)
    {
        *context = TorchContext;
        return device == 70 ? Result("cuDevicePrimaryCtxRetain") : 101;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Push(nint context)
    {
        (entered ??= []).Push(context);
        return Result("cuCtxPushCurrent_v2");
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Pop(nint* context)
    {
        *context = Current;
        return entered!.TryPop(out _) ? 0 : 201;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Load(nint* module, byte* image, uint options, int* names, nint* values)
    {
        if (Current != TorchContext) return 201;
        if (Result("cuModuleLoadDataEx") is var failure and not 0)
        {
            "ptxas says no\0"u8.CopyTo(new Span<byte>((void*)values[0], (int)values[1]));
            return failure;
        }
        modules.Add(new PtxMachine(Marshal.PtrToStringUTF8((nint)image)!));
        *module = modules.Count;
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetFunction(nint* function, nint module, byte* name)
    {
        *function = 1000 + module;
        return modules[(int)module - 1].Entry == Marshal.PtrToStringUTF8((nint)name) ? 0 : 500;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Launch(
        nint function, uint groups, uint y, uint z, uint threads, uint threadsY, uint threadsZ, uint sharedBytes, nint stream,
        void** arguments, void** extra)
    {
        if (Current != TorchContext || stream != TorchStream || (y, z, threadsY, threadsZ) != (1, 1, 1, 1)) return 1;
        if (Result("cuLaunchKernel") is var failure and not 0) return failure;
        Launches++;
        try { modules[(int)function - 1001].Run((int)groups, (int)threads, (byte**)arguments); }
        catch (Exception wrong)
        {
            Console.Error.WriteLine(wrong);
            return 700;
        }
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int MemoryInfo(nuint* free, nuint* total)
    {
        (*free, *total) = (1u << 30, 3u << 30);
        return Current == TorchContext ? 0 : 201;
    }

    const nint OwnStream = 0x9ABC;

    /// <summary>The events that were created and not destroyed.</summary>
    public static ConcurrentDictionary<nint, nint> Events { get; } = [];

    /// <summary>The bytes of pinned memory that was allocated and not freed, by address.</summary>
    public static Dictionary<nint, long> Pinned { get; } = [];

    /// <summary>While it is set no event completes, as during copies.</summary>
    public static bool Busy { get; set; }

    /// <summary>The streams that waited, and the stream that each waited for, in order.</summary>
    public static List<string> Waits { get; } = [];

    static long lastEvent = 5000;

    static string NameOf(nint stream) => stream switch { TorchStream => "torch", OwnStream => "aside", _ => "nobody" };

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int CreateStream(nint* stream, uint flags)
    {
        *stream = OwnStream;
        return flags == 1 && Current == TorchContext ? Result("cuStreamCreate") : 1;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int WaitEvent(nint stream, nint mark, uint flags)
    {
        if (!Events.ContainsKey(mark)) return 400;
        lock (Waits) Waits.Add($"{NameOf(stream)} for {NameOf(Events[mark])}");
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int CreateEvent(nint* mark, uint flags)
    {
        Events[*mark = (nint)Interlocked.Increment(ref lastEvent)] = 0;
        return Current == TorchContext ? 0 : 201;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int RecordEvent(nint mark, nint stream)
    {
        return Events.TryUpdate(mark, stream, 0) ? 0 : 400;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int QueryEvent(nint mark) => !Events.ContainsKey(mark) ? 400 : Busy ? 600 : 0;

    /// <summary>The number of times that the host waited for the GPU.</summary>
    public static int HostWaits { get; set; }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int SynchronizeEvent(nint mark)
    {
        if (Busy) HostWaits++;
        return Events.ContainsKey(mark) ? 0 : 400;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int DestroyEvent(nint mark) => Events.TryRemove(mark, out _) ? 0 : 400;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int HostAllocate(nint* memory, nuint bytes, uint flags)
    {
        if (Result("cuMemHostAlloc") is var failure and not 0) return failure;
        *memory = (nint)NativeMemory.Alloc(bytes);
        Pinned[*memory] = (long)bytes;
        return Current == TorchContext ? 0 : 201;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int FreeHost(nint memory)
    {
        if (!Pinned.Remove(memory)) return 1;
        NativeMemory.Free((void*)memory);
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int Copy(nint to, nint from, nuint bytes, nint stream)
    {
        if (stream is not (OwnStream or TorchStream) || Current != TorchContext) return 1;
        Buffer.MemoryCopy((void*)from, (void*)to, bytes, bytes);
        return 0;
    }

    static readonly nint words = Marshal.StringToCoTaskMemUTF8("CUDA_ERROR_OF_A_STAND_IN");

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int ErrorName(int error, byte** name)
    {
        *name = (byte*)words;
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static int GetStream(int index, nint* stream)
    {
        *stream = TorchStream;
        return index == 0 ? 0 : 1;
    }
}
