using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>The positions of a tensor's elements in its storage.</summary>
readonly struct Geometry(long[] sizes, long[] strides, long offset)
{
    public long[] Sizes => sizes;
    public long[] Strides => strides;
    public long Offset => offset;

    public static Geometry Of(Tensor tensor) => new(tensor.shape, tensor.stride(), tensor.storage_offset());

    /// <summary>A view of the elements in these positions of a tensor's storage; the caller disposes it.</summary>
    public Tensor View(Tensor tensor) => tensor.as_strided(sizes, strides, offset);

    /// <summary>
    /// The geometry of the map of which an operation saved <paramref name="tensor"/>. Expanded axes are not repeated, and rows that a
    /// linear layer folds have the shape (n, tokens, features).
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

    // These rows are tokens, several to an example. Rows that are whole flattened examples have lost their axes and stay rows.
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

    // Axes of stride 0 count as one element.
    Geometry WithoutExpansion()
    {
        var (ownSizes, ownStrides) = (sizes, strides);
        return new([.. sizes.Select((size, axis) => ownStrides[axis] == 0 && size > 1 ? 1 : size)], ownStrides, offset);
    }

    /// <summary>Whether the elements fill one contiguous part of the storage, each position once, in any order of axes.</summary>
    public bool IsDense => IsPacked(Enumerable.Range(0, sizes.Length).OrderByDescending(Stride).ToArray());

    /// <summary>Whether the elements do so in row-major order.</summary>
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

    /// <summary>Whether both hold the same elements of the same storage: the same contiguous part, or the same layout.</summary>
    public bool SameElements(Geometry other) =>
        offset == other.Offset && ((IsDense && other.IsDense && Elements == other.Elements) || SameLayout(other));

    public bool SameLayout(Geometry other) => sizes.AsSpan().SequenceEqual(other.Sizes) && strides.AsSpan().SequenceEqual(other.Strides);

    /// <summary>
    /// Restrides a map that has this layout, rebuilt in row-major order, to the layout <paramref name="wanted"/> of a tensor that was saved
    /// of it.
    /// </summary>
    /// <param name="values">The map in this layout's sizes; it is disposed or returned.</param>
    /// <param name="wanted">A layout of the same elements.</param>
    /// <param name="withGaps">
    /// Whether a layout with gaps, such as that of a narrowed matrix, is restored with its gaps. Operations such as <c>det</c> choose
    /// between two formulas by the layout. For other operations the gaps would only make the tensor larger.
    /// </param>
    /// <returns>A tensor that the caller disposes.</returns>
    public Tensor Show(Tensor values, Geometry wanted, bool withGaps = false)
    {
        if (IsRowMajor && SameLayout(wanted)) return values;
        using (values)
        {
            if (!IsDense) return withGaps ? wanted.WithGaps(values) : values.expand(wanted.Sizes);
            // A map that is held as it is may be a part of its storage.
            if (IsRowMajor) return values.as_strided(wanted.Sizes, wanted.Strides, values.storage_offset());
            using var restrided = torch.empty_strided(sizes, strides, values.dtype, values.device);
            restrided.copy_(values);
            return restrided.as_strided(wanted.Sizes, wanted.Strides, 0);
        }
    }

    // The order of axes stays the same, and each gap of this layout becomes the smallest gap.
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
