namespace Actipress;

/// <summary>The chunks of one large map while its bands are packed, by one thread or by several that have a part of it each.</summary>
sealed unsafe class GridAssembly : IDisposable
{
    readonly GridWavelet wavelet;
    readonly GridChunk.Runs[] chunks;
    // Tiles whose coefficients are not all of the same band, or not of the same part.
    readonly Dictionary<int, (float[] Coefficients, int Count)> shared = [];
    int parts;

    /// <param name="tiles">Of all maps.</param>
    /// <param name="wavelet">How they divide.</param>
    /// <param name="map">Which one this is.</param>
    /// <param name="withZeros">Whether zeros are kept.</param>
    /// <param name="parts">In how many it is divided.</param>
    public GridAssembly(GridTiles tiles, GridWavelet wavelet, int map, bool withZeros, int parts)
    {
        (this.wavelet, this.parts, FirstChunk) = (wavelet, parts, map * wavelet.ChunksPerUnit);
        chunks = [.. Enumerable.Range(0, wavelet.ChunksPerUnit).Select(i => new GridChunk.Runs(tiles.TilesIn(FirstChunk + i), withZeros && i == 0 ? (wavelet.Elements + 7) / 8 : 0))];
    }

    /// <summary>The number of the first one among the chunks of all maps.</summary>
    public int FirstChunk { get; }

    public GridChunk.Runs this[int chunk] => chunks[chunk];

    /// <summary>Keeps which of up to 256 neighbours are zero, of which those from <paramref name="at"/> on, a multiple of 256, are the first.</summary>
    public void KeepZeros(int at, ulong* positive, int count) => Buffer.MemoryCopy(positive, chunks[0].Zeros + at / 8, (count + 7) / 8, (count + 7) / 8);

    /// <summary>Adds coefficients of one tile; gives the whole tile where they were the last ones of it.</summary>
    public float[]? Share(long at, float* coefficients, int count)
    {
        var (tile, place) = ((int)(at / 256), (int)(at % 256));
        lock (shared)
        {
            var (all, there) = shared.TryGetValue(tile, out var some) ? some : (new float[256], 0);
            new Span<float>(coefficients, count).CopyTo(all.AsSpan(place));
            if (there + count < Math.Min(256, wavelet.Coefficients - 256L * tile))
            {
                shared[tile] = (all, there + count);
                return null;
            }
            shared.Remove(tile);
            return all;
        }
    }

    /// <summary>A part is done; tells whether all are.</summary>
    public bool Done() => Interlocked.Decrement(ref parts) == 0;

    public void Dispose()
    {
        foreach (var chunk in chunks) chunk.Dispose();
    }
}
