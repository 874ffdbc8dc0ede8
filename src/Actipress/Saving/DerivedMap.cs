using Actipress.Encodings;
using Actipress.Maps;
using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>A map that is not held itself, but computed from other held maps and a few numbers.</summary>
/// <remarks>
/// The source gets the bytes of the derived map. At equal bytes both maps come back with smaller errors than two coded maps
/// (docs/memory.md, "What follows from a held map").
/// </remarks>
sealed class DerivedMap : Packed
{
    // A residual sum of two coded maps is derived. The next sum of its stage would need three maps, and is coded.
    const int MostDecoded = 2;

    // With the bytes of both maps, a source may have this many times its coefficients.
    const double CoefficientsOfSource = 3.3;

    // After a healthy normalisation the relative error of the result is about that of the input. Where the input hardly varies beside its
    // mean, or one channel hardly varies beside the others, the error of the result is many times larger. Then coding the result itself
    // loses less, unless the error is small.
    const double MostOfSources = 1.5, Near = 0.2;

    readonly DerivedValues values;
    readonly int decoded;

    DerivedMap(DerivedValues values, bool isSettled, int decoded, double error) =>
        (this.values, IsSettled, this.decoded, RelativeError) = (values, isSettled, decoded, error);

    /// <summary>Derives a map; null where its error would be larger than the operation bears, or larger than that of coding it.</summary>
    /// <param name="map">The map.</param>
    /// <param name="values">The values of the map; not disposed.</param>
    /// <param name="derivation">The derivation, for which <see cref="CanBe"/> holds.</param>
    /// <param name="mostError">The largest relative error that the operation bears; null for any error.</param>
    /// <param name="release">Releases a source.</param>
    public static DerivedMap? Of(SavedMap map, Tensor values, Derivation derivation, double? mostError, Action<SavedMap> release)
    {
        var argument = (derivation as Derivation.Relu)?.Argument;
        using var trial = new DerivationTrial(argument ?? derivation, values, map.Geometry.Sizes);
        var error = trial.Sample.RelativeError(isOfArgument: argument is not null);
        var ofSources = derivation.Sources.Max(source => source.Values!.RelativeError ?? 0);
        if (mostError is { } most && !(error <= most && (error <= Near || error <= MostOfSources * ofSources))) return null;
        var signs = argument is null ? null : trial.Signs();
        foreach (var source in derivation.Sources) source.HasDerived = true;
        var used = signs is null ? derivation : argument!.Settled();
        return new(new(map, used, signs, release), isSettled: signs is not null, Decoded(used), error);
    }

    /// <summary>
    /// Joins held maps; null where the error of one of them is larger than the operation bears. The errors are known, so that nothing is
    /// rebuilt.
    /// </summary>
    /// <param name="map">The map.</param>
    /// <param name="joined">The derivation, for which <see cref="CanBe"/> holds.</param>
    /// <param name="mostError">The largest relative error that the operation bears.</param>
    /// <param name="release">Releases a source.</param>
    public static DerivedMap? Of(SavedMap map, Derivation.Joined joined, double mostError, Action<SavedMap> release)
    {
        var error = joined.Sources.Max(source => source.Values!.RelativeError ?? 0);
        if (error > mostError) return null;
        var used = joined.CanSettle ? joined.Settled() : joined;
        return new(new(map, used, signs: null, release), joined.CanSettle, Decoded(used), error);
    }

    /// <summary>Whether a map can be derived: its sources are held, and there are not too many.</summary>
    /// <param name="map">The map; null where it is not held yet.</param>
    /// <param name="derivation">The derivation of the map.</param>
    public static bool CanBe(SavedMap? map, Derivation derivation) =>
        derivation.Rectified.All(of => !of.IsReleased && (of.BitsFor(Need.Sign) is not null || of.IsHeldRaw))
        && derivation.Sources.All(source => source != map && !source.IsReleased && source.Geometry.IsRowMajor
            && (source.HasPackedValues || source.IsHeldRaw || source.Values?.Held is TrialMap))
        && Decoded(derivation) <= MostDecoded
        && derivation.Numbers.All(numbers => numbers.TrySettle());

    /// <summary>
    /// Whether maps of a codec may be derived. The paper's storage and codecs that a user composes keep each map by itself.
    /// </summary>
    public static bool Suits(ActivationCodec codec) => codec.Encoding.TellsError;

    /// <summary>The codec of a map from which others are derived.</summary>
    public static ActivationCodec CodecOfSource(ActivationCodec codec, Need need) =>
        need == Need.Normalised && codec.Keep is Keep.TopK { Ratio: > CoefficientsOfSource and var ratio }
            ? codec with { Keep = new Keep.TopK(Math.Round(ratio / CoefficientsOfSource, 1)) } : codec;

    /// <summary>The layers of the maps that it is derived from.</summary>
    public string From => values.Layers;

    /// <summary>The norm of the error relative to the norm of the map, estimated from a sample.</summary>
    public double RelativeError { get; }

    /// <summary>Whether the sources' forms were pinned, so that the values are the same to the bit each time.</summary>
    public bool IsSettled { get; }

    internal override bool KeepsExactZeros => values.HasSigns;

    public override long Bytes => values.Bytes;

    public override Tensor Unpack() => values.Unpack();

    internal override bool HasRanges => values.HasRanges;

    internal override Tensor Unpack(MapRange range) => values.Unpack(range);

    public override void Dispose() => values.Dispose();

    // Joined maps are no more to decode than one map.
    static int Decoded(Derivation derivation) => derivation is Derivation.Joined joined
        ? joined.Parts.Max(Decoded)
        : derivation.Sources.Sum(source => source.Values?.Held switch
        {
            DerivedMap derived => derived.decoded,
            HeldMask => 0,
            _ => 1,
        });
}
