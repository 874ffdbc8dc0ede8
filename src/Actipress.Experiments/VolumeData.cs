using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>
/// Loads volumes from files for a training: reads the fingerprint, prepares each volume once, and cuts volumes to one size or keeps them
/// whole for patches.
/// </summary>
static class VolumeData
{
    // The size to which volumes are cut or padded where no patches are drawn.
    static readonly IReadOnlyList<int> hippocampus = [32, 48, 32], usual = [96, 96, 96];

    public static TrainingData Hippocampus(string folder, ParsedPlan parsed) =>
        Load(
            Decathlon.Open(folder, classes: 3, unreadable: OnUnreadable(parsed)) with { Name = "hippocampus" }, new Preparation(), parsed,
            parsed.Plan.Extents ?? hippocampus, outside: 0);

    public static TrainingData Brats(string folder, ParsedPlan parsed) =>
        Load(Data.Brats.Open(folder, parsed.Plan.Volumes?.Channels, Relabelled(parsed), OnUnreadable(parsed)),
            new Preparation { CropToForeground = true, AmongNonZero = true }, parsed, parsed.Plan.Extents ?? usual);

    public static TrainingData Ct(VolumeFiles files, ParsedPlan parsed) =>
        Load(files, new Preparation { Window = [-160, 240], Spacing = [4, 4, 4] }, parsed, parsed.Plan.Extents ?? usual);

    /// <summary>Loads a folder or a table that a user names.</summary>
    public static TrainingData Folder(string path, ParsedPlan parsed) =>
        Load(
            VolumeLayout.Open(path, parsed.Plan.Volumes?.Classes, parsed.Plan.Volumes?.Channels, Relabelled(parsed), OnUnreadable(parsed)),
            null, parsed, parsed.Plan.Extents);

    static Relabelling? Relabelled(ParsedPlan parsed) => parsed.Plan.Volumes?.Relabel is { } text ? Relabelling.Parse(text) : null;

    /// <summary>How a plan handles cases that cannot be read.</summary>
    public static Unreadable OnUnreadable(ParsedPlan parsed) => parsed.Plan.Volumes?.Unreadable ?? Unreadable.Stop;

    static TrainingData Load(VolumeFiles files, Preparation? preparation, ParsedPlan parsed, IReadOnlyList<int>? extents,
        float? outside = null)
    {
        var choices = parsed.Plan.Volumes ?? new VolumeChoices();
        files = files with { Misplaced = choices.Misplaced ?? Misplaced.Refuse };
        var fingerprint = Fingerprint.Of(files, OnUnreadable(parsed), out var readable);
        preparation ??= fingerprint.Preparation();
        preparation = preparation with
        {
            Window = choices.Window ?? preparation.Window,
            Spacing = choices.Spacing ?? preparation.Spacing,
            KeepsNearSpacing = choices.Spacing is null && preparation.KeepsNearSpacing,
        };
        var cases = files.Subset(readable);
        var slices = parsed.Network.IsOfSlices;
        var chosen = parsed.Plan.Memory is null && parsed.Plan.Patch is null && extents is null
            ? Usual(Median(fingerprint, preparation)) : null;
        var memory = parsed.Plan.Memory is { } bytes
            ? Choose(bytes, files, Median(fingerprint, preparation), readable.Count, parsed) : null;
        if (memory is not null) chosen = [.. memory.Compressed.Patch];
        var window = chosen ?? parsed.Plan.Patch ?? extents!;
        var patch = slices ? null : parsed.Plan.Patch ?? chosen;
        var cutOff = new CutOff(files.ClassNames);
        var prepared = patch is null
            ? cases.Select(scan => cutOff.Fit(preparation.Apply(scan), window, outside), window).InMemory()
            : cases.Select(preparation.Apply).InMemory();
        var data = TrainingData.Of(prepared, slices, patch is null ? null : cases, parsed.Plan.Fold);
        if (patch is not null && Enumerable.Range(0, prepared.Count).Select(prepared.Read)
            .Count(scan => scan.Extents.Zip(patch, (extent, own) => extent < own).Any(smaller => smaller)) is > 0 and var small)
            files.Notes.Add($"{small} of {prepared.Count} cases are smaller than a patch of {string.Join(" x ", patch)}, and are padded",
                files.Name);
        if (patch is [16, 16, 16])
            files.Notes.Add("a patch of 16 x 16 x 16 leaves one voxel at the coarsest level, from which a batch norm learns nothing: take "
                + "32 x 32 x 32", files.Name);
        var chosenBy = chosen is null || memory is not null ? "" : $", chosen by their size ({(patch is null ? "--extents" : "--patch")})";
        var size = $"{(patch is null ? "cut or padded to" : "patches of")} {string.Join(" x ", window)}{chosenBy}";
        data = data with
        {
            Lines = [.. fingerprint.Lines(), $"prepared: {preparation}", size, .. files.Notes.Lines(), .. cutOff.Lines(),
                .. Told(memory, parsed)],
            Scans = new(preparation, window, files.Relabelling, files.ClassNames, files.ChannelNames, files.Chosen),
            Patch = patch,
            Memory = memory,
        };
        return memory is null ? data : data.With(memory.Compressed);
    }

    static string[] Told(PatchChoice? memory, ParsedPlan parsed)
    {
        if (memory is null) return [];
        var plain = memory.Plain.Fits ? $"{memory.Plain}" : $"cannot be had, the least is {memory.Plain}";
        return [$"within {CompressionReport.Bytes(parsed.Plan.Memory!.Value)} a step: compressed {memory.Compressed}; "
            + $"plain training {plain}"];
    }

    // The least batch is 2, or the user's: a batch norm learns little from one patch.
    static PatchChoice Choose(long bytes, VolumeFiles files, IReadOnlyList<int> median, int cases, ParsedPlan parsed) =>
        PatchChoice.Of(
            () => parsed.Create(files.Channels, files.Classes), files.Channels, median, parsed.Plan.Batch,
            Math.Max(parsed.Plan.Batch, cases / 4), parsed.Codec, parsed.Objective, bytes);

    static int[] Median(Fingerprint fingerprint, Preparation preparation) =>
        [.. Enumerable.Range(0, 3)
            .Select(axis => (int)Math.Ceiling(fingerprint.Extents[axis].Median * (preparation.Spacing is { } spacing
            ? fingerprint.Spacing[axis].Median / spacing[axis] : 1)))];

    // The patch is limited by the time of a step on two cores, in multiples of 16, which a U-Net of five levels needs. 16 x 16 x 16 would
    // leave one voxel at the coarsest level, from which a batch norm learns nothing.
    static int[] Usual(int[] median)
    {
        int[] usual = [.. median.Select(extent => Math.Clamp((extent + 15) / 16 * 16, 16, LargestUsual))];
        return usual is [16, 16, 16] ? [32, 32, 32] : usual;
    }

    const int LargestUsual = 64;
}
