namespace Actipress;

/// <summary>One way of holding a map's values, as a budget may choose it.</summary>
/// <param name="Codec">How; <see cref="ActivationCodec.None"/> leaves them as they are.</param>
/// <param name="Bytes">Bytes held.</param>
/// <param name="Harm">Squared error of the rebuilt values relative to their variance, weighted by what the layer does with it.</param>
readonly record struct Rung(ActivationCodec Codec, long Bytes, double Harm);
