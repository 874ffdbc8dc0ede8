using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Actipress.Machine;

namespace Actipress.Grid.Tiles;

/// <summary>Loads the elements of a map, row-major in its own memory and type, as float32, and stores them.</summary>
unsafe interface IGridCells
{
    static abstract int Bytes { get; }

    /// <summary>Whether the elements are float32.</summary>
    static abstract bool AreFloats { get; }

    /// <summary>
    /// The smallest value that an element other than zero may be decoded to: the smallest normal number of the type, at least that of
    /// float32.
    /// </summary>
    static abstract float Smallest { get; }

    static abstract void Load(void* map, long at, float* to, int count);
    static abstract void Store(float* from, void* map, long at, int count);
}

unsafe struct SingleCells : IGridCells
{
    public static int Bytes => 4;
    public static bool AreFloats => true;
    public static float Smallest => 1.17549435e-38f;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Load(void* map, long at, float* to, int count)
    {
        if (count == 16) *(Row*)to = *(Row*)((float*)map + at);
        else Copy((float*)map + at, to, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* from, void* map, long at, int count)
    {
        if (count == 16) *(Row*)((float*)map + at) = *(Row*)from;
        else Copy(from, (float*)map + at, count);
    }

    /// <summary>Copies up to 16 values and fills with zeros up to the sixteenth; needs AVX.</summary>
    // Each place is written once, by a store as wide as the load that follows: a load that spans several stores cannot be forwarded.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void LoadRow(float* from, float* to, int count)
    {
        if (Avx512F.IsSupported)
        {
            var all = Vector512.Create(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            Avx512F.MaskLoad(from, Vector512.LessThan(all, Vector512.Create(count)).AsSingle(), Vector512<float>.Zero).Store(to);
            return;
        }
        var places = Vector256.Create(0, 1, 2, 3, 4, 5, 6, 7);
        Avx.MaskLoad(from, Vector256.LessThan(places, Vector256.Create(count)).AsSingle()).Store(to);
        Avx.MaskLoad(from + 8, Vector256.LessThan(places, Vector256.Create(count - 8)).AsSingle()).Store(to + 8);
    }

    // Copies fewer than 16 values in pieces that do not overlap.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Copy(float* from, float* to, int count)
    {
        var i = 0;
        if ((count & 8) != 0) Vector256.Load(from).Store(to);
        i += count & 8;
        if ((count & 4) != 0) Vector128.Load(from + i).Store(to + i);
        i += count & 4;
        if ((count & 2) != 0) *(double*)(to + i) = *(double*)(from + i);
        i += count & 2;
        if ((count & 1) != 0) to[i] = from[i];
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
    public static bool AreFloats => false;
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
    public static bool AreFloats => false;
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
    public static bool AreFloats => false;
    public static float Smallest => 1.17549435e-38f;

    public static void Load(void* map, long at, float* to, int count)
    {
        for (var i = 0; i < count; i++) to[i] = BitConverter.UInt32BitsToSingle((uint)((ushort*)map)[at + i] << 16);
    }

    // This rounds to nearest, ties to even.
    public static void Store(float* from, void* map, long at, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var bits = BitConverter.SingleToUInt32Bits(from[i]);
            ((ushort*)map)[at + i] = (ushort)(bits + 0x7FFF + (bits >> 16 & 1) >> 16);
        }
    }
}

/// <summary>Moves tiles between a map and scratch memory.</summary>
unsafe struct GridMover<TCells> where TCells : struct, IGridCells
{
    /// <summary>
    /// Returns where the walk's tile lies in the map, if it is 16 rows of 16 float32 there, <paramref name="stride"/> apart; else null, and
    /// a stride of 16.
    /// </summary>
    public static float* InPlace(ref GridWalk walk, void* map, out long stride)
    {
        stride = 16;
        if (!TCells.AreFloats) return null;
        if (walk.Region is not { } region) return walk.Elements == 256 ? (float*)map + 256 * walk.Tile : null;
        if (region.BlockElements < 256 || region.Depth.Points > 1) return null;
        stride = walk.Shape.Width;
        var place = (float*)map + walk.Blocks.Start;
        walk.Blocks.Skip(1);
        return place;
    }

    /// <summary>Returns where 256 neighbours lie in the map, if they are float32; else null.</summary>
    public static float* InPlace(long at, int count, void* map) => TCells.AreFloats && count == 256 ? (float*)map + at : null;

    /// <summary>Reads the walk's tile and advances its blocks.</summary>
    public static void Gather(ref GridWalk walk, void* map, float* x)
    {
        if (walk.Region is not { } region) Load(map, walk.Tile * 256, x, walk.Elements);
        else
        {
            if (!InRows(region) && walk.Elements < 256) Clear(x, x + 256);
            Move(ref walk, region, map, x, store: false);
        }
    }

    /// <summary>Writes the walk's tile and advances its blocks.</summary>
    public static void Scatter(ref GridWalk walk, float* x, void* map)
    {
        if (walk.Region is { } region) Move(ref walk, region, map, x, store: true);
        else Store(x, map, walk.Tile * 256, walk.Elements);
    }

    /// <summary>
    /// Writes only the tile's blocks, or plain values, from <paramref name="first"/> up to but not including <paramref name="end"/>.
    /// </summary>
    public static void Scatter(ref GridWalk walk, float* x, void* map, int first, int end)
    {
        if (walk.Region is not { } region)
        {
            Store(x + first, map, walk.Tile * 256 + first, end - first);
            return;
        }
        var (height, width, plane, across) = (
            region.Height.Points, region.Width.Points, (long)walk.Shape.Height * walk.Shape.Width, region.Across);
        for (int block = 0, blocks = walk.BlocksHere; block < blocks; block++, walk.Blocks.Skip(1))
        {
            if (block < first || block >= end) continue;
            for (var z = 0; z < region.Depth.Points; z++)
            {
                var (down, right) = Math.DivRem(block * region.Depth.Points + z, across);
                float* corner = x + 16 * down * height + right * width;
                for (var y = 0; y < height; y++)
                    TCells.Store(corner + 16 * y, map, walk.Blocks.Start + z * plane + (long)y * walk.Shape.Width, width);
            }
        }
    }

    // The tile is one block of 4 x 8 x 8, with slices 0 and 1 above slices 2 and 3. The block below is prefetched: rows of half a cache
    // line are not a stream that the processor recognises.
    static void MoveVolume(ref GridWalk walk, float* map, float* x, bool store)
    {
        var (height, width) = (walk.Shape.Height, walk.Shape.Width);
        var slice = map + walk.Blocks.Start;
        walk.Blocks.Skip(1);
        for (var z = 0; z < 4; z++, slice += (long)height * width)
        {
            float* row = slice, corner = x + 128 * (z >> 1) + 8 * (z & 1);
            for (var y = 0; y < 8; y++, row += width, corner += 16)
            {
                CacheLine.Ask(row + 8L * width);
                if (store) Vector256.Load(corner).Store(row);
                else Vector256.Load(row).Store(corner);
            }
        }
    }

    // Whether each row of a tile belongs to one block.
    static bool InRows(GridTiles.Region region) => region.Across == 1 && region.Depth.Points == 1;

    // The tile's blocks lie one above the other. Places that no block fills become zero.
    static void MoveRows(ref GridWalk walk, GridTiles.Region region, void* map, float* x, bool store)
    {
        var (height, width, stride) = (region.Height.Points, region.Width.Points, walk.Shape.Width);
        var end = x + 256;
        for (var left = walk.BlocksHere; left > 0; left--, walk.Blocks.Skip(1))
        {
            var at = walk.Blocks.Start;
            for (var y = 0; y < height; y++, at += stride, x += 16)
            {
                CacheLine.Ask((byte*)map + (at + region.Ahead) * TCells.Bytes);
                if (store) TCells.Store(x, map, at, width);
                else LoadRow(map, at, x, width);
            }
        }
        if (!store) Clear(x, end);
    }

    // This clears rows with stores as wide as the loads that follow.
    static void Clear(float* x, float* end)
    {
        for (; x < end; x += 16) Vector512<float>.Zero.Store(x);
    }

    static void LoadRow(void* map, long at, float* x, int count)
    {
        if (TCells.AreFloats && Avx.IsSupported)
        {
            SingleCells.LoadRow((float*)map + at, x, count);
            return;
        }
        TCells.Load(map, at, x, count);
        for (var i = count; i < 16; i++) x[i] = 0;
    }

    static void Move(ref GridWalk walk, GridTiles.Region region, void* map, float* x, bool store)
    {
        if (InRows(region))
        {
            MoveRows(ref walk, region, map, x, store);
            return;
        }
        if (TCells.AreFloats && region.IsVolume)
        {
            MoveVolume(ref walk, (float*)map, x, store);
            return;
        }
        var (shape, left) = (walk.Shape, walk.BlocksHere);
        var (depth, height, width, across) = (region.Depth.Points, region.Height.Points, region.Width.Points, region.Across);
        // The slices of a block fill the slots (down, right) of the tile one after the other.
        for (int down = 0, right = 0; left > 0;)
        {
            // Neighbouring blocks that fill rows of the tile move together.
            var blocks = depth == 1 && right == 0 && across * width == 16 && across <= left ? walk.Blocks.Neighbours(across) : 1;
            for (var z = 0; z < depth; z++)
            {
                var corner = x + 16 * down * height + right * width;
                var at = walk.Blocks.Start + (long)z * shape.Height * shape.Width;
                for (var y = 0; y < height; y++, at += shape.Width, corner += 16)
                {
                    CacheLine.Ask((byte*)map + (at + region.Ahead) * TCells.Bytes);
                    if (store) TCells.Store(corner, map, at, blocks * width);
                    else TCells.Load(map, at, corner, blocks * width);
                }
                right += blocks;
                if (right < across) continue;
                right = 0;
                down++;
            }
            walk.Blocks.Skip(blocks);
            left -= blocks;
        }
    }

    /// <summary>
    /// Finds the walk's tile in the map itself, or reads it into <paramref name="x"/>, and examines it by <see cref="ITileFace.Look"/>.
    /// </summary>
    public static bool Look<TFace>(
        void* map, ref GridWalk walk, float* x, out float* place, out long stride, ulong* positive, ref bool anyNegative)
        where TFace : struct, ITileFace
    {
        place = InPlace(ref walk, map, out stride);
        if (place == null) Gather(ref walk, map, place = x);
        return TFace.Look(place, stride, positive, ref anyNegative);
    }

    /// <summary>Examines up to 256 neighbours by <see cref="ITileFace.Look"/>.</summary>
    /// <remarks>
    /// The values are copied to <c>to</c> unless it is null. <c>tile</c> has room for 256 values, and is used where the map has no 256
    /// neighbours of float32.
    /// </remarks>
    public static bool Look<TFace>(void* map, long at, int count, float* to, float* tile, ulong* positive, ref bool anyNegative)
        where TFace : struct, ITileFace
    {
        var place = to == null ? InPlace(at, count, map) : null;
        if (place == null) Load(map, at, place = to == null ? tile : to, count);
        return TFace.Look(place, 16, positive, ref anyNegative);
    }

    /// <summary>Reads up to 256 neighbours; the rest of the tile becomes zero.</summary>
    public static void Load(void* map, long at, float* x, int count)
    {
        Read(map, at, x, count);
        for (var i = count; i < 256; i++) x[i] = 0;
    }

    /// <summary>Reads neighbours.</summary>
    public static void Read(void* map, long at, float* x, int count)
    {
        for (var i = 0; i < count; i += 16)
        {
            CacheLine.Ask((byte*)map + (at + i + CacheLine.Ahead) * TCells.Bytes);
            TCells.Load(map, at + i, x + i, Math.Min(16, count - i));
        }
    }

    /// <summary>Writes neighbours.</summary>
    public static void Store(float* x, void* map, long at, int count)
    {
        for (var i = 0; i < count; i += 16) TCells.Store(x + i, map, at + i, Math.Min(16, count - i));
    }
}
