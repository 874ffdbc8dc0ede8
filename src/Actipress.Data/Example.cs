using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>
/// One image, a picture or a volume, with its labels. Its arrays must not be written to: each step returns a new example.
/// </summary>
/// <param name="Case">The name of the case.</param>
/// <param name="Image">(channels, height, width) or (channels, depth, height, width), row-major.</param>
/// <param name="Labels">One label for the image, or one for each pixel or voxel, (height, width) or (depth, height, width).</param>
/// <param name="Extents">(height, width) or (depth, height, width).</param>
public sealed record Example(string Case, float[] Image, ushort[] Labels, IReadOnlyList<int> Extents)
{
    /// <summary>The position of a volume's voxels in the scanner; null for pictures. Cutting, padding and resampling adapt it.</summary>
    public Affine? Affine { get; init; }

    /// <summary>The number of pixels or voxels of a channel.</summary>
    public int Elements => Extents.Aggregate(1, (product, extent) => checked(product * extent));

    /// <summary>The number of channels.</summary>
    public int Channels => Image.Length / Math.Max(1, Elements);

    /// <summary>One channel of the image.</summary>
    public ReadOnlySpan<float> Channel(int channel) => Image.AsSpan(channel * Elements, Elements);
}

/// <summary>A batch of examples for a network. Its receiver disposes it.</summary>
/// <param name="Images">(n, channels, height, width) or (n, channels, depth, height, width), float32.</param>
/// <param name="Labels">(n), (n, height, width) or (n, depth, height, width), int64.</param>
public sealed record Batch(Tensor Images, Tensor Labels) : IDisposable
{
    /// <summary>Stacks examples.</summary>
    /// <exception cref="InvalidDataException">The examples differ in size; the message names two of them.</exception>
    public static Batch Of(IReadOnlyList<Example> examples)
    {
        ArgumentNullException.ThrowIfNull(examples);
        var first = examples[0];
        foreach (var other in examples)
            if (other.Image.Length != first.Image.Length || other.Labels.Length != first.Labels.Length
                || !other.Extents.SequenceEqual(first.Extents))
                throw new InvalidDataException(
                    $"A batch takes examples of one size: found {first.Case} of {Size(first)} and {other.Case} of {Size(other)}. Fit them "
                        + "to one size or take patches, or let a batch have one example.");
        var extents = first.Extents.Select(extent => (long)extent).ToArray();
        var images = empty([examples.Count, first.Channels, .. extents], float32);
        var labels = empty(first.Labels.Length == 1 ? [examples.Count] : [examples.Count, .. extents], int64);
        var pixels = MemoryMarshal.Cast<byte, float>(images.bytes);
        var classes = MemoryMarshal.Cast<byte, long>(labels.bytes);
        for (var i = 0; i < examples.Count; i++)
        {
            examples[i].Image.CopyTo(pixels[(i * first.Image.Length)..]);
            var own = classes.Slice(i * first.Labels.Length, first.Labels.Length);
            for (var j = 0; j < own.Length; j++) own[j] = examples[i].Labels[j];
        }
        return new(images, labels);

        static string Size(Example example) => $"{example.Channels} x {string.Join(" x ", example.Extents)}";
    }

    /// <summary>The examples with these indices.</summary>
    public static Batch Of(IDataSet data, ReadOnlySpan<int> indices)
    {
        ArgumentNullException.ThrowIfNull(data);
        var examples = new Example[indices.Length];
        for (var i = 0; i < examples.Length; i++) examples[i] = data.ReadNamed(indices[i]);
        return Of(examples);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Images.Dispose();
        Labels.Dispose();
    }
}
