using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Actipress.Autograd;
using Actipress.Machine;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Encodings;

/// <summary>Booleans as one bit each: element i is bit i mod 8 of byte i / 8. The last byte is filled with zeros.</summary>
sealed class ExactBits : Packed
{
    static readonly ulong[] spread = [.. Enumerable.Range(0, 256).Select(Spread)];

    readonly Tensor bits;
    readonly long[] shape;

    ExactBits(Tensor bits, long[] shape)
    {
        (this.bits, this.shape) = (bits, shape);
        bits.DetachFromDisposeScope();
    }

    /// <summary>Packs a bool tensor of any shape; not disposed.</summary>
    public static ExactBits Pack(Tensor booleans)
    {
        using var contiguous = booleans.contiguous();
        using var flat = contiguous.view(-1);
        return new ExactBits(ToBits(flat), booleans.shape);
    }

    /// <summary>
    /// Packs a bit for each value of a contiguous float32 map on the CPU: whether the value lies strictly between two bounds. A NaN counts
    /// as inside.
    /// </summary>
    internal static unsafe ExactBits PackInside(Tensor map, float low, float high)
    {
        var bits = empty((map.NumberOfElements + 7) / 8, uint8);
        var values = (float*)LibTorch.Data(map);
        var to = (byte*)LibTorch.Data(bits);
        CpuTeam.Each(map.NumberOfElements, Stretch, (start, end) =>
        {
            var i = start;
            if (Vector256.IsHardwareAccelerated)
                for (var (lows, highs) = (Vector256.Create(low), Vector256.Create(high)); i + 8 <= end; i += 8)
                {
                    var x = Vector256.Load(values + i);
                    to[i / 8] = (byte)~(Vector256.LessThanOrEqual(x, lows) | Vector256.GreaterThanOrEqual(x, highs))
                        .ExtractMostSignificantBits();
                }
            for (; i < end; i += 8)
            {
                var set = 0;
                for (var bit = 0; bit < 8 && i + bit < end; bit++)
                    if (!(values[i + bit] <= low || values[i + bit] >= high)) set |= 1 << bit;
                to[i / 8] = (byte)set;
            }
        });
        return new ExactBits(bits, map.shape);
    }

    /// <summary>Unpacks the bits as a float32 map on the CPU: one value where the bit is set, and another value elsewhere.</summary>
    internal unsafe Tensor UnpackAs(float set, float notSet)
    {
        var map = empty(shape, float32);
        HugePages.Advise((float*)LibTorch.Data(map), map.NumberOfElements * sizeof(float));
        UnpackAs(set, notSet, 0, map, 0, map.NumberOfElements);
        return map;
    }

    /// <summary>
    /// Unpacks a range of the bits in the same way: (maps, rows, elements of a row). The caller disposes the result.
    /// </summary>
    internal Tensor UnpackAs(float set, float notSet, MapRange range)
    {
        var of = MapShape.Of(shape);
        var values = empty([range.Maps, range.Rows, MapRange.RowElements(of)], float32);
        var (parts, elements) = range.Contiguous(of);
        for (long part = 0; part < parts; part++)
            UnpackAs(set, notSet, range.FirstElement(of) + part * of.MapElements, values, part * elements, elements);
        return values;
    }

    // Unpacks neighbouring bits, from the given bit on, to neighbouring elements.
    unsafe void UnpackAs(float set, float notSet, long bit, Tensor map, long first, long count)
    {
        var (from, shift) = ((nint)LibTorch.Data(bits) + (nint)(bit / 8), (int)(bit % 8));
        var to = LibTorch.Data(map) + (nint)(first * sizeof(float));
        CpuTeam.Each(count, Stretch, (start, end) =>
        {
            var (bytes, values, i) = (from, to, start);
            if (Vector256.IsHardwareAccelerated)
                for (var (sets, others, each) =
                    (Vector256.Create(set), Vector256.Create(notSet), Vector256.Create(1, 2, 4, 8, 16, 32, 64, 128)); i + 8 <= end; i += 8)
                {
                    var eight = ((byte*)bytes)[i / 8] >> shift;
                    if (shift != 0) eight |= ((byte*)bytes)[i / 8 + 1] << 8 - shift;
                    Vector256.ConditionalSelect(Vector256.Equals(Vector256.Create(eight) & each, each).AsSingle(), sets, others)
                        .Store((float*)values + i);
                }
            for (; i < end; i++)
                ((float*)values)[i] = (((byte*)bytes)[(shift + i) / 8] >> (int)((shift + i) % 8) & 1) != 0 ? set : notSet;
        });
    }

    /// <summary>
    /// Writes zeros into a contiguous float32 map on the CPU where the bit is not set and the value is not above a limit.
    /// </summary>
    /// <param name="map">The map.</param>
    /// <param name="highest">The limit.</param>
    /// <param name="lowest">The value that replaces a lower value where the bit is set.</param>
    internal unsafe void ZeroUnset(Tensor map, float highest, float lowest = float.NegativeInfinity)
    {
        var from = (byte*)LibTorch.Data(bits);
        var values = (float*)LibTorch.Data(map);
        CpuTeam.Each(map.NumberOfElements, Stretch, (start, end) =>
        {
            var i = start;
            if (Vector256.IsHardwareAccelerated)
            {
                var (tops, bottoms) = (Vector256.Create(highest), Vector256.Create(lowest));
                for (var each = Vector256.Create(1, 2, 4, 8, 16, 32, 64, 128); i + 8 <= end; i += 8)
                {
                    var x = Vector256.Max(Vector256.Load(values + i), bottoms);
                    var isSet = Vector256.Equals(Vector256.Create((int)from[i / 8]) & each, each).AsSingle();
                    (x & (isSet | Vector256.GreaterThan(x, tops))).Store(values + i);
                }
            }
            for (; i < end; i++)
            {
                var x = Math.Max(values[i], lowest);
                values[i] = (from[i / 8] >> (int)(i % 8) & 1) == 0 && !(x > highest) ? 0 : x;
            }
        });
    }

    // The number of elements that one thread takes at a time: a multiple of 8.
    const long Stretch = 1 << 16;

    internal bool IsOnCpu => bits.device_type == DeviceType.CPU;

    /// <inheritdoc/>
    public override long Bytes => bits.NumberOfElements;

    /// <inheritdoc/>
    public override Tensor Unpack()
    {
        long elements = 1;
        foreach (var extent in shape) elements *= extent;
        using var flat = FromBits(bits, elements);
        return flat.view(shape);
    }

    /// <inheritdoc/>
    public override void Dispose() => bits.Dispose();

    /// <summary>Packs a flat bool tensor into bits, on its device.</summary>
    internal static Tensor ToBits(Tensor booleans)
    {
        if (booleans.device_type != DeviceType.CPU) return ToBitsByTorch(booleans);
        var bits = empty((booleans.NumberOfElements + 7) / 8, uint8);
        ToBits(booleans.Elements<byte>(), bits.Elements<byte>());
        return bits;
    }

    /// <summary>Unpacks a flat bool tensor of <paramref name="elements"/> from its bits, on their device.</summary>
    internal static Tensor FromBits(Tensor bits, long elements)
    {
        if (bits.device_type != DeviceType.CPU) return FromBitsByTorch(bits, elements);
        var booleans = empty(elements, @bool);
        FromBits(bits.Elements<byte>(), booleans.Elements<byte>());
        return booleans;
    }

    internal static void ToBits(ReadOnlySpan<byte> booleans, Span<byte> bits)
    {
        var i = 0;
        if (Vector256.IsHardwareAccelerated)
            for (; i + 32 <= booleans.Length; i += 32)
            {
                var set = Vector256.GreaterThan(Vector256.Create(booleans.Slice(i, 32)), Vector256<byte>.Zero);
                MemoryMarshal.Write(bits[(i / 8)..], set.ExtractMostSignificantBits());
            }
        bits[(i / 8)..].Clear();
        for (; i < booleans.Length; i++)
            if (booleans[i] != 0) bits[i / 8] |= (byte)(1 << i % 8);
    }

    internal static void FromBits(ReadOnlySpan<byte> bits, Span<byte> booleans)
    {
        var i = 0;
        for (; i + 8 <= booleans.Length; i += 8) MemoryMarshal.Write(booleans[i..], spread[bits[i / 8]]);
        for (; i < booleans.Length; i++) booleans[i] = (byte)(bits[i / 8] >> i % 8 & 1);
    }

    static ulong Spread(int bits)
    {
        ulong bytes = 0;
        for (var bit = 0; bit < 8; bit++) bytes |= (ulong)(bits >> bit & 1) << 8 * bit;
        return bytes;
    }

    internal static Tensor ToBitsByTorch(Tensor booleans)
    {
        var elements = booleans.NumberOfElements;
        using var padded = zeros((elements + 7) / 8 * 8, uint8, booleans.device);
        using (var places = padded.narrow(0, 0, elements)) places.copy_(booleans);
        using var groups = padded.view(-1, 8);
        using var weights = tensor(new byte[] { 1, 2, 4, 8, 16, 32, 64, 128 }, uint8, booleans.device);
        using var weighted = groups.mul_(weights);
        return weighted.sum(1, type: uint8);
    }

    internal static Tensor FromBitsByTorch(Tensor bits, long elements)
    {
        using var weights = tensor(new byte[] { 1, 2, 4, 8, 16, 32, 64, 128 }, uint8, bits.device);
        using var column = bits.unsqueeze(1);
        using var set = column.bitwise_and(weights);
        using var booleans = set.Ne(0);
        using var flat = booleans.view(-1);
        return flat.narrow(0, 0, elements);
    }
}
