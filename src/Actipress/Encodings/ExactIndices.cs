using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Max pooling's indices in the few bits that they need, exactly. At one place of the output all channels' indices lie in one small
/// window: what is stored is that window's first index for each place, and for each index which of the few differences to it holds.
/// </summary>
public sealed class ExactIndices : Packed
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
        var table = indices.contiguous().view(maps.Maps, maps.MapElements);
        var first = table.amin([0]);
        var offsets = table.sub(first);
        if (table.max().item<long>() > int.MaxValue || first.min().item<long>() < 0) return null;
        var distinct = Distinct(offsets);
        if (distinct is null) return null;
        var bitsEach = distinct.Length switch { 1 => 0, 2 => 1, <= 4 => 2, <= 16 => 4, _ => 8 };
        var differences = tensor(distinct, int32, indices.device);
        var codes = Codes(offsets.view(-1), differences, bitsEach);
        var packed = new ExactIndices(indices.shape, bitsEach, first.to(int32), differences, codes);
        if (packed.Bytes < indices.NumberOfElements * sizeof(long)) return packed;
        packed.Dispose();
        return null;
    }

    // The differences that occur, rising; null for more than a byte can tell apart.
    static int[]? Distinct(Tensor offsets)
    {
        if (offsets.device_type != DeviceType.CPU)
        {
            var (values, inverse, counts) = offsets.unique(sorted: true);
            return values.NumberOfElements > 256 ? null : Array.ConvertAll(values.cpu().data<long>().ToArray(), value => (int)value);
        }
        var found = new SortedSet<long>();
        long last = -1;
        foreach (var offset in offsets.Elements<long>())
        {
            if (offset == last) continue;
            if (found.Add(last = offset) && found.Count > 256) return null;
        }
        return [.. found.Select(offset => (int)offset)];
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
    public override long Bytes => first.NumberOfElements * sizeof(int) + differences.NumberOfElements * sizeof(int) + codes.NumberOfElements;

    /// <inheritdoc/>
    public override Tensor Unpack()
    {
        using var scope = NewDisposeScope();
        var maps = MapShape.Of(shape);
        var indices = first.to(int64).unsqueeze(0);
        if (bitsEach == 0) indices = indices.add(differences.to(int64)).expand(maps.Maps, maps.MapElements).contiguous();
        else
        {
            var perByte = 8 / bitsEach;
            var each = codes.unsqueeze(1).div(Weights(perByte, bitsEach, codes.device), RoundingMode.floor);
            if (bitsEach < 8) each = each.remainder(1 << bitsEach);
            var places = each.view(-1).narrow(0, 0, maps.Elements).to(int64);
            indices = differences.to(int64).index_select(0, places).view(maps.Maps, maps.MapElements).add_(indices);
        }
        return indices.view(shape).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        first.Dispose();
        differences.Dispose();
        codes.Dispose();
    }
}
