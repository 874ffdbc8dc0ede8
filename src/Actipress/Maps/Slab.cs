namespace Actipress.Maps;

/// <summary>
/// Some rows of a convolution's output, the rows of the input under their filters, and the rows of padding before and after these.
/// </summary>
/// <param name="Output">The first row of the output.</param>
/// <param name="Outputs">The number of rows of the output.</param>
/// <param name="First">The first row of the input.</param>
/// <param name="Rows">The number of rows of the input.</param>
/// <param name="Before">The number of rows of padding before them.</param>
/// <param name="After">The number of rows of padding after them.</param>
readonly record struct Slab(long Output, long Outputs, long First, long Rows, long Before, long After)
{
    /// <summary>Divides a convolution along an axis into slabs with about the same number of output rows each.</summary>
    /// <param name="count">The number of slabs. Slabs without an output row are left out.</param>
    /// <param name="rows">The number of rows of the input.</param>
    /// <param name="outputs">The number of rows of the output.</param>
    /// <param name="stride">The stride along the axis.</param>
    /// <param name="padding">The padding, which may not exceed <paramref name="reach"/>, so that each output row has an input row.</param>
    /// <param name="reach">The distance between the first and the last row under a filter.</param>
    public static List<Slab> Divide(long count, long rows, long outputs, long stride, long padding, long reach)
    {
        var slabs = new List<Slab>();
        for (long piece = 0; piece < count; piece++)
        {
            var (from, to) = (outputs * piece / count, outputs * (piece + 1) / count);
            if (from == to) continue;
            var (before, after) = (from * stride - padding, (to - 1) * stride - padding + reach + 1);
            var (first, end) = (Math.Clamp(before, 0, rows), Math.Clamp(after, 0, rows));
            slabs.Add(new(from, to - from, first, end - first, first - before, after - end));
        }
        return slabs;
    }

    /// <summary>Adds the rows of padding, as zeros, to the rows of the input.</summary>
    /// <param name="values">The rows: (examples, channels, rows, other axes).</param>
    /// <returns>A new tensor, or <paramref name="values"/> where there is no padding.</returns>
    public Tensor Padded(Tensor values)
    {
        if (Before + After == 0) return values;
        var shape = values.shape;
        shape[2] += Before + After;
        var padded = torch.zeros(shape, values.dtype, values.device);
        using var inside = padded.narrow(2, Before, Rows);
        inside.copy_(values).Dispose();
        return padded;
    }
}
