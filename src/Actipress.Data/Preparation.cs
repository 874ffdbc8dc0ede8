namespace Actipress.Data;

/// <summary>What is done with each scan before a network sees it, as data: a trained network keeps it, and predicts after the
/// same.</summary>
public sealed record Preparation
{
    /// <summary>Cuts away what is nothing but the channels' smallest values, as around a skull stripped.</summary>
    public bool CropToForeground { get; init; }

    /// <summary>Two numbers, such as Hounsfield units, to which values are cut, and which become -1 and 1; null: each channel gets mean 0
    /// and deviation 1.</summary>
    public IReadOnlyList<double>? Window { get; init; }

    /// <summary>Mean and deviation are those of the voxels other than 0, which stay 0.</summary>
    public bool AmongNonZero { get; init; }

    /// <summary>Distances of neighbours along depth, height and width, in mm; null: as they are.</summary>
    public IReadOnlyList<double>? Spacing { get; init; }

    /// <summary>Prepares a scan.</summary>
    public Example Apply(Example scan)
    {
        if (CropToForeground) scan = scan.CropToForeground();
        scan = Window is [var low, var high] ? scan.Window((float)low, (float)high) : scan.ZScore(AmongNonZero);
        return Spacing is [var depth, var height, var width] && !IsAt(scan, depth, height, width) ? scan.ToSpacing(depth, height, width)
            : scan;
    }

    // A scan that has the spacing already stays as it is, to the voxel.
    static bool IsAt(Example scan, double depth, double height, double width) => scan.Affine?.Spacing is var (z, y, x)
        && IsNear(z, depth, scan.Extents[0]) && IsNear(y, height, scan.Extents[1]) && IsNear(x, width, scan.Extents[2]);

    static bool IsNear(double own, double wanted, int extent) => Math.Abs(own - wanted) * extent <= VolumeFiles.SamePlace * wanted;

    /// <summary>In words.</summary>
    public override string ToString()
    {
        var words = new List<string>();
        if (CropToForeground) words.Add("cropped to what is not background");
        words.Add(Window is [var low, var high] ? FormattableString.Invariant($"values from {low:0.###} to {high:0.###}")
            : $"mean 0 and deviation 1{(AmongNonZero ? " of what is not 0" : "")}");
        if (Spacing is not null) words.Add($"{string.Join(" x ", Spacing.Select(one => FormattableString.Invariant($"{one:0.###}")))} mm");
        return string.Join(", ", words);
    }
}
