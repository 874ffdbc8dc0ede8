using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Actipress.Autograd;
using Actipress.Machine;
using static TorchSharp.torch;

namespace Actipress.Encodings;

/// <summary>
/// Max pooling's indices in a few bits each, exactly. At one output position the indices of all channels lie in one small window. The
/// window's first index is stored once for each position. Each index is a code for one of the few differences to the first index.
/// </summary>
sealed class ExactIndices : Packed
{
    readonly long[] shape;
    readonly int bitsEach;
    readonly Tensor first, differences, codes;    // int32 (places), int32 (distinct), uint8 (bits)

    ExactIndices(long[] shape, int bitsEach, Tensor first, Tensor differences, Tensor codes)
    {
        (this.shape, this.bitsEach, this.first, this.differences, this.codes) = (shape, bitsEach, first, differences, codes);
        foreach (var part in (Tensor[])[first, differences, codes]) part.DetachFromDisposeScope();
    }

    /// <summary>Packs pooling indices.</summary>
    /// <param name="indices">int64 (..., h, w) or (..., d, h, w), flat indices into each map's input; not disposed.</param>
    /// <returns>The packed indices, which the caller disposes; null where they would not become smaller.</returns>
    public static ExactIndices? Pack(Tensor indices)
    {
        var maps = MapShape.Of(indices.shape);
        if (maps.Elements == 0) return null;
        using var scope = NewDisposeScope();
        if (indices.device_type == DeviceType.CPU) return SmallerThanRaw(PackOnCpu(indices.contiguous(), maps, indices.shape));
        var table = indices.contiguous().view(maps.Maps, maps.MapElements);
        var first = table.amin([0]);
        var offsets = table.sub(first);
        if (table.max().item<long>() > int.MaxValue || first.min().item<long>() < 0) return null;
        var distinct = Distinct(offsets);
        if (distinct is null) return null;
        var bitsEach = BitsEach(distinct.Length);
        var differences = tensor(distinct, int32, indices.device);
        var codes = Codes(offsets.view(-1), differences, bitsEach);
        return SmallerThanRaw(new ExactIndices(indices.shape, bitsEach, first.to(int32), differences, codes));

        ExactIndices? SmallerThanRaw(ExactIndices? packed)
        {
            if (packed is null || packed.Bytes < indices.NumberOfElements * sizeof(long)) return packed;
            packed.Dispose();
            return null;
        }
    }

    // No window of a map that fits into memory has a larger difference.
    const int FarthestDifference = 1 << 22;

    // Packs in three passes over the indices, without another tensor of their size.
    static unsafe ExactIndices? PackOnCpu(Tensor indices, MapShape maps, long[] shape)
    {
        var places = checked((int)maps.MapElements);
        var first = empty(places, int32);
        var all = (long*)LibTorch.Data(indices);
        var firsts = (int*)LibTorch.Data(first);
        var farthest = 0L;
        CpuTeam.Each(places, Math.Max(32, places / 8), (start, end) =>
        {
            var count = (int)(end - start);
            long[] leastOf = new long[count], mostOf = new long[count];
            Array.Fill(leastOf, int.MaxValue);
            fixed (long* least = leastOf, most = mostOf)
            {
                for (var map = 0L; map < maps.Maps; map++)
                {
                    var own = all + map * places + start;
                    var i = 0;
                    for (; i <= count - Vector256<long>.Count; i += Vector256<long>.Count)
                    {
                        var x = Vector256.Load(own + i);
                        Vector256.Min(x, Vector256.Load(least + i)).Store(least + i);
                        Vector256.Max(x, Vector256.Load(most + i)).Store(most + i);
                    }
                    for (; i < count; i++) (least[i], most[i]) = (Math.Min(own[i], least[i]), Math.Max(own[i], most[i]));
                }
                var reach = 0L;
                for (var i = 0; i < count; i++)
                {
                    reach = Math.Max(reach, least[i] < 0 || most[i] >= int.MaxValue ? long.MaxValue : most[i] - least[i]);
                    firsts[start + i] = (int)least[i];
                }
                for (long known; (known = Volatile.Read(ref farthest)) < reach
                    && Interlocked.CompareExchange(ref farthest, reach, known) != known;) { }
            }
        });
        if (farthest >= FarthestDifference) return null;

        var seen = new bool[farthest + 1];
        CpuTeam.Each(maps.Maps, Math.Max(1, Stretch / places), (start, end) =>
        {
            fixed (bool* differs = seen)
                for (var own = all + start * places; start < end; start++, own += places)
                {
                    var place = Avx2.IsSupported && farthest < 64 ? SeeInFours(own, firsts, places, differs) : 0;
                    for (; place < places; place++) differs[own[place] - firsts[place]] = true;
                }
        });
        var distinct = new List<int>();
        for (var difference = 0; difference < seen.Length && distinct.Count <= 256; difference++)
            if (seen[difference]) distinct.Add(difference);
        if (distinct.Count > 256) return null;

        var bitsEach = BitsEach(distinct.Count);
        // The gather instruction reads four bytes for each code.
        var codeOf = new byte[seen.Length + sizeof(int) - 1];
        for (var code = 0; code < distinct.Count; code++) codeOf[distinct[code]] = (byte)code;
        var codes = empty(bitsEach == 0 ? 0 : (maps.Elements * bitsEach + 7) / 8, uint8);
        var bytes = (byte*)LibTorch.Data(codes);
        if (bitsEach > 0)
            CpuTeam.Each(maps.Elements, Stretch, (start, end) =>
            {
                fixed (byte* code = codeOf)
                {
                    var place = (int)(start % places);
                    for (var i = start; i < end; place = place == places ? 0 : place)
                    {
                        var to = bytes + i * bitsEach / 8;
                        if (EightAtOnce(i, end, place, places))
                        {
                            WriteEight(CodesOfEight(all + i, firsts + place, code), bitsEach, to);
                            (i, place) = (i + 8, place + 8);
                            continue;
                        }
                        var packed = 0;
                        for (var shift = 0; shift < 8 && i < end; shift += bitsEach, i++)
                        {
                            if (place == places) place = 0;
                            packed |= code[all[i] - firsts[place++]] << shift;
                        }
                        *to = (byte)packed;
                    }
                }
            });
        return new ExactIndices(shape, bitsEach, first, tensor(distinct.ToArray(), int32), codes);
    }

    // Marks the differences that occur, all of them below 64, four positions at a time. Returns the first position of the rest.
    static unsafe int SeeInFours(long* indices, int* first, int places, bool* differs)
    {
        var (place, seen) = (0, Vector256<ulong>.Zero);
        for (; place <= places - 4; place += 4)
            seen |= Avx2.ShiftLeftLogicalVariable(
                Vector256<ulong>.One,
                (Vector256.Load(indices + place) - Avx2.ConvertToVector256Int64(Vector128.Load(first + place))).AsUInt64());
        for (var bits = seen[0] | seen[1] | seen[2] | seen[3]; bits != 0; bits &= bits - 1)
            differs[BitOperations.TrailingZeroCount(bits)] = true;
        return place;
    }

    // Whether the next eight indices belong to one map, and their codes fill whole bytes.
    static bool EightAtOnce(long i, long end, int place, int places) =>
        Avx2.IsSupported && Bmi2.X64.IsSupported && i % 8 == 0 && i + 8 <= end && place + 8 <= places;

    // Eight codes of a byte each.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static unsafe ulong CodesOfEight(long* indices, int* first, byte* code)
    {
        var differences = Vector256.Narrow(Vector256.Load(indices), Vector256.Load(indices + 4)) - Vector256.Load(first);
        var codes = Avx2.GatherVector256((int*)code, differences, 1) & Vector256.Create(0xFF);
        return Vector128.Narrow(Vector128.Narrow(codes.GetLower(), codes.GetUpper()), Vector128<short>.Zero).AsUInt64().ToScalar();
    }

    // A mask of the bits that eight codes of a byte each use.
    static ulong BitsOfEight(int bitsEach) => 0x0101010101010101UL * ((1UL << bitsEach) - 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static unsafe void WriteEight(ulong codes, int bitsEach, byte* to)
    {
        var bits = WordBits.Gather(codes, BitsOfEight(bitsEach));
        switch (bitsEach)
        {
            case 1: *to = (byte)bits; break;
            case 2: *(ushort*)to = (ushort)bits; break;
            case 4: *(uint*)to = (uint)bits; break;
            default: *(ulong*)to = bits; break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static unsafe ulong ReadEight(byte* from, int bitsEach) =>
        WordBits.Scatter(
            bitsEach switch { 0 => 0, 1 => *from, 2 => *(ushort*)from, 4 => *(uint*)from, _ => *(ulong*)from }, BitsOfEight(bitsEach));

    // The number of indices that one thread takes at a time: a multiple of 8.
    const long Stretch = 1 << 15;

    static int BitsEach(int distinct) => distinct switch { 1 => 0, 2 => 1, <= 4 => 2, <= 16 => 4, _ => 8 };

    // The differences that occur, rising; null where there are more than a byte can encode.
    static int[]? Distinct(Tensor offsets)
    {
        var (values, inverse, counts) = offsets.unique(sorted: true);
        return values.NumberOfElements > 256 ? null : Array.ConvertAll(values.cpu().data<long>().ToArray(), value => (int)value);
    }

    static Tensor Codes(Tensor offsets, Tensor differences, int bitsEach)
    {
        if (bitsEach == 0) return empty(0, uint8, offsets.device);
        var codes = searchsorted(differences.to(int64), offsets).to(uint8);
        var perByte = 8 / bitsEach;
        var padded = zeros((codes.NumberOfElements + perByte - 1) / perByte * perByte, uint8, offsets.device);
        padded.narrow(0, 0, codes.NumberOfElements).copy_(codes);
        return padded.view(-1, perByte).mul_(Weights(perByte, bitsEach, offsets.device)).sum(1, type: uint8);
    }

    static Tensor Weights(int perByte, int bitsEach, Device device) =>
        tensor(Enumerable.Range(0, perByte).Select(i => (byte)(1 << i * bitsEach)).ToArray(), uint8, device);

    /// <inheritdoc/>
    public override long Bytes =>
        first.NumberOfElements * sizeof(int) + differences.NumberOfElements * sizeof(int) + codes.NumberOfElements;

    /// <inheritdoc/>
    public override Tensor Unpack()
    {
        var maps = MapShape.Of(shape);
        if (first.device_type == DeviceType.CPU) return UnpackOnCpu();
        using var scope = NewDisposeScope();
        var indices = first.to(int64).unsqueeze(0);
        if (bitsEach == 0) indices = indices.Add(differences.to(int64)).expand(maps.Maps, maps.MapElements).contiguous();
        else
        {
            var perByte = 8 / bitsEach;
            var each = codes.unsqueeze(1).div(Weights(perByte, bitsEach, codes.device), RoundingMode.floor);
            if (bitsEach < 8) each = each.Remainder(1 << bitsEach);
            var places = each.view(-1).narrow(0, 0, maps.Elements).to(int64);
            indices = differences.to(int64).index_select(0, places).view(maps.Maps, maps.MapElements).Add_(indices);
        }
        return indices.view(shape).MoveToOuterDisposeScope();
    }

    unsafe Tensor UnpackOnCpu()
    {
        var indices = empty(shape, int64);
        var all = (long*)LibTorch.Data(indices);
        var (firsts, places, bytes) = ((nint)LibTorch.Data(first), (int)first.NumberOfElements, (nint)LibTorch.Data(codes));
        int[] table = [.. differences.Elements<int>()];
        CpuTeam.Each(indices.NumberOfElements, Stretch, (start, end) =>
        {
            fixed (int* distinct = table)
            {
                var (perByte, mask, place) = (bitsEach == 0 ? 1 : 8 / bitsEach, (1 << bitsEach) - 1, (int)(start % places));
                var first = (int*)firsts;
                for (var i = start; i < end; place = place == places ? 0 : place)
                {
                    var from = (byte*)bytes + i * bitsEach / 8;
                    if (EightAtOnce(i, end, place, places))
                    {
                        var code = Avx2.ConvertToVector256Int32(Vector128.CreateScalar(ReadEight(from, bitsEach)).AsByte());
                        var eight = Avx2.GatherVector256(distinct, code, sizeof(int)) + Vector256.Load(first + place);
                        Vector256.WidenLower(eight).Store(all + i);
                        Vector256.WidenUpper(eight).Store(all + i + 4);
                        (i, place) = (i + 8, place + 8);
                        continue;
                    }
                    var packed = bitsEach == 0 ? 0 : *from;
                    for (var part = 0; part < perByte && i < end; part++, packed >>= bitsEach)
                    {
                        if (place == places) place = 0;
                        all[i++] = first[place++] + distinct[packed & mask];
                    }
                }
            }
        });
        return indices;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        first.Dispose();
        differences.Dispose();
        codes.Dispose();
    }
}
