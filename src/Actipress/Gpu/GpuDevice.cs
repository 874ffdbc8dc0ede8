using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Gpu;

/// <summary>An argument of a kernel: a tensor's memory, or a number or struct of numbers.</summary>
readonly struct KernelArgument
{
    KernelArgument(byte[] bytes, nint address, long length, object? value) => (Bytes, Address, Length, Value) = (bytes, address, length, value);

    /// <summary>As a kernel in PTX takes it; a buffer as its address and its length in elements, both of 64 bits.</summary>
    public byte[] Bytes { get; }

    /// <summary>Of a buffer.</summary>
    public nint Address { get; }

    /// <summary>Elements of a buffer.</summary>
    public long Length { get; }

    /// <summary>The number or struct; null for a buffer.</summary>
    public object? Value { get; }

    /// <summary>A contiguous tensor's memory, as elements of <typeparamref name="T"/>.</summary>
    public static KernelArgument Of<T>(Tensor tensor) where T : unmanaged
    {
        var (address, length) = (LibTorch.Data(tensor), tensor.Bytes() / Unsafe.SizeOf<T>());
        var bytes = new byte[2 * sizeof(long)];
        MemoryMarshal.Write(bytes, (long)address);
        MemoryMarshal.Write(bytes.AsSpan(sizeof(long)), length);
        return new(bytes, address, length, null);
    }

    /// <summary>A number, or a struct of numbers.</summary>
    public static KernelArgument Of<T>(T value) where T : unmanaged => new(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray(), 0, 0, value);
}

/// <summary>Runs the kernels of src/Actipress.Kernels on the memory of one torch device.</summary>
abstract class GpuDevice(torch.Device device)
{
    /// <summary>Where tensors are.</summary>
    public torch.Device Device => device;

    /// <summary>Threads of a group: a multiple of 16, at most <see cref="KernelText.MostThreads"/>.</summary>
    public abstract int Threads { get; }

    /// <summary>Starts a kernel after what was started before on torch's current stream.</summary>
    /// <param name="kernel">Which.</param>
    /// <param name="groups">Groups of <see cref="Threads"/>.</param>
    /// <param name="arguments">As the kernel takes them.</param>
    public abstract void Launch(GridKernel kernel, int groups, params ReadOnlySpan<KernelArgument> arguments);

    /// <summary>Begins to read a tensor's bytes, as they are after what was started before on torch's current stream.</summary>
    public virtual GpuReading Read(Tensor memory)
    {
        using var local = memory.cpu();
        return new GpuReading(local.Elements<byte>().ToArray());
    }

    /// <summary>A tensor that no dispose scope disposes.</summary>
    internal static Tensor Kept(Tensor tensor)
    {
        tensor.DetachFromDisposeScope();
        return tensor;
    }
}

/// <summary>Some bytes on their way from a GPU.</summary>
class GpuReading(byte[] bytes) : IDisposable
{
    /// <summary>Whether they are here.</summary>
    public virtual bool IsDone => true;

    /// <summary>The bytes, once they are here.</summary>
    public virtual byte[] Wait() => bytes;

    /// <inheritdoc/>
    public virtual void Dispose() => GC.SuppressFinalize(this);
}
