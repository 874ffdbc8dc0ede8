namespace Actipress.Transforms;

/// <summary>
/// The orthonormal type-II discrete cosine transform of square blocks (paper, Section 3.1.2 and equation 9):
/// Y = A X A^T with A[k, i] = c_k cos(pi (2 i + 1) k / 2 n), c_0 = sqrt(1 / n), c_k = sqrt(2 / n) otherwise.
/// </summary>
/// <remarks>
/// Planes have blocks of <see cref="Block"/> x <see cref="Block"/>. Volumes have blocks of as many elements but near a cube (4 x 8 x 8 for
/// 16). A line is a plane of one row, whose blocks have <see cref="Block"/> points. An axis whose length is no multiple of its block ends
/// in one shorter block with a transform of its own length, so nothing is padded: N elements give N coefficients and the transform is
/// orthonormal at every size. Order: where axes have both full and shorter blocks, first the region of full blocks, then those with the
/// shorter block on the last, the middle, the first axis and so on; within a region map after map, block after block, row-major.
/// </remarks>
sealed partial record Dct : Transform
{
    /// <summary>Edge of a block in a plane: 4, 8 or 16.</summary>
    public int Block { get; }

    /// <param name="block">Edge of a block in a plane: 4, 8 or 16, as in the paper.</param>
    /// <exception cref="ArgumentOutOfRangeException">The block has another size.</exception>
    public Dct(int block = 16)
    {
        if (block is not (4 or 8 or 16))
            throw new ArgumentOutOfRangeException(nameof(block), $"No DCT of {block} x {block} blocks: wanted 4, 8 or 16.");
        Block = block;
    }

    /// <inheritdoc/>
    public override string Name => "dct";

    /// <inheritdoc/>
    public override long Coefficients(MapShape shape) => shape.Elements;

    /// <inheritdoc/>
    public override void Forward(ReadOnlySpan<float> map, MapShape shape, Span<float> coefficients)
    {
        var done = 0;
        foreach (var region in Regions(shape))
            for (var m = 0L; m < shape.Maps; m++)
                foreach (var (d, h, w) in region.Blocks())
                {
                    var block = coefficients.Slice(done, region.BlockElements);
                    Gather(map, shape, m, region, d, h, w, block);
                    Along(block, region, Matrix);
                    done += block.Length;
                }
    }

    /// <inheritdoc/>
    public override void Inverse(ReadOnlySpan<float> coefficients, MapShape shape, Span<float> map)
    {
        var done = 0;
        Span<float> block = stackalloc float[256];
        foreach (var region in Regions(shape))
            for (var m = 0L; m < shape.Maps; m++)
                foreach (var (d, h, w) in region.Blocks())
                {
                    coefficients.Slice(done, region.BlockElements).CopyTo(block);
                    Along(block[..region.BlockElements], region, points => Transposed(Matrix(points)));
                    Scatter(block, map, shape, m, region, d, h, w);
                    done += region.BlockElements;
                }
    }

    /// <summary>A of the formula: row k is the k-th cosine.</summary>
    static double[,] Matrix(int points)
    {
        var matrix = new double[points, points];
        for (var k = 0; k < points; k++)
            for (var i = 0; i < points; i++)
                matrix[k, i] = Math.Sqrt((k == 0 ? 1.0 : 2.0) / points) * Math.Cos(Math.PI * (2 * i + 1) * k / (2.0 * points));
        return matrix;
    }

    static double[,] Transposed(double[,] matrix)
    {
        var transposed = new double[matrix.GetLength(1), matrix.GetLength(0)];
        for (var i = 0; i < matrix.GetLength(0); i++)
            for (var j = 0; j < matrix.GetLength(1); j++)
                transposed[j, i] = matrix[i, j];
        return transposed;
    }

    /// <summary>Blocks along an axis, all of as many points.</summary>
    /// <param name="Start">Where the first block starts.</param>
    /// <param name="Count">Blocks.</param>
    /// <param name="Points">Points of each.</param>
    internal readonly record struct Axis(int Start, int Count, int Points);

    /// <summary>
    /// How maps divide into blocks of <paramref name="block"/> points (a quarter, half and half of that in a volume): whole blocks, and
    /// shorter ones at the end of each axis.
    /// </summary>
    internal static IEnumerable<(Axis Depth, Axis Height, Axis Width)> Division(MapShape shape, int block)
    {
        var (depth, height, width) = shape.SpatialRank == 3 ? (block / 4, block / 2, block / 2) : (1, block, block);
        return from d in Parts(shape.Depth, depth)
               from h in Parts(shape.Height, height)
               from w in Parts(shape.Width, width)
               select (d, h, w);

        static IEnumerable<Axis> Parts(int length, int block)
        {
            if (length >= block) yield return new Axis(0, length / block, block);
            if (length % block > 0) yield return new Axis(length - length % block, 1, length % block);
        }
    }

    readonly partial record struct Region(Axis Depth, Axis Height, Axis Width)
    {
        public int BlockElements => Depth.Points * Height.Points * Width.Points;

        public IEnumerable<(int Depth, int Height, int Width)> Blocks()
        {
            for (var d = 0; d < Depth.Count; d++)
                for (var h = 0; h < Height.Count; h++)
                    for (var w = 0; w < Width.Count; w++)
                        yield return (Depth.Start + d * Depth.Points, Height.Start + h * Height.Points, Width.Start + w * Width.Points);
        }
    }

    IEnumerable<Region> Regions(MapShape shape) =>
        from blocks in Division(shape, Block) select new Region(blocks.Depth, blocks.Height, blocks.Width);

    static void Gather(ReadOnlySpan<float> map, MapShape shape, long m, Region region, int d, int h, int w, Span<float> block)
    {
        for (var z = 0; z < region.Depth.Points; z++)
            for (var y = 0; y < region.Height.Points; y++)
                map.Slice(Row(shape, m, d + z, h + y) + w, region.Width.Points)
                    .CopyTo(block[((z * region.Height.Points + y) * region.Width.Points)..]);
    }

    static void Scatter(ReadOnlySpan<float> block, Span<float> map, MapShape shape, long m, Region region, int d, int h, int w)
    {
        for (var z = 0; z < region.Depth.Points; z++)
            for (var y = 0; y < region.Height.Points; y++)
                block.Slice((z * region.Height.Points + y) * region.Width.Points, region.Width.Points)
                    .CopyTo(map[(Row(shape, m, d + z, h + y) + w)..]);
    }

    static int Row(MapShape shape, long m, int z, int y) => checked((int)(((m * shape.Depth + z) * shape.Height + y) * shape.Width));

    // Multiplies the block by a matrix along each of its axes in turn.
    static void Along(Span<float> block, Region region, Func<int, double[,]> matrix)
    {
        Span<double> line = stackalloc double[16];
        var stride = 1;
        foreach (var points in (ReadOnlySpan<int>)[region.Width.Points, region.Height.Points, region.Depth.Points])
        {
            if (points > 1)
            {
                var a = matrix(points);
                for (var start = 0; start < block.Length; start++)
                {
                    if (start / stride % points != 0) continue;
                    for (var i = 0; i < points; i++) line[i] = block[start + i * stride];
                    for (var k = 0; k < points; k++)
                    {
                        double sum = 0;
                        for (var i = 0; i < points; i++) sum += a[k, i] * line[i];
                        block[start + k * stride] = (float)sum;
                    }
                }
            }
            stride *= points;
        }
    }
}
