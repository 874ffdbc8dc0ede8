using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>A data set in its two parts, ready for a network.</summary>
/// <param name="Name">As reports call it.</param>
/// <param name="Channels">Of an input.</param>
/// <param name="Classes">Of a target.</param>
/// <param name="Train">To learn from.</param>
/// <param name="Test">To be judged by.</param>
public sealed record TrainingData(string Name, int Channels, int Classes, TrainingData.Part Train, TrainingData.Part Test)
{
    /// <summary>Examples by number.</summary>
    /// <param name="Count">How many.</param>
    /// <param name="Batch">Input (n, channels, ...) and target, which the caller disposes.</param>
    public sealed record Part(int Count, Func<int[], (Tensor Input, Tensor Target)> Batch)
    {
        /// <summary>The first <paramref name="most"/> of them.</summary>
        public Part Take(int? most) => most < Count ? this with { Count = most.Value } : this;
    }

    /// <summary>Images, with the training pixels' mean and standard deviation taken out.</summary>
    public static TrainingData Of(ImageClasses images)
    {
        ArgumentNullException.ThrowIfNull(images);
        var (mean, deviation) = MeanAndDeviation(images.Train.Pixels);
        return new(images.Name, images.Train.Channels, 1 + Math.Max(images.Train.Labels.Max(), images.Test.Labels.Max()), Part(images.Train), Part(images.Test));

        Part Part(LabelledImages part) => new(part.Count, indices => part.Batch(indices, mean, deviation));
    }

    /// <summary>Volumes, every fifth for testing.</summary>
    /// <param name="volumes">All of them.</param>
    /// <param name="slices">Whether each slice along the first axis is an example.</param>
    public static TrainingData Of(LabelledVolumes volumes, bool slices)
    {
        ArgumentNullException.ThrowIfNull(volumes);
        return new(volumes.Name, 1, volumes.Classes, Part(number => number % 5 != 4), Part(number => number % 5 == 4));

        Part Part(Func<int, bool> chosen)
        {
            var part = volumes with { Images = [.. volumes.Images.Where((_, number) => chosen(number))], Labels = [.. volumes.Labels.Where((_, number) => chosen(number))] };
            return slices ? PartOf(SlicesOf(part)) : new(part.Images.Count, indices => part.Batch(indices));
        }
    }

    static LabelledVolumes SlicesOf(LabelledVolumes volumes)
    {
        var elements = volumes.Extents.Height * volumes.Extents.Width;
        return volumes with { Images = [.. volumes.Images.SelectMany(image => image.Chunk(elements))], Labels = [.. volumes.Labels.SelectMany(label => label.Chunk(elements))], Extents = volumes.Extents with { Depth = 1 } };
    }

    static Part PartOf(LabelledVolumes slices) => new(slices.Images.Count, indices =>
    {
        var (images, labels) = slices.Batch(indices);
        using (images)
        using (labels) return (images.squeeze(2), labels.squeeze(1));
    });

    static (float Mean, float Deviation) MeanAndDeviation(byte[] pixels)
    {
        double sum = 0, squares = 0;
        foreach (var pixel in pixels)
        {
            sum += pixel;
            squares += pixel * pixel;
        }
        var mean = sum / pixels.Length;
        return ((float)(mean / 255), (float)(Math.Sqrt(squares / pixels.Length - mean * mean) / 255));
    }
}
