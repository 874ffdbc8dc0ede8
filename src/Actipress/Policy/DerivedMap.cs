using static TorchSharp.torch;

namespace Actipress;

/// <summary>A map of which nothing is held but what it follows from: other held maps, and a few numbers.</summary>
/// <remarks>
/// The source gets the bytes: at equal bytes both maps come back nearer to what they were than two coded maps do (docs/memory.md, "What
/// follows from a held map").
/// </remarks>
sealed class DerivedMap : Packed
{
    // A residual sum of two coded maps is derived, the next one of its stage would need three, and is coded.
    const int MostDecoded = 2;

    // With the bytes of both maps a source may have so many times its coefficients: where the zeros' bits are fewer than one an element,
    // and where they are not.
    const double CoefficientsOfSource = 3.3, WithAllBits = 2.2;

    readonly Derivation derivation;
    readonly long[] sizes;
    readonly SavedMap[] sources, rectified;
    readonly Action<SavedMap> release;
    readonly SignsInDoubt? signs;
    readonly int decoded;
    bool disposed;

    /// <param name="map">The map.</param>
    /// <param name="values">Its values; not disposed.</param>
    /// <param name="derivation">What it follows from; <see cref="CanBe"/> holds.</param>
    /// <param name="release">Gives a source back.</param>
    public DerivedMap(SavedMap map, Tensor values, Derivation derivation, Action<SavedMap> release)
    {
        var isPlain = values.device_type == DeviceType.CPU && values.dtype == ScalarType.Float32 && values.is_contiguous();
        if (isPlain && derivation is Derivation.Relu { Argument: { CanSettle: true } argument })
        {
            using var rebuilt = argument.Rebuild();
            signs = SignsInDoubt.Pack(values, rebuilt);
            if (signs is not null) derivation = argument.Settled();
        }
        (this.derivation, this.release, sizes, decoded) = (derivation, release, map.Geometry.Sizes, Decoded(derivation));
        sources = [.. derivation.Sources];
        foreach (var numbers in derivation.Numbers) numbers.Share();
        rectified = [.. derivation.Rectified.Where(other => other != map)];
        foreach (var source in sources.Concat(rectified)) source.Users++;
    }

    /// <summary>Whether a map can be held so: what it follows from is held, and not too much of it.</summary>
    public static bool CanBe(SavedMap map, Derivation derivation) =>
        derivation.Rectified.All(of => !of.IsReleased && (of.BitsFor(Need.Sign) is not null || of.IsHeldRaw))
        && derivation.Sources.All(source => source != map && !source.IsReleased && source.Geometry.IsRowMajor
            && (source.HasPackedValues || source.IsHeldRaw || source.Values?.Held is DeferredMap))
        && Decoded(derivation) <= MostDecoded
        && derivation.Numbers.All(numbers => numbers.TrySettle());

    /// <summary>Whether the maps that it follows from are held as finely as its operation wants it.</summary>
    /// <param name="derivation">What it follows from.</param>
    /// <param name="mostError">The relative error that the operation bears.</param>
    public static bool IsNear(Derivation derivation, double mostError) => derivation.Sources.All(source => mostError switch
    {
        double.PositiveInfinity => true,
        _ when source.Values!.Held is DeferredMap => false,    // its error is not known yet
        _ when source.Values.Held is DerivedMap derived => IsNear(derived.derivation, mostError),
        _ => !(source.Values.RelativeError > mostError),
    });

    /// <summary>Whether maps of a codec may be held so: the paper's storage and what a user composes keep each map by itself.</summary>
    public static bool Suits(ActivationCodec codec) => codec.Encoding is Grid;

    /// <summary>The codec of a map from which others are derived.</summary>
    public static ActivationCodec CodecOfSource(ActivationCodec codec, Tensor map, Need need)
    {
        var times = map.device_type == DeviceType.CPU ? CoefficientsOfSource : WithAllBits;
        if (need != Need.Normalised || codec.Keep is not Keep.TopK { Ratio: var ratio } || ratio <= times) return codec;
        return codec with { Keep = new Keep.TopK(Math.Round(ratio / times, 1)) };
    }

    /// <summary>The layers of the maps that it is derived from.</summary>
    public string From => string.Join(" and ", sources.Select(source => source.Account.Layer.Name).Distinct());

    internal override bool KeepsExactZeros => signs is not null;

    public override long Bytes =>
        (signs?.Bytes ?? 0) + (sources.Length + rectified.Length) * sizeof(long) + derivation.Numbers.Sum(numbers => numbers.Bytes);

    public override Tensor Unpack()
    {
        using var values = derivation.Rebuild();
        signs?.Rectify(values);
        return values.view(sizes);
    }

    public override void Dispose()
    {
        if (disposed) return;
        disposed = true;
        signs?.Dispose();
        foreach (var numbers in derivation.Numbers) numbers.Dispose();
        foreach (var source in sources.Concat(rectified)) release(source);
    }

    static int Decoded(Derivation derivation) => derivation.Sources.Sum(source => source.Values?.Held switch
    {
        DerivedMap derived => derived.decoded,
        HeldMask => 0,
        _ => 1,
    });
}
