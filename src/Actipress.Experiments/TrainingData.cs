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
        /// <summary>So many of them at even distances, since some data sets are in the order of their classes; all where there are no more.</summary>
        public Part Take(int? most) => most < Count ? new(most.Value, indices => Batch([.. indices.Select(i => (int)((long)i * Count / most.Value))])) : this;
    }

    /// <summary>Images, with the training pixels' mean and standard deviation taken out.</summary>
    public static TrainingData Of(ImageClasses images)
    {
        ArgumentNullException.ThrowIfNull(images);
        var (mean, deviation) = MeanAndDeviation(images.Train.Pixels);
        return new(images.Name, images.Train.Channels, 1 + Math.Max(images.Train.Labels.Max(), images.Test.Labels.Max()), Part(images.Train), Part(images.Test));

        Part Part(LabelledImages part) => new(part.Count, indices => part.Batch(indices, mean, deviation));
    }

    /// <summary>Segmentations in memory, a fifth of the cases for testing.</summary>
    /// <param name="data">All of one size.</param>
    /// <param name="slices">Whether each slice along a volume's first axis is an example.</param>
    public static TrainingData Of(IDataSet data, bool slices)
    {
        ArgumentNullException.ThrowIfNull(data);
        var split = Split.ByCase(slices ? new Slices(data) : data, seed: 1, train: 0.8, validation: 0);
        return new(data.Name, data.Channels, data.Classes, Part(split.Train), Part(split.Test));

        static Part Part(IDataSet part) => new(part.Count, indices =>
        {
            var batch = Batch.Of(part, indices);
            return (batch.Images, batch.Labels);
        });
    }

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
