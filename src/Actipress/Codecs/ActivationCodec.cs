using System.Diagnostics.CodeAnalysis;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Selection;
using Actipress.Transforms;

namespace Actipress;

/// <summary>
/// A way to store activation maps: transform, keep, encode. A codec is immutable, is compared by value, and has a text such as
/// <c>dct:10</c>.
/// </summary>
/// <remarks>
/// <c>dct:10</c>, <c>wt:db3:100</c> and <c>st:10</c> name a transform and a ratio, and <c>st:above:0.1</c> a transform and a threshold.
/// <c>quant:4</c> names bits a value, and <c>half</c> and <c>bf16</c> 16-bit floats. <c>exact</c> copies maps, and <c>none</c> leaves maps
/// as they are. Options follow after commas: <c>block=</c>4, 8 or 16 (dct), <c>levels=</c>1 to 5 (wt), <c>storage=</c>grid, compact or
/// paper, <c>values=</c>int8, float16, bfloat16 or float32 and <c>index=</c>auto, byte or bitmap (compact storage), <c>zeros=</c>exact or
/// none (exact by default, but for 16-bit floats and the paper's storage), <c>larger=</c>leave or pack (leave by default, but for the
/// paper's storage).
/// </remarks>
public sealed record ActivationCodec
{
    internal ActivationCodec(Transform transform, Keep keep, Encoding encoding) =>
        (Transform, Keep, Encoding) = (transform, keep, encoding);

    /// <summary>The first stage: one of the library's, or a program's own.</summary>
    public Transform Transform { get; init; }

    /// <summary>The second stage.</summary>
    internal Keep Keep { get; init; }

    /// <summary>The third stage.</summary>
    internal Encoding Encoding { get; init; }

    /// <summary>Whether a map with zeros and no negatives keeps its zeros exactly, at one bit an element. On by default.</summary>
    public bool ExactZeros { get; init; } = true;

    /// <summary>Whether a map is packed even where that takes more bytes than it has, as in the paper. Off by default.</summary>
    public bool EvenIfLarger { get; init; }

    /// <summary>Leaves maps as they are.</summary>
    public static ActivationCodec None { get; } = As(ValueForm.Float32);

    /// <summary>
    /// Keeps every bit of a map, as a copy. It is for tests, and for the question whether a codec is the cause of a difference. Maps pass
    /// the hooks as under any codec, and gradients are those without compression, but no memory is saved.
    /// </summary>
    public static ActivationCodec Exact { get; } =
        new(new Identity(), new Keep.Everything(), new Copy()) { ExactZeros = false, EvenIfLarger = true };

    /// <summary>Keeps every value as float16.</summary>
    public static ActivationCodec Half { get; } = As(ValueForm.Float16);

    /// <summary>Keeps every value as bfloat16.</summary>
    public static ActivationCodec BFloat16 { get; } = As(ValueForm.BFloat16);

    /// <summary>Block DCT, top-k (paper, Sections 3.1.2 and 3.2).</summary>
    /// <param name="ratio">The compression ratio, lambda: one coefficient in this many is kept; 1 or more.</param>
    /// <param name="block">Edge of a block: 4, 8 or 16.</param>
    public static ActivationCodec Dct(double ratio, int block = 16) => new(new Dct(block), TopKeeping(ratio), new GridStorage());

    /// <summary>Wavelet transform, top-k (paper, Sections 3.1.1 and 3.2).</summary>
    /// <param name="family">
    /// One of <c>haar</c>, <c>db2</c> to <c>db8</c>, <c>sym2</c> to <c>sym8</c> and <c>coif1</c> to <c>coif5</c>.
    /// </param>
    /// <param name="ratio">The compression ratio, lambda: 1 or more.</param>
    /// <param name="levels">1 to 5.</param>
    public static ActivationCodec Wavelet(string family, double ratio, int levels = 3) =>
        new(new Wavelet(family, levels), TopKeeping(ratio), new GridStorage());

    /// <summary>Top-k of the map itself: plain thresholding (the paper's ST).</summary>
    /// <param name="ratio">The compression ratio, lambda: 1 or more.</param>
    public static ActivationCodec Threshold(double ratio) => new(new Identity(), TopKeeping(ratio), new GridStorage());

    /// <summary>Group quantisation with stochastic rounding.</summary>
    /// <param name="bits">Bits a value: 8, 4 or 2.</param>
    public static ActivationCodec Quantized(int bits) => new(new Identity(), new Keep.Everything(), new Quantized(bits));

    /// <summary>
    /// The same transform and selection in the paper's storage: 12 bytes a coefficient, no exact zeros, and also where a map becomes
    /// larger.
    /// </summary>
    public ActivationCodec AsInPaper() => this with { Encoding = new Coo(), ExactZeros = false, EvenIfLarger = true };

    static ActivationCodec As(ValueForm values) =>
        new(new Identity(), new Keep.Everything(), new Compact(Values: values)) { ExactZeros = false };

    internal static Keep.TopK TopKeeping(double ratio) =>
        ratio is >= 1 and < double.PositiveInfinity
            ? new(ratio)
            : throw new ArgumentOutOfRangeException(nameof(ratio), $"No compression ratio of {ratio}: wanted a number of 1 or more.");

    /// <summary>The precision of the rebuilt values.</summary>
    internal Fineness Fineness => (Transform, Keep, Encoding) switch
    {
        (_, _, Copy) => Fineness.Exact,
        (Identity, Keep.Everything or Keep.TopK { Ratio: 1 } or Keep.Above { Threshold: 0 }, Coo
            or Compact { Values: ValueForm.Float32 }) => Fineness.Exact,
        _ when RoundsToSixteenBits => Fineness.Sixteen,
        (_, Keep.TopK { Ratio: 1 }, Coo or Compact { Values: ValueForm.Float32 }) => Fineness.Sixteen,
        _ => Fineness.Codec,
    };

    /// <summary>Whether each value is rounded to a float of 16 bits.</summary>
    internal bool RoundsToSixteenBits =>
        this is { Transform: Identity, Keep: Keep.Everything, Encoding: Compact { Values: ValueForm.Float16 or ValueForm.BFloat16 } };

    /// <summary>One example of each kind of codec, with a description.</summary>
    internal static IReadOnlyList<(string Example, string Meaning)> Known { get; } =
    [
        ("none", "leaves maps as they are"),
        ("st:10", "keeps the largest tenth of the values themselves"),
        ("wt:db3:10", "keeps the largest tenth of the wavelet coefficients (haar, db2-db8, sym2-sym8, coif1-coif5)"),
        ("dct:10", "keeps the largest tenth of the block DCT's coefficients"),
        ("quant:4", "rounds values to 8, 4 or 2 bits in groups of 256"),
        ("half", "rounds values to float16, or to bfloat16 where one is beyond 65504"),
        ("bf16", "rounds values to bfloat16"),
        ("exact", "keeps a copy of every map, bit for bit: for tests"),
    ];

    /// <summary>The codec that <paramref name="text"/> writes.</summary>
    /// <exception cref="FormatException">The text is no codec's; the message says what was found and what is known.</exception>
    public static ActivationCodec Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return CodecText.Parse(text);
    }

    /// <summary>As <see cref="Parse"/>, without an exception.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out ActivationCodec? codec)
    {
        try
        {
            codec = Parse(text);
            return true;
        }
        catch (FormatException)
        {
            codec = null;
            return false;
        }
    }

    /// <summary>The text that <see cref="Parse"/> reads, where the codec has one: see <see cref="HasText"/>.</summary>
    public override string ToString() => CodecText.Of(this);

    /// <summary>
    /// Whether <see cref="Parse"/> reads this codec from its text. It does not where a stage belongs to a program, such as a
    /// <see cref="Transform"/>.
    /// </summary>
    public bool HasText => TryParse(ToString(), out var same) && same == this;
}
