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

    /// <summary>What is worth knowing of it before training, line by line.</summary>
    public IReadOnlyList<string> Lines { get; init; } = [];

    /// <summary>What predicting other scans needs; null where these are none.</summary>
    public ScanDescription? Scans { get; init; }

    /// <summary>Depth, height and width of the patches that are drawn from whole scans to train on; null where examples are taken as they
    /// are.</summary>
    public IReadOnlyList<int>? Patch { get; init; }

    /// <summary>Examples a step where a bound on memory decided; null: the plan's.</summary>
    public int? Batch { get; init; }

    /// <summary>What a bound on memory allows; null where there is none.</summary>
    public PatchChoice? Memory { get; init; }

    /// <summary>The same as training without compression takes it: under a bound on memory its patch and batch are smaller.</summary>
    public TrainingData Plain() => Memory is null ? this : With(Memory.Plain);

    internal TrainingData With(PatchStep step) =>
        this with { Patch = step.Patch, Batch = step.Batch, Scans = Scans! with { Window = step.Patch } };

    /// <summary>Examples by number.</summary>
    /// <param name="Data">All of one size, or whole scans to draw patches from.</param>
    /// <param name="Scans">Of whole scans, each as it is in its file, where it is scored; null where examples are scored as they
    /// are.</param>
    public sealed record Part(IDataSet Data, IDataSet? Scans = null)
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
        public Part Take(int? most)
        {
            if (!(most < Count)) return this;
            int[] some = [.. Enumerable.Range(0, most.Value).Select(i => (int)((long)i * Count / most.Value))];
            return new(Data.Subset(some), Scans?.Subset(some));
        }

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
    /// <param name="data">All of one size, or whole scans to draw patches from.</param>
    /// <param name="slices">Whether each slice along a volume's first axis is an example.</param>
    /// <param name="scans">The same cases as they are in their files, to be scored there.</param>
    /// <exception cref="InvalidDataException">There is one case only.</exception>
    public static TrainingData Of(IDataSet data, bool slices, IDataSet? scans = null)
    {
        ArgumentNullException.ThrowIfNull(data);
        if (data.Count < 2)
            throw new InvalidDataException($"{data.Name} has {data.Count} case that can be "
                + $"read{(data.Count == 1 ? $", {data.Case(0)}" : "")}: wanted two at least, one to train on and one to test on. Add "
                + "others.");
        var (first, second) = (Parts(slices ? new Slices(data) : data), scans is null ? null : Parts(scans));
        return new(data.Name, new(first.Train, second?.Train), new(first.Test, second?.Test));

        Split Parts(IDataSet all) => Split.ByCase(all, seed: 1, train: Math.Min(0.8, 1 - 1.0 / data.Count), validation: 0);
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
