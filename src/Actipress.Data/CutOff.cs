using System.Collections.Concurrent;

namespace Actipress.Data;

/// <summary>Counts the voxels of each class that are lost where volumes are cut to one size. It may be used from any thread.</summary>
/// <param name="classNames">The names of the classes; null for their numbers.</param>
public sealed class CutOff(IReadOnlyList<string>? classNames)
{
    readonly ConcurrentDictionary<string, IReadOnlyList<double>> shares = new(StringComparer.Ordinal);

    /// <summary>Fits a volume to a size, and counts the voxels that are cut off.</summary>
    /// <param name="volume">A volume with a label for each voxel.</param>
    /// <param name="extents">Depth, height and width.</param>
    /// <param name="outside">The image's value in the padding: see <see cref="Cut.Fit"/>.</param>
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

    /// <summary>A line for each class that lost voxels.</summary>
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
