using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>A data set in its two parts, ready for a network.</summary>
/// <param name="Name">As reports call it.</param>
/// <param name="Train">To learn from.</param>
/// <param name="Test">To be judged by.</param>
public sealed record TrainingData(string Name, TrainingData.Part Train, TrainingData.Part Test)
{
    /// <summary>Channels of an input.</summary>
    public int Channels => Train.Data.Channels;

    /// <summary>Classes of a target.</summary>
    public int Classes => Math.Max(Train.Data.Classes, Test.Data.Classes);

    /// <summary>Examples by number.</summary>
    /// <param name="Data">All of one size.</param>
    public sealed record Part(IDataSet Data)
    {
        /// <summary>How many.</summary>
        public int Count => Data.Count;

        /// <summary>Tells parts apart: the count, and the first digits of the SHA-256 of some examples at even distances.</summary>
        public string Fingerprint()
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (var i = 0; i < Math.Min(Count, FingerprintExamples); i++)
            {
                var example = Data.Read((int)((long)i * Count / Math.Min(Count, FingerprintExamples)));
                hash.AppendData(MemoryMarshal.AsBytes(example.Image.AsSpan()));
                hash.AppendData(MemoryMarshal.AsBytes(example.Labels.AsSpan()));
            }
            return $"{Count} examples ({Convert.ToHexStringLower(hash.GetHashAndReset())[..12]})";
        }

        const int FingerprintExamples = 16;

        /// <summary>So many of them at even distances, since some data sets are in the order of their classes; all where there are no more.</summary>
        public Part Take(int? most) => most < Count ? new(Data.Subset([.. Enumerable.Range(0, most.Value).Select(i => (int)((long)i * Count / most.Value))])) : this;

        /// <summary>Input (n, channels, ...) and target of some, which the caller disposes.</summary>
        /// <param name="indices">Into this part.</param>
        /// <param name="vary">What chance does to the example at a place of the batch.</param>
        public (Tensor Input, Tensor Target) Batch(IReadOnlyList<int> indices, Func<Example, int, Example>? vary = null)
        {
            var batch = Actipress.Data.Batch.Of([.. indices.Select((index, place) => vary is null ? Data.Read(index) : vary(Data.Read(index), place))]);
            return (batch.Images, batch.Labels);
        }
    }

    /// <summary>Images, with the training pixels' mean and standard deviation taken out.</summary>
    public static TrainingData Of(ImageClasses images)
    {
        ArgumentNullException.ThrowIfNull(images);
        var (mean, deviation) = MeanAndDeviation(images.Train.Pixels);
        return new(images.Name, new(images.Train.Select(Standardised)), new(images.Test.Select(Standardised)));

        Example Standardised(Example image) => image with { Image = Array.ConvertAll(image.Image, value => (value - mean) / deviation) };
    }

    /// <summary>Segmentations in memory, a fifth of the cases for testing, but one at least.</summary>
    /// <param name="data">All of one size.</param>
    /// <param name="slices">Whether each slice along a volume's first axis is an example.</param>
    public static TrainingData Of(IDataSet data, bool slices)
    {
        ArgumentNullException.ThrowIfNull(data);
        var split = Split.ByCase(slices ? new Slices(data) : data, seed: 1, train: Math.Min(0.8, 1 - 1.0 / Math.Max(1, data.Count)), validation: 0);
        return new(data.Name, new(split.Train), new(split.Test));
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
