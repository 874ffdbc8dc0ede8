using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>A data set in two parts, ready for a network.</summary>
/// <param name="Name">The name in reports.</param>
/// <param name="Train">The part for training.</param>
/// <param name="Test">The part for testing.</param>
public sealed record TrainingData(string Name, TrainingData.Part Train, TrainingData.Part Test)
{
    /// <summary>The number of channels of an input.</summary>
    public int Channels => Train.Data.Channels;

    /// <summary>The number of classes of a target.</summary>
    public int Classes => Math.Max(Train.Data.Classes, Test.Data.Classes);

    /// <summary>Notes about the data to print before training, line by line.</summary>
    public IReadOnlyList<string> Lines { get; init; } = [];

    /// <summary>The description that predicting other scans needs; null where the data are no scans.</summary>
    public ScanDescription? Scans { get; init; }

    /// <summary>
    /// The depth, height and width of the patches that are drawn from whole scans; null where examples are used as they are.
    /// </summary>
    public IReadOnlyList<int>? Patch { get; init; }

    /// <summary>The number of examples of a step that a bound on memory chose; null for the plan's.</summary>
    public int? Batch { get; init; }

    /// <summary>The choice under a bound on memory; null where there is no bound.</summary>
    public PatchChoice? Memory { get; init; }

    /// <summary>The same data for training without compression, whose patch and batch are smaller under a bound on memory.</summary>
    public TrainingData Plain() => Memory is null ? this : With(Memory.Plain);

    internal TrainingData With(PatchStep step) =>
        this with { Patch = step.Patch, Batch = step.Batch, Scans = Scans! with { Window = step.Patch } };

    /// <summary>An identifier of the examples, to train and to test on.</summary>
    public string Fingerprint() => $"{Name}, {Train.Fingerprint()} to train on, {Test.Fingerprint()} to test on";

    /// <summary>Examples by index.</summary>
    /// <param name="Data">Examples of one size, or whole scans from which patches are drawn.</param>
    /// <param name="Scans">
    /// The scans as in their files, on which whole scans are scored; null where examples are scored as they are.
    /// </param>
    public sealed record Part(IDataSet Data, IDataSet? Scans = null)
    {
        /// <summary>The number of examples.</summary>
        public int Count => Data.Count;

        /// <summary>An identifier of the part: the count, and the first digits of the SHA-256 of some evenly spaced examples.</summary>
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

        /// <summary>
        /// A number of evenly spaced examples, because some data sets are in the order of their classes; all examples where there are no
        /// more.
        /// </summary>
        public Part Take(int? most)
        {
            if (!(most < Count)) return this;
            int[] some = [.. Enumerable.Range(0, most.Value).Select(i => (int)((long)i * Count / most.Value))];
            return new(Data.Subset(some), Scans?.Subset(some));
        }

        /// <summary>The input (n, channels, ...) and target of some examples, which the caller disposes.</summary>
        /// <param name="indices">The indices of the examples in this part.</param>
        /// <param name="vary">The augmentation of the example at a position of the batch.</param>
        public (Tensor Input, Tensor Target) Batch(IReadOnlyList<int> indices, Func<Example, int, Example>? vary = null)
        {
            var batch = Actipress.Data.Batch.Of(
                [.. indices.Select((index, place) => vary is null ? Data.Read(index) : vary(Data.Read(index), place))]);
            return (batch.Images, batch.Labels);
        }
    }

    /// <summary>Images, standardised by the mean and standard deviation of the training pixels.</summary>
    public static TrainingData Of(ImageClasses images)
    {
        ArgumentNullException.ThrowIfNull(images);
        var (mean, deviation) = MeanAndDeviation(images.Train.Pixels);
        return new(images.Name, new(images.Train.Select(Standardised)), new(images.Test.Select(Standardised)));

        Example Standardised(Example image) => image with { Image = Array.ConvertAll(image.Image, value => (value - mean) / deviation) };
    }

    /// <summary>Segmentations in memory. A fifth of the cases, but at least one, is for testing, or a fold of a cross-validation.</summary>
    /// <param name="data">Examples of one size, or whole scans from which patches are drawn.</param>
    /// <param name="slices">Whether each slice along a volume's first axis is an example.</param>
    /// <param name="scans">The same cases as in their files, on which they are scored.</param>
    /// <param name="fold">The fold whose cases are for testing, as <see cref="Fold.Parse"/> reads it.</param>
    /// <exception cref="InvalidDataException">There is only one case, or there are fewer cases than folds.</exception>
    public static TrainingData Of(IDataSet data, bool slices, IDataSet? scans = null, string? fold = null)
    {
        ArgumentNullException.ThrowIfNull(data);
        if (data.Count < 2)
            throw new InvalidDataException($"{data.Name} has {data.Count} case that can be "
                + $"read{(data.Count == 1 ? $", {data.Case(0)}" : "")}: wanted two at least, one to train on and one to test on. Add "
                + "others.");
        var (first, second) = (Parts(slices ? new Slices(data) : data), scans is null ? null : Parts(scans));
        return new(data.Name, new(first.Train, second?.Train), new(first.Test, second?.Test));

        Split Parts(IDataSet all) => fold is null
            ? Split.ByCase(all, seed: 1, train: Math.Min(0.8, 1 - 1.0 / data.Count), validation: 0)
            : Split.ByFold(all, seed: 1, Fold.Parse(fold));
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
