namespace Actipress.Autograd;

/// <summary>The memory of tensors: its size, and the elements of contiguous CPU tensors as spans.</summary>
static unsafe class TensorMemory
{
    /// <summary>The number of bytes of the tensor's elements.</summary>
    public static long Bytes(this Tensor tensor) => tensor.NumberOfElements * tensor.ElementSize;

    /// <summary>The elements of a contiguous CPU tensor, in place. The tensor must outlive the span's use.</summary>
    public static Span<T> Elements<T>(this Tensor tensor) where T : unmanaged
    {
        if (tensor.device_type != DeviceType.CPU || !tensor.is_contiguous() || tensor.ElementSize != sizeof(T))
            throw new ArgumentException($"Wanted a contiguous CPU tensor of {typeof(T).Name}, found {tensor.dtype} on "
                + $"{tensor.device_type}.");
        return new((void*)LibTorch.Data(tensor), checked((int)tensor.NumberOfElements));
    }
}
