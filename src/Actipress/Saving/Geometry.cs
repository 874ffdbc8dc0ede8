using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>Where a tensor's elements lie in its storage.</summary>
readonly struct Geometry(long[] sizes, long[] strides, long offset)
{
    public long[] Sizes => sizes;
    public long[] Strides => strides;
    public long Offset => offset;

    public static Geometry Of(Tensor tensor) => new(tensor.shape, tensor.stride(), tensor.storage_offset());

    /// <summary>
    /// Where the map lies of which an operation saved <paramref name="tensor"/>: without the repetition of expanded axes, and as the
    /// (n, tokens, features) that a linear layer folds into rows.
    /// </summary>
    public static Geometry OfMap(Tensor tensor)
    {
        var own = Of(tensor).WithoutExpansion();
        if (own.Sizes.Length != 2 || LibTorch.BaseOfView(tensor) is not { } whole) return own;
        using (whole)
        {
            var unfolded = Of(whole);
            return own.IsFolded(unfolded) ? unfolded : own;
        }
    }

    // Rows that are tokens, several to an example; those that are whole examples, flattened, have lost their axes for good.
    bool IsFolded(Geometry unfolded) =>
        unfolded.Sizes.Length > 2 && sizes[^1] == unfolded.Sizes[^1] && sizes[0] != unfolded.Sizes[0] &&
        IsRowMajor && unfolded.IsRowMajor && SameElements(unfolded);

    public long Elements
    {
        get
        {
            long elements = 1;
            foreach (var size in sizes) elements *= size;
            return elements;
        }
    }

    // Axes of stride 0 have one element.
    Geometry WithoutExpansion()
    {
        var (ownSizes, ownStrides) = (sizes, strides);
        return new([.. sizes.Select((size, axis) => ownStrides[axis] == 0 && size > 1 ? 1 : size)], ownStrides, offset);
    }

    /// <summary>Whether the elements fill one stretch of the storage, each place once, in whatever order of axes.</summary>
    public bool IsDense => IsPacked(Enumerable.Range(0, sizes.Length).OrderByDescending(Stride).ToArray());

    /// <summary>Whether they do so in row-major order.</summary>
    public bool IsRowMajor => IsPacked(Enumerable.Range(0, sizes.Length).ToArray());

    long Stride(int axis) => strides[axis];

    bool IsPacked(int[] order)
    {
        long expected = 1;
        foreach (var axis in order.Reverse())
        {
            if (sizes[axis] == 1) continue;
            if (strides[axis] != expected) return false;
            expected *= sizes[axis];
        }
        return true;
    }

    /// <summary>Whether both hold the same elements of the same storage: the same stretch, or the very same layout.</summary>
    public bool SameElements(Geometry other) =>
        offset == other.Offset && ((IsDense && other.IsDense && Elements == other.Elements) || SameLayout(other));

    public bool SameLayout(Geometry other) => sizes.AsSpan().SequenceEqual(other.Sizes) && strides.AsSpan().SequenceEqual(other.Strides);

    /// <summary>
    /// Shows a map that has this layout, rebuilt in row-major order, in the layout <paramref name="wanted"/> of one that saved it.
    /// </summary>
    /// <param name="values">The map in this layout's sizes; disposed, or returned.</param>
    /// <param name="wanted">A layout of the same elements.</param>
    /// <param name="withGaps">
    /// Whether a layout with gaps, as of a narrowed matrix, comes back as one. Operations such as <c>det</c> choose between two formulas by
    /// it; to others it would only be a larger tensor.
    /// </param>
    /// <returns>A tensor that the caller disposes.</returns>
    public Tensor Show(Tensor values, Geometry wanted, bool withGaps = false)
    {
        if (IsRowMajor && SameLayout(wanted)) return values;
        using (values)
        {
            if (!IsDense) return withGaps ? wanted.WithGaps(values) : values.expand(wanted.Sizes);
            // What is held as it is may be a part of its storage.
            if (IsRowMajor) return values.as_strided(wanted.Sizes, wanted.Strides, values.storage_offset());
            using var restrided = torch.empty_strided(sizes, strides, values.dtype, values.device);
            restrided.copy_(values);
            return restrided.as_strided(wanted.Sizes, wanted.Strides, 0);
        }
    }

    // In the same order of axes, with the least gap wherever this layout has one.
    Tensor WithGaps(Tensor values)
    {
        var gapped = new long[sizes.Length];
        var (stride, size, original) = (1L, 1L, 1L);
        foreach (var axis in Enumerable.Range(0, sizes.Length).OrderByDescending(Stride).Reverse())
        {
            if (strides[axis] == 0) continue;
            var next = stride * size;
            if (sizes[axis] > 1 && strides[axis] != original) next += stride;
            gapped[axis] = next;
            if (sizes[axis] > 1) (stride, size, original) = (next, sizes[axis], strides[axis] * sizes[axis]);
        }
        long places = 1;
        for (var axis = 0; axis < sizes.Length; axis++) places += (sizes[axis] - 1) * gapped[axis];
        using var memory = torch.empty(places, values.dtype, values.device);
        var (ownStrides, ownSizes) = (strides, sizes);
        using (var each = memory.as_strided([.. sizes.Select((length, axis) => ownStrides[axis] == 0 ? 1 : length)], gapped, 0))
            each.copy_(values);
        return memory.as_strided(ownSizes, gapped, 0);
    }
}
