using System.Numerics;
using System.Runtime.CompilerServices;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Grid;
using Actipress.Grid.Tiles;
using Actipress.Machine;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Quantisation;

/// <summary>
/// The arithmetic of <see cref="Quantized"/> on the CPU, group by group in one pass over a map's memory. The only memory of the map's size
/// is the result.
/// </summary>
sealed unsafe class QuantizedGroups(Quantized quantized)
{
    const int Group = Quantized.Group;

    int Bits => quantized.Bits;
    int Levels => quantized.Levels;
    int CodesPerByte => quantized.CodesPerByte;

    /// <summary>Packs a map; null, with a reason, where it has numbers that cannot be packed.</summary>
    public Sections? Pack(Tensor map, bool exactZeros, out LeftRaw why)
    {
        using var contiguous = map.contiguous();
        (var packed, why) = Specialised.Run<PackWork, (Sections?, LeftRaw)>(map.dtype, new(this, contiguous, exactZeros));
        return packed;
    }

    readonly struct PackWork(QuantizedGroups groups, Tensor map, bool exactZeros) : ISpecialised<(Sections?, LeftRaw)>
    {
        public (Sections?, LeftRaw) Run<TFace, TCells>() where TFace : struct, IGridFace where TCells : struct, IGridCells =>
            (groups.Pack<TFace, TCells>(map, exactZeros, out var why), why);
    }

    /// <summary>Rebuilds the map, which the caller disposes.</summary>
    public static Tensor Unpack(Sections stored, MapHeader header)
    {
        var map = Checked(stored, header, header.Extents);
        HugePages.Advise((void*)LibTorch.Data(map), map.Bytes());
        return Filled(map, stored, header, MapRange.Whole(header.Shape, 0, header.Shape.Maps));
    }

    /// <summary>Rebuilds a range of the map, (maps, rows, elements of a row), which the caller disposes.</summary>
    public static Tensor Unpack(Sections stored, MapHeader header, MapRange range) =>
        Filled(Checked(stored, header, [range.Maps, range.Rows, MapRange.RowElements(header.Shape)]), stored, header, range);

    // A tensor for the values. The sections of a damaged map are refused before it takes memory.
    static Tensor Checked(Sections stored, MapHeader header, long[] sizes)
    {
        ((Quantized)header.Codec.Encoding).Check(stored.Encoded, header.Shape.Elements);
        return empty(sizes, header.Type);
    }

    static Tensor Filled(Tensor values, Sections stored, MapHeader header, MapRange range)
    {
        try
        {
            var groups = new QuantizedGroups((Quantized)header.Codec.Encoding);
            Specialised.Run<UnpackWork, bool>(header.Type, new(groups, stored, header.Shape, range, values));
            return values;
        }
        catch
        {
            values.Dispose();
            throw;
        }
    }

    readonly struct UnpackWork(QuantizedGroups groups, Sections stored, MapShape shape, MapRange range, Tensor values) : ISpecialised<bool>
    {
        public bool Run<TFace, TCells>() where TFace : struct, IGridFace where TCells : struct, IGridCells
        {
            groups.Unpack<TFace, TCells>(stored, shape, range, values);
            return true;
        }
    }

    // The number of values that one thread takes at a time: whole groups, and for a large map so many that two threads rarely share a page.
    static long Stretch(long elements) => Math.Clamp(elements / 16, 1 << 14, 1 << 18) / Group * Group;

    Sections? Pack<TFace, TCells>(Tensor map, bool exactZeros, out LeftRaw why)
        where TFace : struct, IGridFace
        where TCells : struct, IGridCells
    {
        var elements = map.NumberOfElements;
        var from = (void*)LibTorch.Data(map);
        var (finite, anyZero, anyNegative) = (true, false, false);
        // A map that starts with a negative value keeps no zeros. Where a negative value follows later, the zeros are dropped again.
        var zeros = exactZeros && !StartsNegative() ? empty(ExactZeros.Bytes(elements), uint8) : null;
        var (scales, codes) =
            (empty([(elements + Group - 1) / Group, 2], float32), empty((elements + CodesPerByte - 1) / CodesPerByte, uint8));
        byte* toZeros = (byte*)(zeros is null ? 0 : LibTorch.Data(zeros)), toCodes = (byte*)LibTorch.Data(codes);
        var toScales = (float*)LibTorch.Data(scales);
        CpuTeam.Each(elements, Stretch(elements), Encode);

        if (zeros is not null && (!finite || anyNegative || !anyZero))
        {
            zeros.Dispose();
            zeros = null;
        }
        why = finite ? LeftRaw.No : LeftRaw.NotFinite;
        if (finite) return new(zeros, [scales, codes], Unpack) { UnpackRange = Unpack };
        scales.Dispose();
        codes.Dispose();
        return null;

        [SkipLocalsInit]
        void Encode(long start, long end)
        {
            float* memory = stackalloc float[Group + 16], x = (float*)(((nuint)memory + 63) / 64 * 64);
            var levels = stackalloc byte[Group];
            var positive = stackalloc ulong[4];
            var (zero, negative, usable) = (false, false, true);
            for (var at = start; at < end && usable; at += Group)
            {
                var count = (int)Math.Min(Group, end - at);
                var place = GridMover<TCells>.InPlace(at, count, from);
                if (place == null) GridMover<TCells>.Load(from, at, place = x, count);
                usable = TFace.Look(place, 16, positive, ref negative);
                for (var word = 0; word < 4; word++)
                {
                    var all = count >= 64 * (word + 1) ? ~0UL : (1UL << Math.Max(0, count - 64 * word)) - 1;
                    zero |= positive[word] != all;
                }
                if (toZeros != null) Buffer.MemoryCopy(positive, toZeros + at / 8, (count + 7) / 8, (count + 7) / 8);
                EncodeGroup(place, count, (uint)at, toScales + at / Group * 2, levels);
                Buffer.MemoryCopy(
                    levels, toCodes + at / CodesPerByte, (count + CodesPerByte - 1) / CodesPerByte,
                    (count + CodesPerByte - 1) / CodesPerByte);
            }
            if (zero) Volatile.Write(ref anyZero, true);
            if (negative) Volatile.Write(ref anyNegative, true);
            if (!usable) Volatile.Write(ref finite, false);
        }

        bool StartsNegative()
        {
            var x = stackalloc float[Group];
            GridMover<TCells>.Load(from, 0, x, (int)Math.Min(Group, elements));
            for (var i = 0; i < Group; i++) if (x[i] < 0) return true;
            return false;
        }
    }

    // A range is one contiguous part of the map, or equal parts. A group at the edge of a part may reach beyond it.
    void Unpack<TFace, TCells>(Sections stored, MapShape shape, MapRange range, Tensor values)
        where TFace : struct, IGridFace
        where TCells : struct, IGridCells
    {
        var (parts, ofPart) = range.Contiguous(shape);
        var (elements, first) = (shape.Elements, range.FirstElement(shape));
        var to = (void*)LibTorch.Data(values);
        var scales = (float*)LibTorch.Data(stored.Encoded[0]);
        byte* codes = (byte*)LibTorch.Data(stored.Encoded[1]), zeros = (byte*)(stored.Zeros is null ? 0 : LibTorch.Data(stored.Zeros));
        var least = zeros == null ? 0 : ExactZeros.Least(TCells.Smallest, quantized.Step(stored.Encoded));
        var stretch = Stretch(ofPart);
        var stretches = (ofPart + Group + stretch - 1) / stretch;
        CpuTeam.Each(parts * stretches, Math.Max(1, Stretch(parts * ofPart) / stretch), (from, end) =>
        {
            for (var i = from; i < end; i++)
            {
                var (part, within) = Math.DivRem(i, stretches);
                var begin = first + part * shape.MapElements;
                var groups = begin / Group * Group + within * stretch;
                Decode(groups, Math.Min(groups + stretch, begin + ofPart), begin, begin + ofPart, part * ofPart);
            }
        });

        // Decodes the groups that begin from start up to but not including stop, as far as they belong to a part of the map.
        [SkipLocalsInit]
        void Decode(long start, long stop, long begin, long end, long target)
        {
            float* memory = stackalloc float[Group + 16], x = (float*)(((nuint)memory + 63) / 64 * 64);
            var levels = stackalloc byte[Group];
            var positive = stackalloc ulong[4];
            for (var at = start; at < stop; at += Group)
            {
                var count = (int)Math.Min(Group, elements - at);
                Buffer.MemoryCopy(codes + at / CodesPerByte, levels, Group, (count + CodesPerByte - 1) / CodesPerByte);
                DecodeGroup(levels, scales[at / Group * 2], scales[at / Group * 2 + 1], x);
                var (from, wanted) = (Math.Max(at, begin), (int)(Math.Min(at + count, end) - Math.Max(at, begin)));
                var place = GridMover<TCells>.InPlace(target + from - begin, wanted, to);
                if (zeros != null)
                {
                    Buffer.MemoryCopy(zeros + at / 8, positive, 32, (count + 7) / 8);
                    TFace.Restore(x, positive, least, place == null ? x : place, 16);
                    if (place != null) continue;
                }
                GridMover<TCells>.Store(x + (from - at), to, target + from - begin, wanted);
            }
        }
    }

    /// <summary>
    /// The definition, a register of values at a time: the minimum, the step, and the codes, first a byte each and then packed.
    /// </summary>
    /// <remarks>
    /// <c>x</c>: 256 values; values beyond <c>count</c> are overwritten. <c>first</c>: the index of the first value. <c>codes</c>: room for
    /// 256 bytes.
    /// </remarks>
    void EncodeGroup(float* x, int count, uint first, float* scale, byte* codes)
    {
        for (var i = count; i < Group; i++) x[i] = x[0];
        Vector<float> least = *(Vector<float>*)x, most = least;
        for (var i = Vector<float>.Count; i < Group; i += Vector<float>.Count)
        {
            least = Vector.MinNative(least, *(Vector<float>*)(x + i));
            most = Vector.MaxNative(most, *(Vector<float>*)(x + i));
        }
        float minimum = least[0], maximum = most[0];
        for (var i = 1; i < Vector<float>.Count; i++) (minimum, maximum) = (Math.Min(minimum, least[i]), Math.Max(maximum, most[i]));
        // Adding 0 removes the sign of a zero, which differs between processors.
        (minimum, maximum) = (minimum + 0, maximum + 0);
        var step = (maximum - minimum) / Levels;
        (scale[0], scale[1]) = (minimum, step);
        if (step == 0) new Span<byte>(codes, Group).Clear();
        else
            for (var i = 0; i < Group; i += Vector<byte>.Count)
                *(Vector<sbyte>*)(codes + i) = Vector.Narrow(
                    Vector.Narrow(Level(i), Level(i + Vector<int>.Count)),
                    Vector.Narrow(Level(i + 2 * Vector<int>.Count), Level(i + 3 * Vector<int>.Count)));
        for (var i = count; i < Group; i++) codes[i] = 0;
        Pack(codes);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector<int> Level(int i) => Vector.Min(
            Vector.ConvertToInt32Native((*(Vector<float>*)(x + i) - new Vector<float>(minimum)) / new Vector<float>(step)
                + Uniforms(first + (uint)i)),
            new Vector<int>(Levels));
    }

    void DecodeGroup(byte* codes, float minimum, float step, float* x)
    {
        Spread(codes);
        Vector<float> minimums = new(minimum), steps = new(step);
        for (var i = 0; i < Group; i += Vector<byte>.Count, x += Vector<byte>.Count)
        {
            Vector.Widen(*(Vector<byte>*)(codes + i), out var low, out var high);
            Vector.Widen(low, out var a, out var b);
            Vector.Widen(high, out var c, out var d);
            var to = (Vector<float>*)x;
            to[0] = Vector.ConvertToSingle(a.As<uint, int>()) * steps + minimums;
            to[1] = Vector.ConvertToSingle(b.As<uint, int>()) * steps + minimums;
            to[2] = Vector.ConvertToSingle(c.As<uint, int>()) * steps + minimums;
            to[3] = Vector.ConvertToSingle(d.As<uint, int>()) * steps + minimums;
        }
    }

    // Packs 256 codes of a byte each into codes of 4 or 2 bits, in place.
    void Pack(byte* codes)
    {
        if (Bits == 8) return;
        for (var i = 0; i < Group / CodesPerByte; i += Vector<byte>.Count)
            if (Bits == 4)
            {
                var from = (Vector<ushort>*)(codes + 2 * i);
                *(Vector<byte>*)(codes + i) = Vector.Narrow(Two(from[0]), Two(from[1]));
            }
            else
            {
                var from = (Vector<uint>*)(codes + 4 * i);
                *(Vector<byte>*)(codes
                    + i) = Vector.Narrow(Vector.Narrow(Four(from[0]), Four(from[1])), Vector.Narrow(Four(from[2]), Four(from[3])));
            }

        static Vector<ushort> Two(Vector<ushort> x) => (x | x >>> 4) & new Vector<ushort>(0xFF);
        static Vector<uint> Four(Vector<uint> x) => (x | x >>> 6 | x >>> 12 | x >>> 18) & new Vector<uint>(0xFF);
    }

    // Unpacks the codes in place, from the last to the first, so that no code is overwritten before it is read.
    void Spread(byte* codes)
    {
        if (Bits == 8) return;
        for (var i = Group / CodesPerByte - Vector<byte>.Count; i >= 0; i -= Vector<byte>.Count)
        {
            Vector.Widen(*(Vector<byte>*)(codes + i), out var low, out var high);
            if (Bits == 4)
            {
                var to = (Vector<ushort>*)(codes + 2 * i);
                (to[0], to[1]) = (Two(low), Two(high));
            }
            else
            {
                Vector.Widen(low, out var a, out var b);
                Vector.Widen(high, out var c, out var d);
                var to = (Vector<uint>*)(codes + 4 * i);
                (to[0], to[1], to[2], to[3]) = (Four(a), Four(b), Four(c), Four(d));
            }
        }

        static Vector<ushort> Two(Vector<ushort> x) => (x | x << 4) & new Vector<ushort>(0x0F0F);
        static Vector<uint> Four(Vector<uint> x) => (x | x << 6 | x << 12 | x << 18) & new Vector<uint>(0x03030303);
    }

    // Wellons' hash lowbias32, whose upper 24 bits make a float.
    static Vector<float> Uniforms(uint index)
    {
        var hash = new Vector<uint>(index) + Vector<uint>.Indices;
        hash = (hash ^ hash >>> 16) * new Vector<uint>(0x7feb352d);
        hash = (hash ^ hash >>> 15) * new Vector<uint>(0x846ca68b);
        return Vector.ConvertToSingle(((hash ^ hash >>> 16) >>> 8).As<uint, int>()) * new Vector<float>(1f / (1 << 24));
    }
}
