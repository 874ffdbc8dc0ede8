using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress;

/// <summary>Kernels on a CUDA device: loaded as PTX by the driver into torch's context, started on torch's current stream.</summary>
sealed unsafe class CudaDevice : GpuDevice
{
    static readonly ConcurrentDictionary<int, Lazy<(CudaDevice? Device, PlatformNotSupportedException? Refusal)>> devices = new();

    readonly CudaDriver driver;
    readonly nint context;
    readonly int index;
    readonly Lazy<nint> aside;
    readonly List<(nint Event, Action Then)> pending = [];
    readonly Dictionary<long, Stack<nint>> spare = [];
    readonly Lock gate = new();
    readonly Dictionary<GridKernel, nint> functions = [];
    readonly delegate* unmanaged[Cdecl]<int, nint*, int> currentStream;

    /// <param name="driver">The driver.</param>
    /// <param name="device">Where tensors are.</param>
    /// <param name="currentStream">libtorch's <c>aoti_torch_get_current_cuda_stream</c>.</param>
    /// <exception cref="PlatformNotSupportedException">The GPU or the driver is too old for the kernels.</exception>
    public CudaDevice(CudaDriver driver, torch.Device device, nint currentStream) : base(device)
    {
        (this.driver, index) = (driver, Math.Max(0, device.index));
        this.currentStream = (delegate* unmanaged[Cdecl]<int, nint*, int>)currentStream;
        var (name, major, minor) = driver.Describe(index);
        if ((major, minor).CompareTo((KernelText.OldestMajor, KernelText.OldestMinor)) < 0)
            throw new PlatformNotSupportedException(
                $"The kernels cannot run on cuda:{index}: found {name} of compute capability {major}.{minor}, wanted {KernelText.OldestMajor}.{KernelText.OldestMinor} or newer.");
        context = driver.Context(index);
        aside = new(() => driver.CreateStream(context));
        foreach (var kernel in Enum.GetValues<GridKernel>()) functions[kernel] = driver.Load(context, KernelText.Of(kernel), KernelText.Entry(kernel));
    }

    /// <inheritdoc/>
    public override int Threads => KernelText.MostThreads;

    /// <summary>The driver, and the context in which torch works.</summary>
    public CudaDriver Driver => driver;

    public nint Context => context;

    /// <inheritdoc/>
    public override void Launch(GridKernel kernel, int groups, params ReadOnlySpan<KernelArgument> arguments) =>
        driver.Launch(context, functions[kernel], kernel, CurrentStream(), groups, Threads, arguments);

    /// <inheritdoc/>
    public override GpuReading Read(Tensor memory)
    {
        var bytes = memory.Bytes();
        var (stream, host) = (CurrentStream(), TakeOnHost(bytes));
        try
        {
            driver.CopyToHost(context, host, LibTorch.Data(memory), bytes, stream);
            return new Reading(this, host, bytes, driver.Record(context, stream));
        }
        catch
        {
            GiveOnHost(host, bytes);
            throw;
        }
    }

    sealed class Reading(CudaDevice gpu, nint host, long bytes, nint arrived) : GpuReading([])
    {
        bool given;

        public override bool IsDone => given || gpu.driver.HasCome(gpu.context, arrived);

        public override byte[] Wait()
        {
            gpu.driver.WaitFor(gpu.context, arrived);
            return new ReadOnlySpan<byte>((void*)host, (int)bytes).ToArray();
        }

        public override void Dispose()
        {
            if (given) return;
            given = true;
            gpu.WhenDone(arrived, () => gpu.GiveOnHost(host, bytes));
        }
    }

    nint CurrentStream()
    {
        nint stream;
        return currentStream(index, &stream) == 0 ? stream : throw new ExternalException($"libtorch gave no current stream of cuda:{index}.");
    }

    /// <summary>Starts something on a stream beside torch's, after what torch's has been given so far.</summary>
    /// <returns>An event, for <see cref="Await"/> and <see cref="WhenDone"/>.</returns>
    public nint Aside(Action<nint> start)
    {
        Sweep();
        var stream = aside.Value;
        driver.Follow(context, stream, CurrentStream());
        start(stream);
        return driver.Record(context, stream);
    }

    /// <summary>Lets what torch's current stream is given from here on wait for an event.</summary>
    public void Await(nint arrived) => driver.Wait(context, CurrentStream(), arrived);

    /// <summary>Does something once an event has come: at once, or at a later use of the device.</summary>
    public void WhenDone(nint done, Action then)
    {
        lock (gate) pending.Add((done, then));
        Sweep();
    }

    /// <summary>Pinned memory of the host for so many bytes. Pinning takes milliseconds, so what was given back is given out again.</summary>
    public nint TakeOnHost(long bytes)
    {
        var room = HostRoom(bytes);
        lock (gate)
            if (spare.TryGetValue(room, out var blocks) && blocks.TryPop(out var block)) return block;
        return driver.AllocateOnHost(context, room);
    }

    /// <summary>Gives it back.</summary>
    public void GiveOnHost(nint memory, long bytes)
    {
        lock (gate)
        {
            var room = HostRoom(bytes);
            if (!spare.TryGetValue(room, out var blocks)) spare[room] = blocks = [];
            blocks.Push(memory);
        }
    }

    // Sizes of packed maps change a little from step to step: to the next eighth of a power of two.
    static long HostRoom(long bytes)
    {
        var step = Math.Max(4096, (long)System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)bytes) / 8);
        return (bytes + step - 1) / step * step;
    }

    void Sweep()
    {
        List<Action> due = [];
        lock (gate)
            pending.RemoveAll(one =>
            {
                if (!driver.HasCome(context, one.Event)) return false;
                driver.Free(context, one.Event);
                due.Add(one.Then);
                return true;
            });
        foreach (var then in due) then();
    }

    /// <summary>The kernels on a tensor's device; null where that is none, or none that they run on.</summary>
    public static CudaDevice? Of(torch.Device device) => device.type == DeviceType.CUDA ? Open(Math.Max(0, device.index)).Device : null;

    /// <summary>Why the kernels do not run on <c>cuda:index</c>; null where they do.</summary>
    public static string? Refusal(int index) => Open(index).Refusal is { } refusal ? $"{refusal.Message} Maps on cuda:{index} go through torch's own operations, which is slower." : null;

    // Once in the life of the process: on a device that cannot, every map goes through torch's operations.
    static (CudaDevice? Device, PlatformNotSupportedException? Refusal) Open(int index) => devices.GetOrAdd(index, _ => new(() =>
    {
        try
        {
            var stream = LibTorch.SymbolIn("libtorch_cuda.so", "aoti_torch_get_current_cuda_stream");
            if (stream == 0) throw LibTorch.Unsupported("no CUDA in this libtorch", "TorchSharp-cuda-linux, or an installed PyTorch's libtorch, of version 2.10");
            var device = new CudaDevice(CudaDriver.Here, new torch.Device(DeviceType.CUDA, index), stream);
            SelfCheck(device);
            return (device, null);
        }
        catch (PlatformNotSupportedException refusal) { return (null, refusal); }
        catch (TypeInitializationException failure) when (failure.InnerException is PlatformNotSupportedException refusal) { return (null, refusal); }
        catch (ExternalException failure) { return (null, new PlatformNotSupportedException(failure.Message, failure)); }
    })).Value;

    /// <summary>Packs and unpacks known maps as on the CPU: the same bytes and values, or the device is not used.</summary>
    /// <exception cref="PlatformNotSupportedException">Something else came out.</exception>
    public static void SelfCheck(GpuDevice gpu)
    {
        using var scope = torch.NewDisposeScope();
        using var noGradients = torch.no_grad();
        // Whole, ragged and small blocks, volumes, more tiles than one chunk has, and whole maps under a wavelet.
        foreach (var (extents, text) in ((long[], string)[])[([2, 3, 48, 40], "dct:10"), ([3, 20, 7, 7], "dct:4"), ([2, 5, 9, 17], "dct:4,block=8"), ([70, 1000], "st:10"), ([5, 21, 20], "wt:haar:10")])
        {
            var codec = ActivationCodec.Parse(text) with { EvenIfLarger = true };
            var elements = extents.Aggregate(1L, (a, b) => a * b);
            var wave = HeldScalars.Arange(elements, torch.float32).Mul_(0.37f).sin_().view(extents);
            foreach (var map in (Tensor[])[wave, wave.relu()])
            {
                using var expected = Pipeline.Pack(map, codec, out _)!;
                using var packed = Packed(gpu, map, codec, out var why);
                if (packed is null) throw Wrong($"a map of {string.Join(" x ", extents)} left raw ({why})");
                if (!packed.ToBytes().AsSpan().SequenceEqual(expected.ToBytes())) throw Wrong($"other bytes of a map of {string.Join(" x ", extents)} under {text}");
                using Tensor back = packed.Unpack(), local = back.cpu(), wanted = expected.Unpack();
                if (!local.Equals(wanted)) throw Wrong($"other values of a map of {string.Join(" x ", extents)} under {text}");
            }
        }

        static PackedMap? Packed(GpuDevice gpu, Tensor map, ActivationCodec codec, out LeftRaw why) =>
            GpuGrid.Pack(gpu, map.to(gpu.Device), codec, out why) is { } stored ? new(new(codec, map.shape, map.dtype), stored) : null;

        PlatformNotSupportedException Wrong(string found) => new(
            $"The kernels are not used on {gpu.Device}: a trial found {found}, wanted what the CPU makes of it. Please report this with the GPU's name.");
    }
}
