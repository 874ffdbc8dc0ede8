using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Gpu;

/// <summary>An argument of a kernel: a tensor's memory, or a number or struct of numbers.</summary>
readonly struct KernelArgument
{
    KernelArgument(byte[] bytes, nint address, long length, object? value) =>
        (Bytes, Address, Length, Value) = (bytes, address, length, value);

    /// <summary>The argument as a kernel in PTX takes it. A buffer is its address and its length in elements, both of 64 bits.</summary>
    public byte[] Bytes { get; }

    /// <summary>The address of a buffer.</summary>
    public nint Address { get; }

    /// <summary>The number of elements of a buffer.</summary>
    public long Length { get; }

    /// <summary>The number or struct; null for a buffer.</summary>
    public object? Value { get; }

    /// <summary>The memory of a contiguous tensor, as elements of <typeparamref name="T"/>.</summary>
    public static KernelArgument Of<T>(Tensor tensor) where T : unmanaged
    {
        var (address, length) = (LibTorch.Data(tensor), tensor.Bytes() / Unsafe.SizeOf<T>());
        var bytes = new byte[2 * sizeof(long)];
        MemoryMarshal.Write(bytes, (long)address);
        MemoryMarshal.Write(bytes.AsSpan(sizeof(long)), length);
        return new(bytes, address, length, null);
    }

    /// <summary>An argument that is a number, or a struct of numbers.</summary>
    public static KernelArgument Of<T>(T value) where T : unmanaged =>
        new(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray(), 0, 0, value);
}

/// <summary>Runs the kernels of src/Actipress.Kernels on the memory of one torch device.</summary>
abstract class GpuDevice(torch.Device device)
{
    /// <summary>The device of the tensors.</summary>
    public torch.Device Device => device;

    /// <summary>The number of threads of a group: a multiple of 16, at most <see cref="KernelText.MostThreads"/>.</summary>
    public abstract int Threads { get; }

    /// <summary>Launches a kernel on torch's current stream.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="groups">The number of groups of <see cref="Threads"/>.</param>
    /// <param name="arguments">The arguments, in the kernel's order.</param>
    public abstract void Launch(GridKernel kernel, int groups, params ReadOnlySpan<KernelArgument> arguments);

    /// <summary>Begins to copy a tensor's bytes to the host, after the work that torch's current stream has so far.</summary>
    public virtual GpuReading Read(Tensor memory)
    {
        using var local = memory.cpu();
        return new GpuReading(local.Elements<byte>().ToArray());
    }
}

/// <summary>A copy of bytes from a GPU that may still be in progress.</summary>
class GpuReading(byte[] bytes) : IDisposable
{
    /// <summary>Whether the copy is complete.</summary>
    public virtual bool IsDone => true;

    /// <summary>Waits for the copy, and returns the bytes.</summary>
    public virtual byte[] Wait() => bytes;

    /// <inheritdoc/>
    public virtual void Dispose() => GC.SuppressFinalize(this);
}
