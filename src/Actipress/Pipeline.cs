using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Grid;
using Actipress.Grid.Gpu;
using Actipress.Quantisation;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>Packs activation maps: the first implementation in the table that knows the codec and the device does it.</summary>
/// <remarks>
/// What <c>dct:10</c> does to a map on the CPU, and in which files of src/Actipress:
/// <list type="number">
/// <item>Codecs/CodecText.cs reads the text: a DCT, one coefficient in 10 is kept, grid storage. In a training, Saving/Sensitivity.cs may
/// choose a finer codec for a map that needs one.</item>
/// <item>Maps/MapShape.cs divides the tensor into maps. Transforms/Dct.cs divides each map into blocks: 16 x 16 values in planes, 4 x 8 x 8
/// in volumes, and smaller ones at the ends of the axes. Grid/Tiles/GridTiles.cs fills tiles of 256 values with these blocks.</item>
/// <item>Grid/GridSample.cs transforms a sample of the tiles. Selection/TopK.cs finds the threshold T that one coefficient in 10 of the
/// sample reaches.</item>
/// <item>Grid/GridMap.Pack.cs reads the map tile by tile. Grid/GridLanes.cs transforms a tile in vector registers.</item>
/// <item>Grid/Bits/GridChunk.cs rounds each coefficient y to the level floor(|y| / T), which is 0 for a coefficient that is not kept. It
/// writes three streams of bits: which levels are not zero, these levels, and the signs. A fourth stream says which values of the map are
/// not zero, if the map has zeros and no negatives.</item>
/// <item>To rebuild the map, Grid/Bits/GridChunkReader.cs reads the streams, and Machine/Magnitudes.cs decodes a level m as (m + offset) T.
/// Grid/GridMap.Unpack.cs applies the inverse transform and restores the zeros.</item>
/// </list>
/// Grid/Definition.cs has the same steps in plain loops, and docs/format.md has the bytes.
/// </remarks>
static class Pipeline
{
    /// <summary>The implementations of codecs, the best first. Two implementations of one codec write the same bytes.</summary>
    internal static IReadOnlyList<Implementation> Implementations { get; } =
    [
        new GpuGrid(),             // grid storage in CUDA kernels: src/Actipress.Kernels
        new CpuGrid(),             // grid storage in one pass over the map's memory, after a sample of it
        new CoefficientGrid(),     // grid storage of the coefficients of a user's transform, on the CPU
        new CpuQuantisation(),     // `quant`, in one pass over the map's memory
        new ExactCopy(),           // `exact`: every bit
        new Stages(),              // the paper's stages in torch's operations, on any device: below
    ];

    /// <summary>The environment variable that forces an implementation by its name.</summary>
    internal const string Variable = "ACTIPRESS_IMPLEMENTATION";

    static readonly Lazy<IReadOnlyList<Implementation>> inUse = new(() =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } name ? [Named(name)] : Implementations);

    /// <summary>Finds a wrong name in the environment variable before the first map.</summary>
    /// <exception cref="ArgumentException">The variable names no implementation; the message says which there are.</exception>
    internal static void Check() => _ = inUse.Value;

    /// <summary>Whether an implementation of a kind is in use that knows a codec.</summary>
    internal static bool Uses<T>(ActivationCodec codec) where T : Implementation => inUse.Value.OfType<T>().Any(one => one.Covers(codec));

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
    /// Packs an activation map, unless its relative error is larger than <paramref name="mostError"/>. Only <see cref="CpuGrid"/> estimates
    /// the error, from its sample.
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

    // No implementation stores a grid on a GPU without kernels, and none on a GPU below ratio 2 or under a user's transform. The codec then
    // gets the encoding's substitute, which is compact sections.
    static Implementation For(ref ActivationCodec codec, Device device)
    {
        if (Find(codec) is { } found) return found;
        var asked = codec;
        if (asked.Encoding.Substitute is { } substitute) codec = asked with { Encoding = substitute };
        return Find(codec)
            ?? throw new ArgumentException($"Nothing packs '{asked}' on {device}: in use is only {inUse.Value[0].Name} ({Variable}).");

        Implementation? Find(ActivationCodec wanted) => inUse.Value.FirstOrDefault(one => one.Covers(wanted) && one.RunsOn(device));
    }
}

/// <summary>
/// The method of the paper (Section 3 and Figure 2) on any device: transform, keep the largest coefficients, encode them; and the inverse.
/// The default codecs of the CPU and of CUDA do the same stages by the faster implementations above.
/// </summary>
sealed class Stages : Implementation
{
    public override string Name => "stages, torch";

    public override bool Covers(ActivationCodec codec) => codec.Encoding is SectionEncoding;

    public override bool RunsOn(Device device) => true;

    public override Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why)
    {
        if (!MapValues.IsUsable(map, out var isPositive, out why)) return null;
        using var x = MapValues.Flat(map);
        using var coefficients = codec.Transform.Forward(x, MapShape.Of(map.shape));
        using var kept = codec.Keep.Select(coefficients, map.NumberOfElements);
        var sections = ((SectionEncoding)codec.Encoding).Encode(kept, coefficients.NumberOfElements);
        return new Sections(codec.ExactZeros && isPositive ? ExactZeros.Of(map) : null, sections, Unpack);
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
