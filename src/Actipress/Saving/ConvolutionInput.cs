using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>A convolution's rebuilt input, in the layout in which its backward pass holds it only once.</summary>
/// <remarks>
/// For volumes: the gradient comes out with its channels innermost too, and what follows a convolution over planes may have to turn it
/// back, as a pixel shuffle does (EDSR: a peak of 747 MiB in place of 645).
/// </remarks>
static class ConvolutionInput
{
    // Below this another layer makes the peak of a step, and the copy would only cost time.
    const long LargeBytes = 128 << 20;

    /// <summary>
    /// On the CPU a large map with its channels innermost: of a row-major one oneDNN would make a copy in a layout of its own, beside both
    /// gradients.
    /// </summary>
    /// <param name="map">Disposed, or returned.</param>
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
