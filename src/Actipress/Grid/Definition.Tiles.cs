using Actipress.Maps;

namespace Actipress.Grid;

static partial class Definition
{
    /// <summary>A map in tiles of 16 x 16 values: of neighbours in memory, or of blocks that go through the cosine transform.</summary>
    sealed class Tiles : Layout
    {
        /// <summary>
        /// A tile: the map's element at each of its 256 places, or -1, and the blocks that share it, as many down and across as there is
        /// room for.
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
                for (long first = 0; first < shape.Elements; first += TileElements)
                    tiles.Add(new([.. Enumerable.Range(0, TileElements).Select(i => first + i < shape.Elements ? (int)first + i : -1)], 1, 16, 16));
            else
            {
                var (depth, height, width) = shape.SpatialRank == 3 ? (edge / 4, edge / 2, edge / 2) : (1, edge, edge);
                foreach (var d in Axis(shape.Depth, depth))
                    foreach (var h in Axis(shape.Height, height))
                        foreach (var w in Axis(shape.Width, width)) AddRegion(shape, d, h, w);
            }
            Units = [.. tiles.Chunk(TilesPerChunk).Select(some => new Chunk(some, block is not null) { Coefficients = TileElements * some.Length, Places = [.. some.SelectMany(Values)] })];
            transforms = block is not null;
        }

        readonly bool transforms;

        public override IReadOnlyList<Unit> Units { get; }

        // Whole blocks along an axis, and a shorter one that is left.
        static IEnumerable<(int Start, int Count, int Points)> Axis(int length, int block)
        {
            if (length >= block) yield return (0, length / block, block);
            if (length % block > 0) yield return (length / block * block, 1, length % block);
        }

        // Blocks of the same points, one after the other; each slice of one fills a slot of a tile.
        void AddRegion(MapShape shape, (int Start, int Count, int Points) depth, (int Start, int Count, int Points) height, (int Start, int Count, int Points) width)
        {
            var (down, across) = (16 / height.Points, 16 / width.Points);
            var together = Math.Max(1, down * across / depth.Points);
            var block = 0;
            for (var map = 0; map < shape.Maps; map++)
                for (var d = 0; d < depth.Count; d++)
                    for (var h = 0; h < height.Count; h++)
                        for (var w = 0; w < width.Count; w++, block++)
                        {
                            if (block % together == 0) tiles.Add(new([.. Enumerable.Repeat(-1, TileElements)], depth.Points, height.Points, width.Points));
                            for (var z = 0; z < depth.Points; z++)
                                for (var y = 0; y < height.Points; y++)
                                    for (var x = 0; x < width.Points; x++)
                                    {
                                        var slot = block % together * depth.Points + z;
                                        var place = 16 * (slot / across * height.Points + y) + slot % across * width.Points + x;
                                        var (slice, row, column) = (depth.Start + d * depth.Points + z, height.Start + h * height.Points + y, width.Start + w * width.Points + x);
                                        tiles[^1].Elements[place] = (int)(((long)map * shape.Depth + slice) * shape.Height + row) * shape.Width + column;
                                    }
                        }
        }

        // The places of a tile that hold values or could: its first rows and columns.
        static IEnumerable<int> Values(Tile tile) =>
            from row in Enumerable.Range(0, tile.Down * tile.Height) from column in Enumerable.Range(0, tile.Across * tile.Width) select tile.Elements[16 * row + column];

        // One tile in 64, but 64 at least and 512 at most.
        public override (float[], long) Sample(float[] map)
        {
            var count = (int)Math.Min(tiles.Count, Math.Clamp(tiles.Count / 64, 64, 512));
            Tile[] chosen = [.. Enumerable.Range(0, count).Select(i => tiles[(int)Chosen(i, count, tiles.Count)])];
            return ([.. chosen.SelectMany(tile => Forward(tile, map, transforms))], chosen.Sum(tile => tile.Elements.LongCount(element => element >= 0)));
        }

        sealed class Chunk(Tile[] tiles, bool transforms) : Unit
        {
            public override float[] Forward(float[] map) => [.. tiles.SelectMany(tile => Tiles.Forward(tile, map, transforms))];

            public override void Inverse(float[] coefficients, float[] map)
            {
                for (var i = 0; i < tiles.Length; i++) Tiles.Inverse(tiles[i], coefficients[(TileElements * i)..(TileElements * (i + 1))], map, transforms);
            }
        }

        // Slices, then columns, then rows; stored with rows and columns exchanged.
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

        // A line of blocks: value i of block j is at j points + i; coefficient k is at k blocks + j, so that like ones are neighbours.
        static void Line(float[] tile, int start, int stride, int points, Func<float[], float[]> transform, int blocks, bool inverse)
        {
            var whole = new float[16];
            for (var j = 0; j < blocks; j++)
            {
                var after = transform([.. Enumerable.Range(0, points).Select(i => tile[start + stride * (inverse ? i * blocks + j : j * points + i)])]);
                for (var i = 0; i < points; i++) whole[inverse ? j * points + i : i * blocks + j] = after[i];
            }
            for (var i = 0; i < 16; i++) tile[start + stride * i] = whole[i];
        }

        // A block's slices are neighbouring slots; so are its coefficients along the depth.
        static void AcrossSlices(Tile tile, float[] x, Func<float[], float[]> transform)
        {
            if (tile.Depth == 1) return;
            for (var first = 0; first + tile.Depth <= tile.Down * tile.Across; first += tile.Depth)
                for (var y = 0; y < tile.Height; y++)
                    for (var column = 0; column < tile.Width; column++)
                    {
                        int[] places = [.. Enumerable.Range(first, tile.Depth).Select(slot => 16 * (slot / tile.Across * tile.Height + y) + slot % tile.Across * tile.Width + column)];
                        var after = transform([.. places.Select(place => x[place])]);
                        for (var z = 0; z < tile.Depth; z++) x[places[z]] = after[z];
                    }
        }
    }

    // A cosine of the transform of so many points, in float32: sqrt(2 / points) cos(pi (2 i + 1) k / (2 points)), sqrt(1 / points) for k =
    // 0; or not normed.
    static float Cosine(int points, int k, int i, bool normed) =>
        (float)((normed ? Math.Sqrt((k == 0 ? 1.0 : 2.0) / points) : 1) * Math.Cos(Math.PI * (2 * i + 1) * k / (2.0 * points)));

    static float[] Cosines(float[] x) => Cosines(x, x.Length, normed: true);

    static float[] Sums(float[] y) => Sums(y, y.Length, normed: true);

    /// <summary>
    /// The cosine transform: of an even number n of points, sums give the even coefficients and differences the odd ones.
    /// </summary>
    /// <remarks><c>points</c>: of the whole transform, n or a multiple.</remarks>
    static float[] Cosines(float[] x, int points, bool normed)
    {
        var (n, half, stride) = (x.Length, x.Length / 2, points / x.Length);
        if (n % 2 != 0) return [.. Enumerable.Range(0, n).Select(k => Sum(n, i => x[i], i => Cosine(points, k * stride, i, normed)))];
        float[] sums = [.. Enumerable.Range(0, half).Select(i => x[i] + x[n - 1 - i])], differences = [.. Enumerable.Range(0, half).Select(i => x[i] - x[n - 1 - i])];
        var even = Cosines(sums, points, normed);
        var odd = n == 16 ? Rotated(differences) : [.. Enumerable.Range(0, half).Select(k => Sum(half, i => differences[i], i => Cosine(points, (2 * k + 1) * stride, i, normed)))];
        return [.. Enumerable.Range(0, n).Select(k => k % 2 == 0 ? even[k / 2] : odd[k / 2])];
    }

    /// <summary>Its inverse.</summary>
    static float[] Sums(float[] y, int points, bool normed)
    {
        var (n, half, stride) = (y.Length, y.Length / 2, points / y.Length);
        if (n % 2 != 0) return [.. Enumerable.Range(0, n).Select(i => Sum(n, k => y[k], k => Cosine(points, k * stride, i, normed)))];
        float[] odd = [.. y.Where((_, k) => k % 2 != 0)];
        var sums = Sums([.. y.Where((_, k) => k % 2 == 0)], points, normed);
        var differences = n == 16 ? RotatedBack(odd) : [.. Enumerable.Range(0, half).Select(i => Sum(half, k => odd[k], k => Cosine(points, (2 * k + 1) * stride, i, normed)))];
        return [.. Enumerable.Range(0, n).Select(i => i < half ? sums[i] + differences[i] : sums[n - 1 - i] - differences[n - 1 - i])];
    }

    // The odd coefficients of 16 points, a cosine transform of type IV, out of two of type II of four points each: differences i and 7 - i
    // are rotated by (2 i + 1) pi / 32 first.
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
        float[] u = Sums([odd[0], odd[1] + odd[2], odd[3] + odd[4], odd[5] + odd[6]], 4, normed: false), v = Sums([odd[7], odd[5] - odd[6], odd[3] - odd[4], odd[1] - odd[2]], 4, normed: false);
        var d = new float[8];
        for (var i = 0; i < 4; i++)
        {
            var (cos, sin) = Rotation(i);
            d[i] = MathF.FusedMultiplyAdd(v[i], i % 2 == 0 ? sin : -sin, u[i] * cos);
            d[7 - i] = MathF.FusedMultiplyAdd(v[i], i % 2 == 0 ? -cos : cos, u[i] * sin);
        }
        return d;
    }

    // cos and sin of (2 i + 1) pi / 32 over the square root of 8.
    static (float Cos, float Sin) Rotation(int i) => (Cosine(16, 1, i, normed: true), Cosine(16, 1, 7 - i, normed: true));
}
