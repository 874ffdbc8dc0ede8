using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Gpu;

/// <summary>
/// Runs kernels on a CUDA device. The driver loads their PTX into torch's context, and launches them on torch's current stream.
/// </summary>
sealed unsafe class CudaDevice : GpuDevice
{
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
    /// <param name="device">The device of the tensors.</param>
    /// <param name="currentStream">libtorch's function <c>aoti_torch_get_current_cuda_stream</c>.</param>
    /// <exception cref="PlatformNotSupportedException">The GPU or the driver is too old for the kernels.</exception>
    public CudaDevice(CudaDriver driver, torch.Device device, nint currentStream) : base(device)
    {
        (this.driver, index) = (driver, Math.Max(0, device.index));
        this.currentStream = (delegate* unmanaged[Cdecl]<int, nint*, int>)currentStream;
        var (name, major, minor) = driver.Describe(index);
        if ((major, minor).CompareTo((KernelText.OldestMajor, KernelText.OldestMinor)) < 0)
            throw new PlatformNotSupportedException(
                $"The kernels cannot run on cuda:{index}: found {name} of compute capability {major}.{minor}, wanted "
                    + $"{KernelText.OldestMajor}.{KernelText.OldestMinor} or newer.");
        context = driver.Context(index);
        aside = new(() => driver.CreateStream(context));
        foreach (var kernel in Enum.GetValues<GridKernel>())
            functions[kernel] = driver.Load(context, KernelText.Of(kernel), KernelText.Entry(kernel));
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
        return currentStream(index, &stream) == 0
            ? stream : throw new ExternalException($"libtorch gave no current stream of cuda:{index}.");
    }

    /// <summary>Queues work on a second stream, after the work that torch's stream has so far.</summary>
    /// <returns>An event, for <see cref="Await"/> and <see cref="WhenDone"/>.</returns>
    public nint Aside(Action<nint> start)
    {
        Sweep();
        var stream = aside.Value;
        driver.Follow(context, stream, CurrentStream());
        start(stream);
        return driver.Record(context, stream);
    }

    /// <summary>Lets torch's current stream wait for an event.</summary>
    public void Await(nint arrived) => driver.Wait(context, CurrentStream(), arrived);

    /// <summary>Runs an action when an event has completed: at once, or at a later use of the device.</summary>
    public void WhenDone(nint done, Action then)
    {
        lock (gate) pending.Add((done, then));
        Sweep();
    }

    /// <summary>Takes pinned memory of the host. Pinning takes milliseconds, so that returned memory is reused.</summary>
    public nint TakeOnHost(long bytes)
    {
        var room = HostRoom(bytes);
        lock (gate)
            if (spare.TryGetValue(room, out var blocks) && blocks.TryPop(out var block)) return block;
        return driver.AllocateOnHost(context, room);
    }

    /// <summary>Returns pinned memory of the host.</summary>
    public void GiveOnHost(nint memory, long bytes)
    {
        lock (gate)
        {
            var room = HostRoom(bytes);
            if (!spare.TryGetValue(room, out var blocks)) spare[room] = blocks = [];
            blocks.Push(memory);
        }
    }

    // The sizes of packed maps change a little from step to step, and are rounded up to the next eighth of a power of two.
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

    /// <summary>The device <c>cuda:index</c> of this process.</summary>
    /// <exception cref="PlatformNotSupportedException">
    /// The process has no such device, or the kernels do not run on it; the message says why.
    /// </exception>
    /// <exception cref="ExternalException">The driver refused to load the kernels.</exception>
    public static CudaDevice Open(int index)
    {
        var stream = LibTorch.SymbolIn("libtorch_cuda.so", "aoti_torch_get_current_cuda_stream");
        if (stream == 0)
            throw LibTorch.Unsupported(
                "no CUDA in this libtorch", "TorchSharp-cuda-linux, or an installed PyTorch's libtorch, of version 2.10");
        return new(CudaDriver.Here, new torch.Device(DeviceType.CUDA, index), stream);
    }
}
