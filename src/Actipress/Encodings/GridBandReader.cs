using System.Runtime.InteropServices;

namespace Actipress;

/// <summary>Reads the bands of one large map out of its chunks, each from where it was read last, or a little before; those of the first chunk are held.</summary>
sealed unsafe class GridBandReader<TFace> : IDisposable where TFace : struct, IGridFace
{
    readonly GridMap packed;
    readonly GridTiles tiles;
    readonly GridWavelet wavelet;
    readonly float* held;
    readonly Cursor[] cursors;
    long map = -1;
    GridMagnitudes magnitudes;

    // Where a band is read: its coefficients from At on are in the reader's Y, those just before in its X, and the chunk's next tile is Tile.
    struct Cursor
    {
        public GridChunkReader? Reader;
        public int Chunk, Tile, Tiles, Before, Count;
        public long At;
    }

    /// <param name="packed">The maps.</param>
    /// <param name="tiles">Of all maps.</param>
    /// <param name="wavelet">How they divide.</param>
    public GridBandReader(GridMap packed, GridTiles tiles, GridWavelet wavelet)
    {
        (this.packed, this.tiles, this.wavelet) = (packed, tiles, wavelet);
        magnitudes = new(packed.Step, packed.FirstOffset, packed.OtherOffset);
        held = (float*)NativeMemory.AlignedAlloc(GridTiles.ChunkCoefficients * sizeof(float), 64);
        cursors = new Cursor[wavelet.Bands.Length];
    }

    public void Dispose()
    {
        AllocatorMeter.LookIn();
        NativeMemory.AlignedFree(held);
        foreach (var cursor in cursors) cursor.Reader?.Dispose();
    }

    /// <summary>Turns to a map.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public void Open(int map)
    {
        if (map == this.map) return;
        this.map = map;
        foreach (ref var cursor in cursors.AsSpan()) (cursor.Chunk, cursor.At, cursor.Before, cursor.Count) = (-1, 0, 0, 0);
        ref var first = ref cursors[0];
        for (Begin(ref first, 0); first.Tile < first.Tiles;) Next(ref first, held + 256 * first.Tile);
    }

    /// <summary>So many coefficients of a band, here or where they are held.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public float* Read(int band, long start, int count, float* to)
    {
        var at = wavelet.Bands[band].Start + start;
        if (at + count <= GridTiles.ChunkCoefficients) return held + at;
        ref var cursor = ref cursors[band];
        for (var end = at + count; at < end;)
        {
            if (at < cursor.At - cursor.Before || at >= cursor.At + cursor.Count)
            {
                var (chunk, place) = Math.DivRem(at, GridTiles.ChunkCoefficients);
                var next = cursor.At + cursor.Count;
                if (chunk != cursor.Chunk || place < 256L * cursor.Tile) Begin(ref cursor, (int)chunk);
                cursor.At = at - place + 256L * cursor.Tile;
                // X lies before Y.
                cursor.Before = cursor.At == next && cursor.Count > 0 ? 256 : 0;
                if (cursor.Before > 0) GridUnit<TFace>.Copy(cursor.Reader!.Y + (cursor.Count - 256), cursor.Reader.X, 256);
                cursor.Count = 256 * Next(ref cursor, cursor.Reader!.Y);
                continue;
            }
            var some = (int)Math.Min(end - at, cursor.At + cursor.Count - at);
            GridUnit<TFace>.Copy(cursor.Reader!.Y + (at - cursor.At), to + (count - (end - at)), some);
            at += some;
        }
        return to;
    }

    void Begin(ref Cursor cursor, int chunk)
    {
        var index = (int)map * wavelet.ChunksPerUnit + chunk;
        (cursor.Chunk, cursor.Tile, cursor.Tiles) = (chunk, 0, tiles.TilesIn(index));
        packed.Open(cursor.Reader ??= new(0), index, cursor.Tiles, packed.HasZeros && chunk == 0 ? wavelet.Elements : 0);
    }

    // Reads some tiles and tells how many.
    int Next(ref Cursor cursor, float* to)
    {
        var some = Math.Min(GridChunk.Batch, cursor.Tiles - cursor.Tile);
        fixed (GridMagnitudes* values = &magnitudes) cursor.Reader!.Read<TFace>(to, some, values);
        if ((cursor.Tile += some) == cursor.Tiles) cursor.Reader.Close();
        return some;
    }
}
