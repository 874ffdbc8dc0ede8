using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Gpu;

namespace Actipress.Distributed;

/// <summary>torch's current stream of one GPU, and a second stream for communication.</summary>
/// <param name="driver">The CUDA driver.</param>
/// <param name="index">The GPU.</param>
/// <param name="currentStream">libtorch's function <c>aoti_torch_get_current_cuda_stream</c>.</param>
sealed unsafe class TorchStream(CudaDriver driver, int index, nint currentStream)
{
    readonly nint context = driver.Context(index);
    readonly Lazy<nint> aside = new(() => driver.CreateStream(driver.Context(index)));

    /// <summary>The streams of a GPU that torch uses.</summary>
    /// <exception cref="PlatformNotSupportedException">There is no driver, or this libtorch has no CUDA.</exception>
    public static TorchStream Of(int index)
    {
        var stream = LibTorch.SymbolIn("libtorch_cuda.so", "aoti_torch_get_current_cuda_stream");
        return stream != 0 ? new(CudaDriver.Here, index, stream) : throw LibTorch.Unsupported("no CUDA in this " +
            "libtorch", "TorchSharp-cuda-linux, or an installed PyTorch's libtorch, of version 2.10");
    }

    /// <summary>Returns an event that completes when torch's stream has done the work that this thread has queued so far.</summary>
    public nint Mark()
    {
        nint stream;
        if (((delegate* unmanaged[Cdecl]<int, nint*, int>)currentStream)(index,
            &stream) != 0) throw new ExternalException($"libtorch gave no current stream of cuda:{index}.");
        return driver.Record(context, stream);
    }

    /// <summary>Lets the host wait for an event, and frees it.</summary>
    public void WaitFor(nint mark)
    {
        driver.WaitFor(context, mark);
        driver.Free(context, mark);
    }

    /// <summary>Queues work on the second stream after an event, which is freed.</summary>
    /// <returns>An event that completes when the work is done, to be passed to <see cref="HasCome"/> until it returns true.</returns>
    public nint Aside(nint after, Action<nint> start)
    {
        driver.Wait(context, aside.Value, after);
        driver.Free(context, after);
        start(aside.Value);
        return driver.Record(context, aside.Value);
    }

    /// <summary>Whether an event has completed. If so, it is freed.</summary>
    public bool HasCome(nint mark)
    {
        if (!driver.HasCome(context, mark)) return false;
        driver.Free(context, mark);
        return true;
    }

    /// <summary>Makes the GPU current on this thread, because some libraries use the thread's current GPU.</summary>
    public IDisposable Enter() => driver.Use(context);
}
