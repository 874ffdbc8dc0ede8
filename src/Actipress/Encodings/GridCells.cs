using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Actipress;

/// <summary>The numbers of a map in its own memory, row-major, moved to and from tiles of float32.</summary>
unsafe interface IGridCells
{
    static abstract int Bytes { get; }

    /// <summary>The smallest positive number that a zero must not be taken for.</summary>
    static abstract float Smallest { get; }

    static abstract void Load(void* map, long at, float* to, int count);
    static abstract void Store(float* from, void* map, long at, int count);
}

unsafe struct SingleCells : IGridCells
{
    const int Ahead = 2048;

    public static int Bytes => 4;
    public static float Smallest => 1.17549435e-38f;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(void* map, long at, float* to, int count)
    {
        if (count == 16)
        {
            // Rows of a block are no stream that the processor foresees.
            if (Sse.IsSupported) Sse.Prefetch0((float*)map + at + Ahead);
            *(Row*)to = *(Row*)((float*)map + at);
        }
        else Copy((float*)map + at, to, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* from, void* map, long at, int count)
    {
        if (count == 16) *(Row*)((float*)map + at) = *(Row*)from;
        else Copy(from, (float*)map + at, count);
    }

    // Fewer than 16, as two stretches that may overlap.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Copy(float* from, float* to, int count)
    {
        if (count >= 8)
        {
            var (first, last) = (Vector256.Load(from), Vector256.Load(from + count - 8));
            first.Store(to);
            last.Store(to + count - 8);
        }
        else if (count >= 4)
        {
            var (first, last) = (Vector128.Load(from), Vector128.Load(from + count - 4));
            first.Store(to);
            last.Store(to + count - 4);
        }
        else for (var i = 0; i < count; i++) to[i] = from[i];
    }

    [InlineArray(16)]
    struct Row
    {
        float first;
    }
}

unsafe struct DoubleCells : IGridCells
{
    public static int Bytes => 8;
    public static float Smallest => 1.17549435e-38f;

    public static void Load(void* map, long at, float* to, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var value = ((double*)map)[at + i];
            to[i] = (float)value == 0 && value != 0 ? MathF.CopySign(float.Epsilon, (float)value) : (float)value;
        }
    }

    public static void Store(float* from, void* map, long at, int count)
    {
        for (var i = 0; i < count; i++) ((double*)map)[at + i] = from[i];
    }
}

unsafe struct HalfCells : IGridCells
{
    public static int Bytes => 2;
    public static float Smallest => 6.103515625e-5f;

    public static void Load(void* map, long at, float* to, int count)
    {
        for (var i = 0; i < count; i++) to[i] = (float)((Half*)map)[at + i];
    }

    public static void Store(float* from, void* map, long at, int count)
    {
        for (var i = 0; i < count; i++) ((Half*)map)[at + i] = (Half)Math.Clamp(from[i], -65504f, 65504f);
    }
}

unsafe struct BFloat16Cells : IGridCells
{
    public static int Bytes => 2;
    public static float Smallest => 1.17549435e-38f;

    public static void Load(void* map, long at, float* to, int count)
    {
        for (var i = 0; i < count; i++) to[i] = BitConverter.UInt32BitsToSingle((uint)((ushort*)map)[at + i] << 16);
    }

    // To the nearest, ties to even.
    public static void Store(float* from, void* map, long at, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var bits = BitConverter.SingleToUInt32Bits(from[i]);
            ((ushort*)map)[at + i] = (ushort)(bits + 0x7FFF + (bits >> 16 & 1) >> 16);
        }
    }
}

/// <summary>Moves tiles of one map.</summary>
unsafe struct GridMover<TCells> where TCells : struct, IGridCells
{
    public static void Gather(GridTiles tiles, long tile, void* map, float* x)
    {
        var region = tiles.RegionOf(tile);
        if (region is null)
        {
            Load(map, tile * 256, x, (int)Math.Min(256, tiles.Shape.Elements - tile * 256));
            return;
        }
        var block = (tile - region.FirstTile) * region.BlocksPerTile;
        if (region.BlockElements == 256 && region.Depth.Points == 1)
        {
            var start = Start(tiles.Shape, region, block);
            for (var row = 0; row < 16; row++) TCells.Load(map, start + (long)row * tiles.Shape.Width, x + 16 * row, 16);
            return;
        }
        if (region.Elements(tile) < 256) NativeMemory.Clear(x, 1024);
        for (var slot = 0; slot < region.BlocksPerTile * region.Depth.Points; slot += region.Depth.Points, block++)
        {
            if (block >= region.Blocks) return;
            var start = Start(tiles.Shape, region, block);
            for (var z = 0; z < region.Depth.Points; z++)
                for (var y = 0; y < region.Height.Points; y++)
                    TCells.Load(map, start + ((long)z * tiles.Shape.Height + y) * tiles.Shape.Width, x + Corner(region, slot + z) + 16 * y, region.Width.Points);
        }
    }

    public static void Scatter(GridTiles tiles, long tile, float* x, void* map)
    {
        var region = tiles.RegionOf(tile);
        if (region is null)
        {
            Store(x, map, tile * 256, (int)Math.Min(256, tiles.Shape.Elements - tile * 256));
            return;
        }
        var block = (tile - region.FirstTile) * region.BlocksPerTile;
        if (region.BlockElements == 256 && region.Depth.Points == 1)
        {
            var start = Start(tiles.Shape, region, block);
            for (var row = 0; row < 16; row++) TCells.Store(x + 16 * row, map, start + (long)row * tiles.Shape.Width, 16);
            return;
        }
        for (var slot = 0; slot < region.BlocksPerTile * region.Depth.Points; slot += region.Depth.Points, block++)
        {
            if (block >= region.Blocks) return;
            var start = Start(tiles.Shape, region, block);
            for (var z = 0; z < region.Depth.Points; z++)
                for (var y = 0; y < region.Height.Points; y++)
                    TCells.Store(x + Corner(region, slot + z) + 16 * y, map, start + ((long)z * tiles.Shape.Height + y) * tiles.Shape.Width, region.Width.Points);
        }
    }

    /// <summary>Up to 256 neighbours; the rest of a tile becomes zero.</summary>
    public static void Load(void* map, long at, float* x, int count)
    {
        for (var i = 0; i < count; i += 16) TCells.Load(map, at + i, x + i, Math.Min(16, count - i));
        for (var i = count; i < 256; i++) x[i] = 0;
    }

    /// <summary>Up to 256 neighbours.</summary>
    public static void Store(float* x, void* map, long at, int count)
    {
        for (var i = 0; i < count; i += 16) TCells.Store(x + i, map, at + i, Math.Min(16, count - i));
    }

    static int Corner(GridTiles.Region region, int slot) => 16 * (slot / region.Across * region.Height.Points) + slot % region.Across * region.Width.Points;

    static long Start(MapShape shape, GridTiles.Region region, long block)
    {
        var (map, within) = Math.DivRem(block, region.BlocksPerMap);
        var (lines, across) = Math.DivRem((int)within, region.Width.Count);
        var (slices, down) = Math.DivRem(lines, region.Height.Count);
        return ((map * shape.Depth + region.Depth.Start + slices * region.Depth.Points) * shape.Height + region.Height.Start + down * region.Height.Points) * shape.Width
            + region.Width.Start + across * region.Width.Points;
    }
}
