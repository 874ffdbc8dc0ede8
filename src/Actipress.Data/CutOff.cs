using System.Collections.Concurrent;

namespace Actipress.Data;

/// <summary>How much of the classes is lost where volumes are cut to one size. Any thread adds to it.</summary>
/// <param name="classNames">What classes are called; null: their numbers.</param>
public sealed class CutOff(IReadOnlyList<string>? classNames)
{
    readonly ConcurrentDictionary<string, IReadOnlyList<double>> shares = new(StringComparer.Ordinal);

    /// <summary>Fits a volume to a size and counts what that takes away.</summary>
    /// <param name="volume">With a label for each voxel.</param>
    /// <param name="extents">Depth, height and width.</param>
    /// <param name="outside">As <see cref="Cut.Fit"/> has it.</param>
    public Example Fit(Example volume, IReadOnlyList<int> extents, float? outside = null)
    {
        ArgumentNullException.ThrowIfNull(volume);
        var fitted = volume.Fit(extents, outside);
        var (before, after) = (Count(volume.Labels), Count(fitted.Labels));
        shares[volume.Case] = [.. before.Select((voxels, label) => voxels == 0 ? 0 : 1 - (double)after.ElementAtOrDefault(label) / voxels)];
        return fitted;
    }

    static long[] Count(ushort[] labels)
    {
        var counts = new long[labels.Length == 0 ? 0 : labels.Max() + 1];
        foreach (var label in labels) counts[label]++;
        return counts;
    }

    /// <summary>A line for each class of which something was cut off.</summary>
    public IReadOnlyList<string> Lines()
    {
        var lines = new List<string>();
        for (var label = 1; label < shares.Values.Select(one => one.Count).DefaultIfEmpty(0).Max(); label++)
        {
            var cut = shares.Where(one => one.Value.ElementAtOrDefault(label) > 0).Select(one => (one.Key, Share: one.Value[label]))
                .ToArray();
            if (cut.Length == 0) continue;
            var worst = cut.MaxBy(one => one.Share);
            var most = FormattableString.Invariant($"up to {100 * worst.Share:0.#} % ({worst.Key})");
            var name = classNames?.ElementAtOrDefault(label) ?? $"{label}";
            lines.Add($"the cut takes voxels of class {name} away in {cut.Length} of {shares.Count} cases, {most}");
        }
        return lines;
    }
}
