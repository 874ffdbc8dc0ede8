using Actipress.Transforms;

namespace Actipress.Grid;

static partial class Definition
{
    /// <summary>A map in tiles of 16 x 16 values: of neighbours in memory, or of blocks that go through the cosine transform.</summary>
    sealed class Tiles : Layout
    {
        /// <summary>
        /// A tile: the map's element at each of its 256 places, or -1, and the extents of the blocks that share the tile.
        /// </summary>
        sealed record Tile(int[] Elements, int Depth, int Height, int Width)
        {
            public int Down => 16 / Height;
            public int Across => 16 / Width;
        }

        readonly List<Tile> tiles = [];

        /// <param name="shape">The map's.</param>
        /// <param name="block">The edge of a plane's blocks; null for tiles of neighbours.</param>
        public Tiles(MapShape shape, int? block)
        {
            if (block is not { } edge)
                for (var first = 0; first < shape.Elements; first += TileElements)
                {
                    int[] neighbours = [.. Enumerable.Range(first, TileElements).Select(i => i < shape.Elements ? i : -1)];
                    tiles.Add(new(neighbours, 1, 16, 16));
                }
            else
                foreach (var (depth, height, width) in Dct.Division(shape, edge)) AddRegion(shape, depth, height, width);
            transforms = block is not null;
            Units = [.. tiles.Chunk(TilesPerChunk).Select(some => new Chunk(some, transforms)
            {
                Coefficients = TileElements * some.Length,
                Places = [.. some.SelectMany(Values)],
            })];
        }

        readonly bool transforms;

        public override IReadOnlyList<Unit> Units { get; }

        // Blocks of the same extents, one after the other. Each slice of a block fills a slot of a tile.
        void AddRegion(MapShape shape, Dct.Axis depth, Dct.Axis height, Dct.Axis width)
        {
            var (down, across) = (16 / height.Points, 16 / width.Points);
            var together = Math.Max(1, down * across / depth.Points);
            var block = 0;
            for (var map = 0; map < shape.Maps; map++)
                for (var d = 0; d < depth.Count; d++)
                    for (var h = 0; h < height.Count; h++)
                        for (var w = 0; w < width.Count; w++, block++)
                        {
                            if (block % together == 0)
                                tiles.Add(new([.. Enumerable.Repeat(-1, TileElements)], depth.Points, height.Points, width.Points));
                            for (var z = 0; z < depth.Points; z++)
                                for (var y = 0; y < height.Points; y++)
                                    for (var x = 0; x < width.Points; x++)
                                    {
                                        var slot = block % together * depth.Points + z;
                                        var place = 16 * (slot / across * height.Points + y) + slot % across * width.Points + x;
                                        var slice = depth.Start + d * depth.Points + z;
                                        var row = height.Start + h * height.Points + y;
                                        var column = width.Start + w * width.Points + x;
                                        var line = (map * shape.Depth + slice) * shape.Height + row;
                                        tiles[^1].Elements[place] = line * shape.Width + column;
                                    }
                        }
        }

        // The elements at the places of a tile that slots cover: its first rows and columns.
        static IEnumerable<int> Values(Tile tile) =>
            from row in Enumerable.Range(0, tile.Down * tile.Height)
            from column in Enumerable.Range(0, tile.Across * tile.Width)
            select tile.Elements[16 * row + column];

        // The sample is one tile in 64, but 64 tiles at least and 512 at most.
        public override (float[], long) Sample(float[] map)
        {
            var count = (int)Math.Min(tiles.Count, Math.Clamp(tiles.Count / 64, 64, 512));
            Tile[] chosen = [.. Enumerable.Range(0, count).Select(i => tiles[(int)Chosen(i, count, tiles.Count)])];
            var elements = chosen.Sum(tile => tile.Elements.LongCount(element => element >= 0));
            return ([.. chosen.SelectMany(tile => Forward(tile, map, transforms))], elements);
        }

        sealed class Chunk(Tile[] tiles, bool transforms) : Unit
        {
            public override float[] Forward(float[] map) => [.. tiles.SelectMany(tile => Tiles.Forward(tile, map, transforms))];

            public override void Inverse(float[] coefficients, float[] map)
            {
                foreach (var (tile, y) in tiles.Zip(coefficients.Chunk(TileElements))) Tiles.Inverse(tile, y, map, transforms);
            }
        }

        // Slices, then columns, then rows are transformed. The tile is stored transposed.
        static float[] Forward(Tile tile, float[] map, bool transforms)
        {
            float[] x = [.. tile.Elements.Select(element => element < 0 ? 0 : map[element])];
            if (!transforms) return x;
            AcrossSlices(tile, x, Cosines);
            for (var column = 0; column < 16; column++) Line(x, column, 16, tile.Height, Cosines, tile.Down, inverse: false);
            for (var row = 0; row < 16; row++) Line(x, 16 * row, 1, tile.Width, Cosines, tile.Across, inverse: false);
            return Transposed(x);
        }

        static void Inverse(Tile tile, float[] y, float[] map, bool transforms)
        {
            if (transforms)
            {
                y = Transposed(y);
                for (var row = 0; row < 16; row++) Line(y, 16 * row, 1, tile.Width, Sums, tile.Across, inverse: true);
                for (var column = 0; column < 16; column++) Line(y, column, 16, tile.Height, Sums, tile.Down, inverse: true);
                AcrossSlices(tile, y, Sums);
            }
            for (var i = 0; i < TileElements; i++) if (tile.Elements[i] >= 0) map[tile.Elements[i]] = y[i];
        }

        static float[] Transposed(float[] tile) => [.. Enumerable.Range(0, TileElements).Select(i => tile[16 * (i % 16) + i / 16])];

        // Transforms a line of blocks: value i of block j is at j points + i, coefficient k at k blocks + j, so that equal frequencies are
        // neighbours.
        static void Line(float[] tile, int start, int stride, int points, Func<float[], float[]> transform, int blocks, bool inverse)
        {
            var whole = new float[16];
            for (var j = 0; j < blocks; j++)
            {
                int Value(int i) => j * points + i;
                int Coefficient(int k) => k * blocks + j;
                var after = transform(Each(points, i => tile[start + stride * (inverse ? Coefficient(i) : Value(i))]));
                for (var i = 0; i < points; i++) whole[inverse ? Value(i) : Coefficient(i)] = after[i];
            }
            for (var i = 0; i < 16; i++) tile[start + stride * i] = whole[i];
        }

        // Transforms along the depth: slice z of a block and coefficient z are in slot z of the block's slots.
        static void AcrossSlices(Tile tile, float[] x, Func<float[], float[]> transform)
        {
            if (tile.Depth == 1) return;
            for (var first = 0; first + tile.Depth <= tile.Down * tile.Across; first += tile.Depth)
                for (var y = 0; y < tile.Height; y++)
                    for (var column = 0; column < tile.Width; column++)
                    {
                        int Place(int slot) => 16 * (slot / tile.Across * tile.Height + y) + slot % tile.Across * tile.Width + column;
                        var after = transform(Each(tile.Depth, z => x[Place(first + z)]));
                        for (var z = 0; z < tile.Depth; z++) x[Place(first + z)] = after[z];
                    }
        }
    }

    // C(points, k, i) = sqrt((k == 0 ? 1 : 2) / points) cos(pi (2 i + 1) k / (2 points)) in float32; the cosine alone if not `normed`.
    static float Cosine(int points, int k, int i, bool normed) =>
        (float)((normed ? Math.Sqrt((k == 0 ? 1.0 : 2.0) / points) : 1) * Math.Cos(Math.PI * (2 * i + 1) * k / (2.0 * points)));

    static float[] Cosines(float[] x) => Cosines(x, x.Length, normed: true);

    static float[] Sums(float[] y) => Sums(y, y.Length, normed: true);

    /// <summary>The cosine transform of n points: where n is even, sums give the even coefficients and differences the odd ones.</summary>
    /// <remarks>The whole transform has so many <c>points</c>: n or a multiple of n.</remarks>
    static float[] Cosines(float[] x, int points, bool normed)
    {
        var (n, half, stride) = (x.Length, x.Length / 2, points / x.Length);
        if (n % 2 != 0) return Each(n, k => Sum(n, i => x[i], i => Cosine(points, k * stride, i, normed)));
        float[] sums = Each(half, i => x[i] + x[n - 1 - i]), differences = Each(half, i => x[i] - x[n - 1 - i]);
        var even = Cosines(sums, points, normed);
        var odd = n == 16
            ? Rotated(differences)
            : Each(half, k => Sum(half, i => differences[i], i => Cosine(points, (2 * k + 1) * stride, i, normed)));
        return Each(n, k => k % 2 == 0 ? even[k / 2] : odd[k / 2]);
    }

    /// <summary>The inverse of <see cref="Cosines(float[], int, bool)"/>.</summary>
    static float[] Sums(float[] y, int points, bool normed)
    {
        var (n, half, stride) = (y.Length, y.Length / 2, points / y.Length);
        if (n % 2 != 0) return Each(n, i => Sum(n, k => y[k], k => Cosine(points, k * stride, i, normed)));
        float[] even = Each(half, k => y[2 * k]), odd = Each(half, k => y[2 * k + 1]);
        var sums = Sums(even, points, normed);
        var differences = n == 16
            ? RotatedBack(odd)
            : Each(half, i => Sum(half, k => odd[k], k => Cosine(points, (2 * k + 1) * stride, i, normed)));
        return Each(n, i => i < half ? sums[i] + differences[i] : sums[n - 1 - i] - differences[n - 1 - i]);
    }

    // The odd coefficients of 16 points are a cosine transform of type IV. It is computed from two of type II of four points each, after
    // differences i and 7 - i were rotated by (2 i + 1) pi / 32.
    static float[] Rotated(float[] d)
    {
        float[] u = new float[4], v = new float[4];
        for (var i = 0; i < 4; i++)
        {
            var (cos, sin) = Rotation(i);
            u[i] = MathF.FusedMultiplyAdd(d[7 - i], sin, d[i] * cos);
            v[i] = i % 2 == 0 ? MathF.FusedMultiplyAdd(d[7 - i], -cos, d[i] * sin) : MathF.FusedMultiplyAdd(d[7 - i], cos, d[i] * -sin);
        }
        float[] a = Cosines(u, 4, normed: false), b = Cosines(v, 4, normed: false);
        return [a[0], a[1] + b[3], a[1] - b[3], a[2] + b[2], a[2] - b[2], a[3] + b[1], a[3] - b[1], b[0]];
    }

    static float[] RotatedBack(float[] odd)
    {
        var u = Sums([odd[0], odd[1] + odd[2], odd[3] + odd[4], odd[5] + odd[6]], 4, normed: false);
        var v = Sums([odd[7], odd[5] - odd[6], odd[3] - odd[4], odd[1] - odd[2]], 4, normed: false);
        var d = new float[8];
        for (var i = 0; i < 4; i++)
        {
            var (cos, sin) = Rotation(i);
            d[i] = MathF.FusedMultiplyAdd(v[i], i % 2 == 0 ? sin : -sin, u[i] * cos);
            d[7 - i] = MathF.FusedMultiplyAdd(v[i], i % 2 == 0 ? -cos : cos, u[i] * sin);
        }
        return d;
    }

    // The cosine and the sine of (2 i + 1) pi / 32, each divided by the square root of 8.
    static (float Cos, float Sin) Rotation(int i) => (Cosine(16, 1, i, normed: true), Cosine(16, 1, 7 - i, normed: true));
}
