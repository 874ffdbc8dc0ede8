using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Actipress.Data;

/// <summary>The properties of a data set of volumes, which is read once before training: they give the defaults and are printed.</summary>
/// <param name="Cases">The number of readable cases.</param>
/// <param name="Extents">The smallest, median and largest depth, height and width.</param>
/// <param name="Spacing">The smallest, median and largest spacing along each axis, in mm.</param>
/// <param name="Channels">The range of values of each channel.</param>
/// <param name="Classes">The frequency of each class, background first.</param>
public sealed record Fingerprint(
    int Cases, IReadOnlyList<Spread> Extents, IReadOnlyList<Spread> Spacing, IReadOnlyList<ChannelValues> Channels,
        IReadOnlyList<ClassVoxels> Classes)
{
    const int SampledVoxels = 4096;
    const double Tail = 0.005, ZerosOfAMask = 0.25, CtBelow = -500;

    /// <summary>Reads every case.</summary>
    /// <param name="files">The data set, which receives notes about classes that no case has, and about equal cases.</param>
    /// <param name="unreadable">How a case that cannot be read is handled.</param>
    /// <param name="readable">The readable cases.</param>
    /// <param name="progress">Called for each case.</param>
    /// <param name="cancellation">Ends it between cases.</param>
    /// <exception cref="InvalidDataException">A case cannot be read, and the run stops there; or no case can be read.</exception>
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
                else files.Notes.Add(UnreadableCases.LeftOut(failure), files.Case(index));
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

    /// <summary>
    /// The default preparation of such scans: for CT a window of the values inside the classes, otherwise mean and deviation; the median
    /// spacing. Where all cases have one spacing to a percent, none of them is resampled, and a scan of another spacing is.
    /// </summary>
    public Preparation Preparation() => new()
    {
        Window = Channels is [{ Low: < CtBelow } ct] ? [Math.Round(ct.ForegroundLow), Math.Round(ct.ForegroundHigh)] : null,
        AmongNonZero = Channels.All(channel => channel.Zeros > ZerosOfAMask),
        Spacing = [.. Spacing.Select(axis => axis.Median)],
        KeepsNearSpacing = Spacing.All(axis => axis.Largest - axis.Smallest <= Data.Preparation.NearSpacing * axis.Median),
    };

    /// <summary>The fingerprint as lines of text.</summary>
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

/// <summary>The smallest, median and largest value.</summary>
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

/// <summary>The range of values of a channel.</summary>
/// <param name="Low">The value below which half a percent of the values lie.</param>
/// <param name="High">The value above which half a percent of the values lie.</param>
/// <param name="Zeros">The share of voxels that are 0.</param>
/// <param name="ForegroundLow">
/// <paramref name="Low"/> over the voxels of classes other than background; over all voxels where there are none.
/// </param>
/// <param name="ForegroundHigh">The same for <paramref name="High"/>.</param>
public sealed record ChannelValues(double Low, double High, double Zeros, double ForegroundLow, double ForegroundHigh)
{
    /// <inheritdoc/>
    public override string ToString()
    {
        var all = FormattableString.Invariant($"99 % of the values from {Low:0.###} to {High:0.###}");
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{all}, of those inside classes from {ForegroundLow:0.###} to {ForegroundHigh:0.###}; {100 * Zeros:0} % are 0");
    }

    internal static ChannelValues Of(IEnumerable<float> values, IEnumerable<float> foreground)
    {
        var sorted = values.Select(value => (double)value).Order().ToArray();
        var inside = foreground.Select(value => (double)value).Order().ToArray();
        var ((low, high), (insideLow, insideHigh)) = (Fingerprint.Middle(sorted), Fingerprint.Middle(inside.Length > 0 ? inside : sorted));
        return new(low, high, sorted.Count(value => value == 0) / (double)sorted.Length, insideLow, insideHigh);
    }
}

/// <summary>The frequency of a class.</summary>
/// <param name="Name">Its name, or its number.</param>
/// <param name="Cases">The number of cases with the class.</param>
/// <param name="Share">The mean share of a case's voxels.</param>
public sealed record ClassVoxels(string Name, int Cases, double Share)
{
    internal string Percent => FormattableString.Invariant($"{100 * Share:0.###}");
}
