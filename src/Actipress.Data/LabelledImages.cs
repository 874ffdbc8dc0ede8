using static TorchSharp.torch;

namespace Actipress.Data;

/// <summary>Images of one size with a class each, as bytes.</summary>
/// <param name="Pixels">All images one after the other, each (channels, height, width) in row-major order, 0 to 255.</param>
/// <param name="Labels">A class for each image.</param>
/// <param name="Height">Rows of an image.</param>
/// <param name="Width">Pixels of a row.</param>
/// <param name="Channels">1 for grey, 3 for red, green and blue.</param>
public sealed record LabelledImages(byte[] Pixels, byte[] Labels, int Height, int Width, int Channels = 1) : IDataSet
{
    /// <summary>The name in reports.</summary>
    public string Name { get; init; } = "images";

    /// <summary>The number of images.</summary>
    public int Count => Labels.Length;

    /// <summary>The number of classes: labels are below it. By default it follows from the largest label.</summary>
    public int Classes
    {
        get => field > 0 ? field : Labels.DefaultIfEmpty().Max() + 1;
        init;
    }

    bool IDataSet.IsSegmentation => false;

    IReadOnlyList<int> IDataSet.Extents => [Height, Width];

    string IDataSet.Case(int index) => $"{Name}[{index}]";

    /// <summary>An image with values from 0 to 1.</summary>
    public Example Read(int index) =>
        new(
            $"{Name}[{index}]", Array.ConvertAll(Pixels[(index * Elements)..((index + 1) * Elements)], pixel => pixel / 255f),
            [Labels[index]], [Height, Width]);

    int Elements => Channels * Height * Width;

    /// <summary>
    /// Some images for a network: (n, channels, height, width) float32, standardised by this mean and standard deviation, and labels (n)
    /// int64. The caller disposes both.
    /// </summary>
    public (Tensor Images, Tensor Labels) Batch(ReadOnlySpan<int> indices, float mean, float deviation)
    {
        var (images, labels) = (new float[indices.Length * Elements], new long[indices.Length]);
        for (var i = 0; i < indices.Length; i++)
        {
            var pixels = Pixels.AsSpan(indices[i] * Elements, Elements);
            for (var p = 0; p < pixels.Length; p++) images[i * pixels.Length + p] = (pixels[p] / 255f - mean) / deviation;
            labels[i] = Labels[indices[i]];
        }
        using var flat = tensor(images);
        return (flat.view(indices.Length, Channels, Height, Width), tensor(labels));
    }
}

/// <summary>A data set in its two parts.</summary>
/// <param name="Name">The name in reports.</param>
/// <param name="Train">The part for training.</param>
/// <param name="Test">The part for testing.</param>
public sealed record ImageClasses(string Name, LabelledImages Train, LabelledImages Test);
