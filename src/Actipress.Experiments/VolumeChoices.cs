using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>What a user says of a folder of volumes. What is null, the data themselves decide.</summary>
public sealed record VolumeChoices
{
    /// <summary>A number of classes, or names of TotalSegmentator's masks.</summary>
    public IReadOnlyList<string>? Classes { get; init; }

    /// <summary>Names or numbers.</summary>
    public IReadOnlyList<string>? Channels { get; init; }

    /// <summary>Depth, height and width of a voxel in mm to which scans are resampled.</summary>
    public IReadOnlyList<double>? Spacing { get; init; }

    /// <summary>Values that become -1 and 1; beyond them they are cut.</summary>
    public IReadOnlyList<double>? Window { get; init; }

    /// <summary>What the numbers in label files become, as <see cref="Relabelling.Parse"/> reads it.</summary>
    public string? Relabel { get; init; }

    /// <summary>What is done with channels and labels that lie elsewhere than their image.</summary>
    public Misplaced? Misplaced { get; init; }

    /// <summary>What is done with a case that cannot be read.</summary>
    public Unreadable? Unreadable { get; init; }

    /// <exception cref="ArgumentException">Something is not to be had; the message says what.</exception>
    /// <exception cref="FormatException">The relabelling is none.</exception>
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
