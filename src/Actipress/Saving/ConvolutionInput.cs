using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>A convolution's rebuilt input, in the layout in which its backward pass holds the input only once.</summary>
/// <remarks>
/// Only volumes get this layout. The gradient has its channels innermost too, and an operation behind a convolution over planes, such as a
/// pixel shuffle, may have to convert it back (EDSR: a peak of 747 MiB in place of 645).
/// </remarks>
static class ConvolutionInput
{
    // Below this size another layer makes the peak of a step, and the copy would only cost time.
    const long LargeBytes = 128 << 20;

    /// <summary>
    /// Converts a large map on the CPU to the layout with channels innermost. oneDNN would copy a row-major map into a layout of its own,
    /// and hold the copy beside both gradients.
    /// </summary>
    /// <param name="map">The rebuilt input; it is disposed or returned.</param>
    public static Tensor ForBackward(Tensor map)
    {
        if (map.device_type != DeviceType.CPU || map.dim() != 5 || map.Bytes() < LargeBytes || !map.is_contiguous()) return map;
        using (map)
        {
            var channelsInnermost = torch.empty_strided(map.shape, Strides(map.shape), map.dtype, map.device);
            return channelsInnermost.copy_(map);
        }
    }

    static long[] Strides(long[] sizes)
    {
        var strides = new long[sizes.Length];
        long stride = 1;
        foreach (var axis in (int[])[1, .. Enumerable.Range(2, sizes.Length - 2).Reverse(), 0])
            (strides[axis], stride) = (stride, stride * sizes[axis]);
        return strides;
    }
}
