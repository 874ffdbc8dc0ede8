using System.CommandLine;
using System.Globalization;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary>The options for a folder of volumes.</summary>
sealed class VolumeOptions
{
    readonly Option<string?> classes = new("--classes")
    {
        Description = "Of volumes: how many classes, background included, or names of "
        + "TotalSegmentator's masks, such as spleen,liver. By default what dataset.json or the label files say.",
        HelpName = "number|names"
    };
    readonly Option<string?> channels = new("--channels")
    {
        Description = "Of volumes: names or numbers of channels, such as t1c,flair. "
        + "By default all that every case has.",
        HelpName = "names"
    };
    readonly Option<string?> spacing = new("--spacing")
    {
        Description = "Resample volumes to this depth, height and width of a voxel in "
        + "mm, such as 3x1.5x1.5. By default the median of a folder's where they differ.",
        HelpName = "mm"
    };
    readonly Option<string?> window = new("--window")
    {
        Description = "Cut values to these two, such as Hounsfield units -160,240. By "
        + "default mean 0 and deviation 1; of a folder of CT the values inside classes.",
        HelpName = "from,to"
    };
    readonly Option<string?> relabel = new("--relabel")
    {
        Description = "What numbers in label files become, such as 4=3,255=1.",
        HelpName = "pairs"
    };
    readonly Option<Misplaced?> misplaced = Misplaced();
    readonly Option<Unreadable?> unreadable = Unreadable();

    public static Option<Misplaced?> Misplaced() => Values.OneOf<Misplaced>(
        "--misplaced", "What is done with channels and labels that do not lie on their image's voxels: refuse (the default) or resample.");

    public static Option<Unreadable?> Unreadable() =>
        Values.OneOf<Unreadable>(
            "--unreadable", "What is done with a case that cannot be read or has no mask: stop (the default) or skip.");

    public IReadOnlyList<Option> All => [classes, channels, spacing, window, relabel, misplaced, unreadable];

    /// <summary>The user's choices; null where there are none.</summary>
    public VolumeChoices? Of(ParseResult parsed)
    {
        var choices = new VolumeChoices
        {
            Classes = parsed.GetValue(classes)?.Split(','),
            Channels = parsed.GetValue(channels)?.Split(','),
            Spacing = Numbers("--spacing", parsed.GetValue(spacing), 'x'),
            Window = Numbers("--window", parsed.GetValue(window), ','),
            Relabel = parsed.GetValue(relabel),
            Misplaced = parsed.GetValue(misplaced),
            Unreadable = parsed.GetValue(unreadable),
        };
        return choices == new VolumeChoices() ? null : choices;
    }

    /// <summary>The choices as text, without hyphens; null where there are none.</summary>
    public static IEnumerable<(string Option, string? Value)> Typed(VolumeChoices? choices) =>
    [
        ("classes", Joined(choices?.Classes, ',')), ("channels", Joined(choices?.Channels, ',')),
        ("spacing", Joined(choices?.Spacing, 'x')), ("window", Joined(choices?.Window, ',')), ("relabel", choices?.Relabel),
        ("misplaced", choices?.Misplaced is { } place ? Values.Word(place) : null),
        ("unreadable", choices?.Unreadable is { } other ? Values.Word(other) : null),
    ];

    static string? Joined<T>(IReadOnlyList<T>? values, char between) where T : IConvertible =>
        values is null ? null : string.Join(between, values.Select(value => value.ToString(CultureInfo.InvariantCulture)));

    static double[]? Numbers(string option, string? text, char between)
    {
        if (text is null) return null;
        try { return [.. text.Split(between).Select(number => double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture))]; }
        catch (FormatException failure)
        {
            throw new FormatException($"{option} {text}: wanted numbers with '{between}' between them.",
            failure);
        }
    }
}
