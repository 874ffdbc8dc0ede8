using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Grid;
using Actipress.Grid.Gpu;
using Actipress.Quantisation;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>Packs activation maps: the first implementation in the table that knows the codec and the device does it.</summary>
/// <remarks>
/// What <c>dct:10</c> does to a map on the CPU, and where:
/// <list type="number">
/// <item>Codecs/CodecText.cs reads the text: the DCT of 16 x 16 blocks, one coefficient in 10 is kept, grid storage.</item>
/// <item>Maps/MapShape.cs divides the tensor into maps; Grid/Tiles/GridTiles.cs divides each map into blocks, and these into tiles of 256
/// values.</item>
/// <item>Grid/GridSample.cs transforms a sample of tiles and finds the threshold T that one coefficient in 10 reaches.</item>
/// <item>Grid/GridMap.Pack.cs takes tile by tile: Grid/GridLanes.Cosines.cs transforms it, a coefficient y becomes the level
/// floor(|y| / T) and a sign, and Grid/Bits/GridChunk.cs writes which levels are not zero, the levels and the signs as streams of bits.
/// Where the map has zeros and no negatives, one bit an element says which are zero.</item>
/// <item>Grid/GridMap.Unpack.cs goes the same way back.</item>
/// </list>
/// Grid/Definition.cs has the same steps in plain loops, and docs/format.md the bytes.
/// </remarks>
static class Pipeline
{
    /// <summary>Every way to carry codecs out, the best first. All of grid storage's write the same bytes.</summary>
    internal static IReadOnlyList<Implementation> Implementations { get; } =
    [
        new GpuGrid(),             // transform, levels and streams in CUDA kernels
        new CpuGrid(),             // the same in one pass over the map's memory, by the widest registers
        new CoefficientGrid(),     // the user's own transform, then levels and streams
        new CpuQuantisation(),     // groups of 256 values in one pass over the map's memory
        new ExactCopy(),           // no codec: every bit
        new Stages(),              // the method as the paper has it, in torch's operations: below
    ];

    /// <summary>The environment variable that forces an implementation by its name.</summary>
    internal const string Variable = "ACTIPRESS_IMPLEMENTATION";

    static readonly Lazy<IReadOnlyList<Implementation>> inUse = new(() =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } name ? [Named(name)] : Implementations);

    /// <summary>The implementation of a name.</summary>
    /// <exception cref="ArgumentException">There is none; the message says which there are.</exception>
    internal static Implementation Named(string name) => Implementations.FirstOrDefault(one => one.Name == name)
        ?? throw new ArgumentException($"No implementation '{name}' ({Variable}). Known: "
            + $"{string.Join("; ", Implementations.Select(one => one.Name))}.");

    /// <summary>The names of the implementations of a codec, the best first.</summary>
    internal static IReadOnlyList<string> ImplementationsOf(ActivationCodec codec) =>
        codec == ActivationCodec.None ? [] : [.. Implementations.Where(one => one.Covers(codec)).Select(one => one.Name)];

    /// <summary>Packs an activation map.</summary>
    /// <param name="map">
    /// Any floating-point type, shape, layout and device; not changed, not disposed. See <see cref="MapShape"/> for what its axes mean.
    /// </param>
    /// <param name="codec">Transform, selection and encoding.</param>
    /// <param name="why">Why nothing was packed.</param>
    /// <returns>The packed map, which the caller disposes; null where the map is better left as it is.</returns>
    public static PackedMap? Pack(Tensor map, ActivationCodec codec, out LeftRaw why) =>
        Pack(map, codec, double.PositiveInfinity, out why);

    /// <summary>
    /// The same, unless the sample that grid storage takes on the CPU tells of a larger relative error than <paramref name="mostError"/>.
    /// </summary>
    internal static PackedMap? Pack(Tensor map, ActivationCodec codec, double mostError, out LeftRaw why)
    {
        ArgumentNullException.ThrowIfNull(map);
        ArgumentNullException.ThrowIfNull(codec);
        if (codec == ActivationCodec.None)
            throw new ArgumentException("The codec 'none' packs nothing; leave the map as it is.", nameof(codec));
        why = LeftRaw.Empty;
        if (map.NumberOfElements == 0) return null;

        using var gradients = no_grad();
        using var values = map.detach();
        var implementation = For(ref codec, map.device);
        var limit = codec.EvenIfLarger ? long.MaxValue : map.Bytes();
        if (implementation.Pack(values, codec, new(limit, mostError), out why) is not { } stored) return null;
        if (stored.Bytes < limit) return new PackedMap(new(codec, map.shape, map.dtype), stored);
        stored.Dispose();
        why = LeftRaw.NotSmaller;
        return null;
    }

    // Where nothing stores a codec's encoding, as kernels do at no ratio below 2, the encoding's substitute takes its place.
    static Implementation For(ref ActivationCodec codec, Device device)
    {
        if (Find(codec) is { } found) return found;
        var asked = codec;
        if (asked.Encoding.Substitute is { } substitute) codec = asked with { Encoding = substitute };
        return Find(codec)
            ?? throw new NotSupportedException($"Nothing packs '{asked}' on {device}: in use is only {inUse.Value[0].Name} ({Variable}).");

        Implementation? Find(ActivationCodec wanted) => inUse.Value.FirstOrDefault(one => one.Covers(wanted) && one.RunsOn(device));
    }
}

/// <summary>
/// The method on one page (paper, Section 3 and Figure 2): transform, keep the largest coefficients, encode them; and back. On any device.
/// </summary>
sealed class Stages : Implementation
{
    public override string Name => "stages, torch";

    public override bool Covers(ActivationCodec codec) => codec.Encoding is SectionEncoding;

    public override bool RunsOn(Device device) => true;

    public override Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why)
    {
        if (!MapValues.IsUsable(map, out var isPositive, out why)) return null;
        var zeros = codec.ExactZeros && isPositive ? ExactZeros.Of(map) : null;
        using var x = MapValues.Flat(map);
        using var coefficients = codec.Transform.Forward(x, MapShape.Of(map.shape));
        using var kept = codec.Keep.Select(coefficients, map.NumberOfElements);
        return new Sections(zeros, ((SectionEncoding)codec.Encoding).Encode(kept, coefficients.NumberOfElements), Unpack);
    }

    public override Stored Read(ref PackedReader reader, MapHeader header) => Sections.Read(ref reader, header, Unpack);

    static Tensor Unpack(Sections stored, MapHeader header)
    {
        var (transform, encoding) = (header.Codec.Transform, header.SectionEncoding);
        using var coefficients = encoding.Decode(stored.Encoded, transform.Coefficients(header.Shape));
        using var x = transform.Inverse(coefficients, header.Shape);
        if (stored.Zeros is { } zeros) ExactZeros.Restore(x, zeros, header.Type, encoding.Step(stored.Encoded));
        return MapValues.InType(x, header);
    }
}
