namespace Actipress.Data;

/// <summary>
/// The preprocessing of scans, as data. It is saved with a trained network, so that prediction prepares scans as training did.
/// </summary>
public sealed record Preparation
{
    /// <summary>Whether the border of each channel's smallest value is cut off, as around a stripped skull.</summary>
    public bool CropToForeground { get; init; }

    /// <summary>
    /// Two numbers, such as Hounsfield units, to which values are clamped, and which become -1 and 1; null for mean 0 and deviation 1 of
    /// each channel.
    /// </summary>
    public IReadOnlyList<double>? Window { get; init; }

    /// <summary>Whether mean and deviation are those of the voxels other than 0. Voxels of 0 stay 0.</summary>
    public bool AmongNonZero { get; init; }

    /// <summary>The spacing along depth, height and width, in mm; null for the scan's own.</summary>
    public IReadOnlyList<double>? Spacing { get; init; }

    /// <summary>
    /// Whether scans keep a spacing within a percent of <see cref="Spacing"/>, as where all scans of a training have it.
    /// </summary>
    public bool KeepsNearSpacing { get; init; }

    /// <summary>The largest relative difference of spacings that count as one.</summary>
    internal const double NearSpacing = 0.01;

    /// <summary>Prepares a scan.</summary>
    public Example Apply(Example scan)
    {
        if (CropToForeground) scan = scan.CropToForeground();
        scan = Window is [var low, var high] ? scan.Window((float)low, (float)high) : scan.ZScore(AmongNonZero);
        return Spacing is [var depth, var height, var width] && !IsAt(scan, depth, height, width) ? scan.ToSpacing(depth, height, width)
            : scan;
    }

    // A scan with this spacing is not resampled, so that its voxels stay the same.
    bool IsAt(Example scan, double depth, double height, double width) => scan.Affine?.Spacing is var (z, y, x)
        && IsNear(z, depth, scan.Extents[0]) && IsNear(y, height, scan.Extents[1]) && IsNear(x, width, scan.Extents[2]);

    bool IsNear(double own, double wanted, int extent) => KeepsNearSpacing
        ? Math.Abs(own - wanted) <= NearSpacing * wanted : Math.Abs(own - wanted) * extent <= VolumeFiles.SamePlace * wanted;

    /// <summary>The preparation in words.</summary>
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
