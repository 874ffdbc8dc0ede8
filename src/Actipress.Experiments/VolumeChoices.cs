using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>A user's choices for a folder of volumes. Null lets the data decide.</summary>
public sealed record VolumeChoices
{
    /// <summary>A number of classes, or names of TotalSegmentator's masks.</summary>
    public IReadOnlyList<string>? Classes { get; init; }

    /// <summary>Names or indices of channels.</summary>
    public IReadOnlyList<string>? Channels { get; init; }

    /// <summary>The depth, height and width in mm of a voxel to which scans are resampled.</summary>
    public IReadOnlyList<double>? Spacing { get; init; }

    /// <summary>The values that become -1 and 1; values beyond are clamped.</summary>
    public IReadOnlyList<double>? Window { get; init; }

    /// <summary>The relabelling of the numbers in label files, as <see cref="Relabelling.Parse"/> reads it.</summary>
    public string? Relabel { get; init; }

    /// <summary>How channels and labels that lie elsewhere than their image are handled.</summary>
    public Misplaced? Misplaced { get; init; }

    /// <summary>How a case that cannot be read is handled.</summary>
    public Unreadable? Unreadable { get; init; }

    /// <exception cref="ArgumentException">A choice is impossible; the message says which.</exception>
    /// <exception cref="FormatException">The relabelling's text cannot be read.</exception>
    public void Check()
    {
        if (Relabel is not null) Relabelling.Parse(Relabel);
        if (Spacing is not null && (Spacing.Count != 3 || Spacing.Any(one => !(one > 0 && double.IsFinite(one)))))
            throw new ArgumentException($"spacing {string.Join(" x ", Spacing)}: wanted depth, height and width of a voxel in mm, such as "
                + "3x1.5x1.5.");
        if (Window is not null && (Window is not [var low, var high] || !(low < high)))
            throw new ArgumentException($"window {string.Join(", ", Window)}: wanted two numbers, the second the greater, such as "
                + "-160,240.");
    }
}
