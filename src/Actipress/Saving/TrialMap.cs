namespace Actipress.Saving;

/// <summary>A map that is held as it is while other forms are tried on it.</summary>
/// <param name="values">The map; not disposed.</param>
/// <param name="pack">Packs the map in the form to try when the map is unpacked; null for none.</param>
sealed class TrialMap(Tensor values, Func<Tensor, Packed?> pack) : Packed
{
    readonly HeldRaw raw = new(values);

    public override long Bytes => raw.Bytes;

    public override Tensor Unpack()
    {
        var values = raw.Unpack();
        using var packed = pack(values);
        if (packed is null) return values;
        using (values) return packed.Unpack();
    }

    public override void Dispose() => raw.Dispose();
}
