using System.Runtime.InteropServices;

namespace Actipress.Gpu;

/// <summary>The functions of the CUDA driver that load and launch kernels, in torch's context.</summary>
/// <remarks>
/// A device has one primary context for the whole process. torch uses it, so that torch's addresses and streams are valid there.
/// </remarks>
sealed unsafe class CudaDriver
{
    /// <summary>The oldest driver: that of CUDA 11.0, which is the first to read PTX 7.0.</summary>
    public const int OldestVersion = 11000;

    // Values of CUresult, CUdevice_attribute and CUjit_option.
    const int Success = 0, OutOfMemory = 2, NoBinary = 209, InvalidPtx = 218, UnsupportedPtx = 222;
    const int MajorAttribute = 75, MinorAttribute = 76, ErrorLog = 5, ErrorLogBytes = 6, LogBytes = 4096;

    readonly delegate* unmanaged[Cdecl]<uint, int> init;
    readonly delegate* unmanaged[Cdecl]<int*, int> driverGetVersion, deviceGetCount;
    readonly delegate* unmanaged[Cdecl]<int*, int, int> deviceGet;
    readonly delegate* unmanaged[Cdecl]<byte*, int, int, int> deviceGetName;
    readonly delegate* unmanaged[Cdecl]<int*, int, int, int> deviceGetAttribute;
    readonly delegate* unmanaged[Cdecl]<nint*, int, int> primaryContextRetain;
    readonly delegate* unmanaged[Cdecl]<nint, int> pushContext;
    readonly delegate* unmanaged[Cdecl]<nint*, int> popContext;
    readonly delegate* unmanaged[Cdecl]<nint*, byte*, uint, int*, nint*, int> moduleLoadData;
    readonly delegate* unmanaged[Cdecl]<nint*, nint, byte*, int> moduleGetFunction;
    readonly delegate* unmanaged[Cdecl]<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> launchKernel;
    readonly delegate* unmanaged[Cdecl]<nuint*, nuint*, int> memoryInfo;
    readonly delegate* unmanaged[Cdecl]<int, byte**, int> errorName, errorString;
    readonly delegate* unmanaged[Cdecl]<nint*, uint, int> streamCreate, eventCreate;
    readonly delegate* unmanaged[Cdecl]<nint, nint, uint, int> streamWaitEvent;
    readonly delegate* unmanaged[Cdecl]<nint, nint, int> eventRecord;
    readonly delegate* unmanaged[Cdecl]<nint, int> eventQuery, eventSynchronize, eventDestroy;
    readonly delegate* unmanaged[Cdecl]<nint*, nuint, uint, int> hostAllocate;
    readonly delegate* unmanaged[Cdecl]<nint, nint, nuint, nint, int> copyToHost, copyToDevice;

    /// <summary>The driver of this machine.</summary>
    /// <exception cref="PlatformNotSupportedException">
    /// There is no driver, or it is too old; the message says what was found and wanted.
    /// </exception>
    public static CudaDriver Here { get => here.Value; }

    static readonly Lazy<CudaDriver> here = new(() =>
    {
        var file = OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";
        if (!NativeLibrary.TryLoad(file, out var library)) throw Unsupported($"no {file}", "an NVIDIA driver");
        return new CudaDriver(name => NativeLibrary.TryGetExport(library, name, out var address) ? address : 0);
    });

    /// <param name="symbol">Returns the address of one of the driver's functions; 0 where it has none of that name.</param>
    /// <exception cref="PlatformNotSupportedException">The driver is too old, or finds no GPU.</exception>
    public CudaDriver(Func<string, nint> symbol)
    {
        init = (delegate* unmanaged[Cdecl]<uint, int>)Symbol("cuInit");
        driverGetVersion = (delegate* unmanaged[Cdecl]<int*, int>)Symbol("cuDriverGetVersion");
        deviceGetCount = (delegate* unmanaged[Cdecl]<int*, int>)Symbol("cuDeviceGetCount");
        deviceGet = (delegate* unmanaged[Cdecl]<int*, int, int>)Symbol("cuDeviceGet");
        deviceGetName = (delegate* unmanaged[Cdecl]<byte*, int, int, int>)Symbol("cuDeviceGetName");
        deviceGetAttribute = (delegate* unmanaged[Cdecl]<int*, int, int, int>)Symbol("cuDeviceGetAttribute");
        primaryContextRetain = (delegate* unmanaged[Cdecl]<nint*, int, int>)Symbol("cuDevicePrimaryCtxRetain");
        pushContext = (delegate* unmanaged[Cdecl]<nint, int>)Symbol("cuCtxPushCurrent_v2");
        popContext = (delegate* unmanaged[Cdecl]<nint*, int>)Symbol("cuCtxPopCurrent_v2");
        moduleLoadData = (delegate* unmanaged[Cdecl]<nint*, byte*, uint, int*, nint*, int>)Symbol("cuModuleLoadDataEx");
        moduleGetFunction = (delegate* unmanaged[Cdecl]<nint*, nint, byte*, int>)Symbol("cuModuleGetFunction");
        launchKernel =
            (delegate* unmanaged[Cdecl]<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)Symbol("cuLaunchKernel");
        memoryInfo = (delegate* unmanaged[Cdecl]<nuint*, nuint*, int>)Symbol("cuMemGetInfo_v2");
        streamCreate = (delegate* unmanaged[Cdecl]<nint*, uint, int>)Symbol("cuStreamCreate");
        streamWaitEvent = (delegate* unmanaged[Cdecl]<nint, nint, uint, int>)Symbol("cuStreamWaitEvent");
        eventCreate = (delegate* unmanaged[Cdecl]<nint*, uint, int>)Symbol("cuEventCreate");
        eventRecord = (delegate* unmanaged[Cdecl]<nint, nint, int>)Symbol("cuEventRecord");
        eventQuery = (delegate* unmanaged[Cdecl]<nint, int>)Symbol("cuEventQuery");
        eventSynchronize = (delegate* unmanaged[Cdecl]<nint, int>)Symbol("cuEventSynchronize");
        eventDestroy = (delegate* unmanaged[Cdecl]<nint, int>)Symbol("cuEventDestroy_v2");
        hostAllocate = (delegate* unmanaged[Cdecl]<nint*, nuint, uint, int>)Symbol("cuMemHostAlloc");
        copyToHost = (delegate* unmanaged[Cdecl]<nint, nint, nuint, nint, int>)Symbol("cuMemcpyDtoHAsync_v2");
        copyToDevice = (delegate* unmanaged[Cdecl]<nint, nint, nuint, nint, int>)Symbol("cuMemcpyHtoDAsync_v2");
        errorName = (delegate* unmanaged[Cdecl]<int, byte**, int>)Symbol("cuGetErrorName");
        errorString = (delegate* unmanaged[Cdecl]<int, byte**, int>)Symbol("cuGetErrorString");

        if (init(0) is var refusal && refusal != Success)
            throw Unsupported($"a CUDA driver that does not start: {Error(refusal)}", "one that finds a GPU");
        int version;
        Check(driverGetVersion(&version), "asking for the driver's version");
        Version = version;
        if (version < OldestVersion)
            throw Unsupported($"a driver for CUDA {Dotted(version)}", $"one for CUDA {Dotted(OldestVersion)} or newer");
        int count;
        Check(deviceGetCount(&count), "counting GPUs");
        Devices = count;

        nint Symbol(string name) => symbol(name) is var address and not 0
            ? address : throw Unsupported($"a CUDA driver without {name}", $"one for CUDA {Dotted(OldestVersion)} or newer");
    }

    /// <summary>The newest version of CUDA that the driver supports, such as 12080 for 12.8.</summary>
    public int Version { get; }

    /// <summary>The number of GPUs of the process.</summary>
    public int Devices { get; }

    public static string Dotted(int version) => $"{version / 1000}.{version % 1000 / 10}";

    /// <summary>The name and the compute capability (such as 8.0 for an A100) of <c>cuda:index</c>.</summary>
    public (string Name, int Major, int Minor) Describe(int index)
    {
        const int Longest = 256;
        var name = stackalloc byte[Longest];
        int device, major, minor;
        Check(deviceGet(&device, index), $"looking for GPU {index}");
        Check(deviceGetName(name, Longest, device), $"asking for the name of GPU {index}");
        Check(deviceGetAttribute(&major, MajorAttribute, device), $"asking for the compute capability of GPU {index}");
        Check(deviceGetAttribute(&minor, MinorAttribute, device), $"asking for the compute capability of GPU {index}");
        return (Marshal.PtrToStringUTF8((nint)name)!, major, minor);
    }

    /// <summary>The context of a GPU that torch uses. It stays for the life of the process.</summary>
    public nint Context(int index)
    {
        int device;
        nint context;
        Check(deviceGet(&device, index), $"looking for GPU {index}");
        Check(primaryContextRetain(&context, device), $"entering the context of GPU {index}");
        return context;
    }

    /// <summary>Loads a kernel into a context.</summary>
    /// <exception cref="PlatformNotSupportedException">The driver or the GPU is too old for the PTX.</exception>
    public nint Load(nint context, string ptx, string entry)
    {
        using var entered = new Entered(this, context);
        var text = System.Text.Encoding.UTF8.GetBytes(ptx + "\0");
        var log = stackalloc byte[LogBytes];
        log[0] = 0;
        var options = stackalloc int[] { ErrorLog, ErrorLogBytes };
        var values = stackalloc nint[] { (nint)log, LogBytes };
        nint module, function;
        fixed (byte* data = text)
        {
            var result = moduleLoadData(&module, data, 2, options, values);
            if (result is NoBinary or InvalidPtx or UnsupportedPtx)
                throw Unsupported(
                    $"a driver for CUDA {Dotted(Version)} that cannot read the kernel {entry} ({Error(result)}{Log()})",
                    $"one for CUDA {Dotted(OldestVersion)} or newer, and a GPU of compute capability "
                        + $"{KernelText.OldestMajor}.{KernelText.OldestMinor} or newer");
            Check(result, $"loading the kernel {entry}{Log()}");
        }
        fixed (byte* name = System.Text.Encoding.UTF8.GetBytes(entry + "\0"))
            Check(moduleGetFunction(&function, module, name), $"finding the kernel {entry}");
        return function;

        string Log()
        {
            var words = Marshal.PtrToStringUTF8((nint)log)!.Trim();
            return words.Length == 0 ? "" : ": " + words;
        }
    }

    /// <summary>Launches a kernel on a stream, without waiting.</summary>
    /// <remarks><c>arguments</c>: see <see cref="KernelArgument.Bytes"/>. The driver copies them before it returns.</remarks>
    public void Launch(
        nint context, nint function, GridKernel kernel, nint stream, int groups, int threads, ReadOnlySpan<KernelArgument> arguments)
    {
        using var entered = new Entered(this, context);
        var bytes = 0;
        foreach (var argument in arguments) bytes += argument.Bytes.Length + sizeof(long);
        var memory = stackalloc long[bytes / sizeof(long) + arguments.Length];
        var places = stackalloc void*[arguments.Length];
        var at = (byte*)memory;
        for (var i = 0; i < arguments.Length; i++)
        {
            places[i] = at;
            arguments[i].Bytes.CopyTo(new Span<byte>(at, arguments[i].Bytes.Length));
            at += (arguments[i].Bytes.Length + sizeof(long) - 1) / sizeof(long) * sizeof(long);
        }
        Check(launchKernel(function, (uint)groups, 1, 1, (uint)threads, 1, 1, 0, stream, places, null), $"starting the kernel {kernel}");
    }

    /// <summary>The free and the total bytes of a GPU's memory, over all processes.</summary>
    public (long Free, long Total) Memory(nint context)
    {
        using var entered = new Entered(this, context);
        nuint free, total;
        Check(memoryInfo(&free, &total), "asking for free memory");
        return ((long)free, (long)total);
    }

    /// <summary>Makes a stream that waits for no other stream.</summary>
    public nint CreateStream(nint context)
    {
        const uint NonBlocking = 1;
        using var entered = new Entered(this, context);
        nint stream;
        Check(streamCreate(&stream, NonBlocking), "making a stream");
        return stream;
    }

    /// <summary>Records an event that completes when a stream has done its work so far; the caller frees it.</summary>
    public nint Record(nint context, nint stream)
    {
        const uint WithoutTiming = 2;
        using var entered = new Entered(this, context);
        nint mark;
        Check(eventCreate(&mark, WithoutTiming), "making an event");
        Check(eventRecord(mark, stream), "recording an event");
        return mark;
    }

    /// <summary>Lets a stream wait for an event.</summary>
    public void Wait(nint context, nint stream, nint mark)
    {
        using var entered = new Entered(this, context);
        Check(streamWaitEvent(stream, mark, 0), "waiting for an event");
    }

    /// <summary>Lets a stream wait for the work that another stream has so far.</summary>
    public void Follow(nint context, nint stream, nint other)
    {
        var mark = Record(context, other);
        Wait(context, stream, mark);
        Free(context, mark);
    }

    /// <summary>Whether an event has completed.</summary>
    public bool HasCome(nint context, nint mark)
    {
        const int NotReady = 600;
        using var entered = new Entered(this, context);
        var result = eventQuery(mark);
        if (result == NotReady) return false;
        Check(result, "asking for an event");
        return true;
    }

    /// <summary>Lets the host wait for an event.</summary>
    public void WaitFor(nint context, nint mark)
    {
        using var entered = new Entered(this, context);
        Check(eventSynchronize(mark), "waiting for the GPU");
    }

    public void Free(nint context, nint mark)
    {
        using var entered = new Entered(this, context);
        Check(eventDestroy(mark), "freeing an event");
    }

    /// <summary>Pinned memory of the host.</summary>
    public nint AllocateOnHost(nint context, long bytes)
    {
        using var entered = new Entered(this, context);
        nint memory;
        Check(hostAllocate(&memory, (nuint)bytes, 0), $"allocating {bytes} bytes of pinned memory");
        return memory;
    }

    public void CopyToHost(nint context, nint to, nint from, long bytes, nint stream)
    {
        using var entered = new Entered(this, context);
        Check(copyToHost(to, from, (nuint)bytes, stream), $"copying {bytes} bytes to the host");
    }

    public void CopyToDevice(nint context, nint to, nint from, long bytes, nint stream)
    {
        using var entered = new Entered(this, context);
        Check(copyToDevice(to, from, (nuint)bytes, stream), $"copying {bytes} bytes from the host");
    }

    /// <summary>Makes a context current on this thread until the result is disposed, for a library that uses the current context.</summary>
    public IDisposable Use(nint context)
    {
        Check(pushContext(context), "entering a GPU's context");
        return new Used(this);
    }

    sealed class Used(CudaDriver driver) : IDisposable
    {
        public void Dispose()
        {
            nint context;
            driver.popContext(&context);
        }
    }

    readonly ref struct Entered
    {
        readonly CudaDriver driver;

        public Entered(CudaDriver driver, nint context)
        {
            this.driver = driver;
            driver.Check(driver.pushContext(context), "entering a GPU's context");
        }

        public void Dispose()
        {
            nint context;
            driver.popContext(&context);
        }
    }

    void Check(int result, string what)
    {
        if (result == Success) return;
        var wayOut = result == OutOfMemory
            ? "Free GPU memory: a smaller batch, a higher ratio, or AllocatorMeter.EmptyCache()."
            : "An earlier operation on the GPU may be the cause: run with CUDA_LAUNCH_BLOCKING=1 to see which.";
        throw new ExternalException($"The CUDA driver failed at {what}: {Error(result)}. {wayOut}", result);
    }

    string Error(int result)
    {
        byte* name, words;
        if (errorName(result, &name) != Success || errorString(result, &words) != Success) return $"error {result}";
        return $"{Marshal.PtrToStringUTF8((nint)name)}, {Marshal.PtrToStringUTF8((nint)words)}";
    }

    static PlatformNotSupportedException Unsupported(string found, string wanted) => new(
        $"The CUDA driver cannot be used: found {found}, wanted {wanted}.");
}
