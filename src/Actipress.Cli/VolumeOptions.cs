using System.CommandLine;
using System.Globalization;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Cli;

/// <summary>What a user may say of a folder of volumes.</summary>
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

    public static Option<Misplaced?> Misplaced() =>
        new("--misplaced")
        {
            Description = "What is done with channels and labels that do not lie on their image's voxels: refuse (the "
            + "default) or resample.",
            HelpName = "refuse|resample"
        };

    public static Option<Unreadable?> Unreadable() =>
        new("--unreadable")
        {
            Description = "What is done with a case that cannot be read: stop (the default) or skip.",
            HelpName = "stop|skip"
        };

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[classes, channels, spacing, window, relabel, misplaced, unreadable]) command.Add(option);
    }

    /// <summary>Null where nothing is said.</summary>
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
