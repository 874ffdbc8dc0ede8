namespace Actipress.Saving;

/// <summary>A map that is held as it is while codecs are tried on it.</summary>
/// <param name="values">The map; not disposed.</param>
/// <param name="codec">Returns the codec to try when the map is unpacked.</param>
sealed class TrialMap(Tensor values, Func<ActivationCodec> codec) : Packed
{
    readonly HeldRaw raw = new(values);

    public override long Bytes => raw.Bytes;

    public override Tensor Unpack()
    {
        var tried = codec();
        var values = raw.Unpack();
        if (tried == ActivationCodec.None) return values;
        using (values)
        {
            using var packed = Pipeline.Pack(values, tried, out _);
            return packed is null ? values.alias() : packed.Unpack();
        }
    }

    public override void Dispose() => raw.Dispose();
}
