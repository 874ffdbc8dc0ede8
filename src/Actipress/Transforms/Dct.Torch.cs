using static TorchSharp.torch;

namespace Actipress.Transforms;

// The transform in torch operations, on any device: one matrix product along each axis, for all blocks of a region at once.
sealed partial record Dct
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor map, MapShape shape)
    {
        using var volumes = map.view(shape.Maps, shape.Depth, shape.Height, shape.Width);
        var parts = Regions(shape).Select(region =>
        {
            using var blocks = region.Cut(volumes);
            using var coefficients = Along(blocks, region, inverse: false);
            return coefficients.reshape(-1);
        }).ToArray();
        return Join(parts, map);
    }

    /// <inheritdoc/>
    public override Tensor Inverse(Tensor coefficients, MapShape shape)
    {
        var map = empty(shape.Elements, coefficients.dtype, coefficients.device);
        using var volumes = map.view(shape.Maps, shape.Depth, shape.Height, shape.Width);
        long done = 0;
        foreach (var region in Regions(shape))
        {
            var elements = shape.Maps * region.Depth.Count * region.Height.Count * region.Width.Count * region.BlockElements;
            using var part = coefficients.narrow(0, done, elements);
            using var shaped = part.view(
                shape.Maps, region.Depth.Count, region.Height.Count, region.Width.Count, region.Depth.Points, region.Height.Points,
                region.Width.Points);
            using var blocks = Along(shaped, region, inverse: true);
            using var place = region.Cut(volumes);
            place.copy_(blocks);
            done += elements;
        }
        return map;
    }

    static Tensor Join(Tensor[] parts, Tensor like)
    {
        if (parts.Length == 1) return parts[0];
        var joined = parts.Length == 0 ? empty(0, like.dtype, like.device) : cat(parts);
        foreach (var part in parts) part.Dispose();
        return joined;
    }

    // x: (maps, blocks d, blocks h, blocks w, points d, points h, points w)
    static Tensor Along(Tensor x, Region region, bool inverse)
    {
        var result = x.alias();
        if (region.Width.Points > 1) Replace(m => result.matmul(m), region.Width.Points, transposed: !inverse);
        if (region.Height.Points > 1) Replace(m => m.matmul(result), region.Height.Points, transposed: inverse);
        if (region.Depth.Points > 1)
            Replace(m =>
            {
                using var slices = result.flatten(5);
                using var product = m.matmul(slices);
                return product.unflatten(5, region.Height.Points, region.Width.Points);
            }, region.Depth.Points, transposed: inverse);
        return result;

        void Replace(Func<Tensor, Tensor> product, int points, bool transposed)
        {
            using var matrix = tensor(transposed ? Transposed(Matrix(points)) : Matrix(points), x.dtype, x.device);
            var next = product(matrix);
            result.Dispose();
            result = next;
        }
    }

    // Gives the definition's region a view of a tensor.
    readonly partial record struct Region
    {
        /// <summary>The region's blocks as a view: (maps, blocks d, blocks h, blocks w, points d, points h, points w).</summary>
        public Tensor Cut(Tensor volumes)
        {
            var sizes = volumes.shape;
            var (slice, row) = (sizes[2] * sizes[3], sizes[3]);
            return volumes.as_strided(
                [sizes[0], Depth.Count, Height.Count, Width.Count, Depth.Points, Height.Points, Width.Points],
                [sizes[1] * slice, Depth.Points * slice, Height.Points * row, Width.Points, slice, row, 1],
                volumes.storage_offset() + Depth.Start * slice + Height.Start * row + Width.Start);
        }
    }
}
