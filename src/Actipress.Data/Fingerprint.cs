using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Actipress.Saving;

namespace Actipress.Data;

/// <summary>What is done with a case that cannot be read.</summary>
public enum Unreadable
{
    /// <summary>The run ends with its message.</summary>
    Stop,

    /// <summary>The run goes on without it, and names it.</summary>
    Skip,
}

/// <summary>What a data set of volumes is like: read once, before training, to choose by and to show.</summary>
/// <param name="Cases">How many can be read.</param>
/// <param name="Extents">Smallest, median and largest of depth, height and width.</param>
/// <param name="Spacing">Likewise, in mm.</param>
/// <param name="Channels">What values each channel has.</param>
/// <param name="Classes">Where each class is, background first.</param>
public sealed record Fingerprint(
    int Cases, IReadOnlyList<Spread> Extents, IReadOnlyList<Spread> Spacing, IReadOnlyList<ChannelValues> Channels,
        IReadOnlyList<ClassVoxels> Classes)
{
    const int SampledVoxels = 4096;
    const double Tail = 0.005, ZerosOfAMask = 0.25, CtBelow = -500;

    /// <summary>Reads every case.</summary>
    /// <param name="files">Gets notes of classes that no case has, and of cases that are the same.</param>
    /// <param name="unreadable">What is done with a case that cannot be read.</param>
    /// <param name="readable">The cases that can.</param>
    /// <param name="progress">Told of each.</param>
    /// <param name="cancellation">Ends it between cases.</param>
    /// <exception cref="InvalidDataException">A case cannot be read, and the run is to stop at it; or none can.</exception>
    public static Fingerprint Of(VolumeFiles files, Unreadable unreadable, out IReadOnlyList<int> readable,
        IProgress<string>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(files);
        var (seen, done) = (new Seen?[files.Count], 0);
        var refused = new ConcurrentDictionary<int, InvalidDataException>();
        Parallel.For(0, files.Count, new ParallelOptions { CancellationToken = cancellation }, (index, loop) =>
        {
            try { seen[index] = Look(files.ReadNamed(index), files.Classes); }
            catch (InvalidDataException failure)
            {
                refused[index] = failure;
                if (unreadable == Unreadable.Stop) loop.Stop();
                else files.Notes.Add($"cannot be read, left out: {(failure.InnerException ?? failure).Message}", files.Case(index));
            }
            progress?.Report($"{files.Name}: {Interlocked.Increment(ref done)} of {files.Count} cases looked at");
        });
        if (unreadable == Unreadable.Stop && !refused.IsEmpty) throw refused.MinBy(one => one.Key).Value;
        var cases = seen.OfType<Seen>().ToArray();
        if (cases.Length == 0) throw new InvalidDataException($"None of the {files.Count} cases of {files.Name} can be read. The first: "
            + $"{refused[0].Message}");
        readable = [.. Enumerable.Range(0, files.Count).Where(index => seen[index] is not null)];
        foreach (var same in readable.GroupBy(index => seen[index]!.Hash, StringComparer.Ordinal).Where(group => group.Count() > 1))
            files.Notes.Add("the same image, so that a network may be tested on what it was trained on",
                string.Join(" = ", same.Select(files.Case)));
        var classes = Enumerable.Range(0, files.Classes).Select(label => new ClassVoxels(
            files.ClassNames?[label] ?? $"{label}", cases.Count(one => one.Voxels[label] > 0),
                cases.Average(one => (double)one.Voxels[label] / one.Voxels.Sum()))).ToArray();
        foreach (var absent in classes.Skip(1).Where(one => one.Cases == 0)) files.Notes.Add("no case has a voxel of this class, and it "
            + "has no score", $"class {absent.Name}");
        return new(
            cases.Length, [.. Enumerable.Range(0, 3).Select(axis => Spread.Of(cases.Select(one => (double)one.Extents[axis])))],
            [.. Enumerable.Range(0, 3).Select(axis => Spread.Of(cases.Select(one => one.Spacing[axis])))],
            [.. Enumerable.Range(0, files.Channels)
                .Select(channel => ChannelValues.Of(cases.SelectMany(one => one.Samples[channel]),
                cases.SelectMany(one => one.Foreground[channel])))], classes);
    }

    /// <summary>What is usually done with such scans: of CT a window of the values inside the classes, else mean and deviation; the median
    /// spacing where cases differ.</summary>
    public Preparation Preparation() => new()
    {
        Window = Channels is [{ Low: < CtBelow } ct] ? [Math.Round(ct.ForegroundLow), Math.Round(ct.ForegroundHigh)] : null,
        AmongNonZero = Channels.All(channel => channel.Zeros > ZerosOfAMask),
        Spacing = Spacing.Any(axis => axis.Largest - axis.Smallest > 0.01 * axis.Median) ? [.. Spacing.Select(axis => axis.Median)] : null,
    };

    /// <summary>Lines for people.</summary>
    public IReadOnlyList<string> Lines() =>
    [
        $"{Cases} cases of {string.Join(" x ", Extents)} voxels, {string.Join(" x ", Spacing)} mm (depth, height, width)",
        .. Channels.Select((channel, number) => $"channel {number}: {channel}"),
        .. Classes.Skip(1).Select(one => $"class {one.Name}: in {one.Cases} of {Cases} cases, {one.Percent} % of their voxels"),
    ];

    sealed record Seen(IReadOnlyList<int> Extents, double[] Spacing, long[] Voxels, float[][] Samples, float[][] Foreground, string Hash);

    static Seen Look(Example example, int classes)
    {
        var voxels = new long[classes];
        foreach (var label in example.Labels) voxels[label]++;
        var (depth, height, width) = example.Affine!.Spacing;
        int[] inside = [.. Enumerable.Range(0, example.Elements).Where(voxel => example.Labels[voxel] != 0)];
        return new(
            example.Extents, [depth, height, width], voxels,
            [.. Enumerable.Range(0, example.Channels).Select(channel => Sample(example, channel, example.Elements, voxel => voxel))],
            [.. Enumerable.Range(0, example.Channels).Select(channel => Sample(example, channel, inside.Length, voxel => inside[voxel]))],
            Convert.ToHexString(SHA256.HashData(MemoryMarshal.AsBytes(example.Image.AsSpan()))));
    }

    static float[] Sample(Example example, int channel, int count, Func<int, int> voxel)
    {
        var (first, taken) = (channel * example.Elements, Math.Min(count, SampledVoxels));
        return [.. Enumerable.Range(0, taken).Select(i => example.Image[first + voxel((int)((long)i * count / taken))])];
    }

    internal static double Quantile(double[] sorted, double share) => sorted.Length == 0 ? double.NaN
        : sorted[(int)Math.Round(share * (sorted.Length - 1))];

    internal static (double Low, double High) Middle(double[] sorted) => (Quantile(sorted, Tail), Quantile(sorted, 1 - Tail));
}

/// <summary>Smallest, median and largest.</summary>
public sealed record Spread(double Smallest, double Median, double Largest)
{
    internal static Spread Of(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return new(sorted[0], Fingerprint.Quantile(sorted, 0.5), sorted[^1]);
    }

    /// <inheritdoc/>
    public override string ToString() => Smallest == Largest ? FormattableString.Invariant($"{Median:0.###}")
        : FormattableString.Invariant($"{Smallest:0.###}..{Median:0.###}..{Largest:0.###}");
}

/// <summary>Values of a channel.</summary>
/// <param name="Low">Half a percent are smaller.</param>
/// <param name="High">Half a percent are larger.</param>
/// <param name="Zeros">Share of voxels that are 0.</param>
/// <param name="ForegroundLow">Likewise of the voxels of some class; as for all where there are none.</param>
/// <param name="ForegroundHigh">Likewise.</param>
public sealed record ChannelValues(double Low, double High, double Zeros, double ForegroundLow, double ForegroundHigh)
{
    /// <inheritdoc/>
    public override string ToString()
    {
        var all = FormattableString.Invariant($"99 % of the values from {Low:0.###} to {High:0.###}");
        return FormattableString.Invariant($"{all}, of those inside classes from {ForegroundLow:0.###} to {ForegroundHigh:0.###}; {100 * Zeros:0} % are 0");
    }

    internal static ChannelValues Of(IEnumerable<float> values, IEnumerable<float> foreground)
    {
        var sorted = values.Select(value => (double)value).Order().ToArray();
        var inside = foreground.Select(value => (double)value).Order().ToArray();
        var ((low, high), (insideLow, insideHigh)) = (Fingerprint.Middle(sorted), Fingerprint.Middle(inside.Length > 0 ? inside : sorted));
        return new(low, high, sorted.Count(value => value == 0) / (double)sorted.Length, insideLow, insideHigh);
    }
}

/// <summary>Where a class is.</summary>
/// <param name="Name">Its name, or its number.</param>
/// <param name="Cases">How many have it.</param>
/// <param name="Share">Mean share of a case's voxels.</param>
public sealed record ClassVoxels(string Name, int Cases, double Share)
{
    internal string Percent => FormattableString.Invariant($"{100 * Share:0.###}");
}
