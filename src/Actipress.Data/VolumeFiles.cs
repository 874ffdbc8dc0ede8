namespace Actipress.Data;

/// <summary>One patient or scan and its files.</summary>
/// <param name="Name">The name of the case, which is the same in every run.</param>
/// <param name="Images">One file a channel, or one file of four axes, the last being the channel.</param>
/// <param name="Labels">
/// One file with a class for each voxel, or masks, where mask k (from 1) marks class k; without files everything is background.
/// </param>
public sealed record VolumeCase(string Name, IReadOnlyList<string> Images, IReadOnlyList<string> Labels);

/// <summary>Some of the channels of scans, in the order of a network's input.</summary>
/// <param name="Numbers">The numbers of the channels, from 0.</param>
/// <param name="Of">The number of channels that the scans have.</param>
public sealed record ChosenChannels(IReadOnlyList<int> Numbers, int Of);

/// <summary>How channels and labels that do not lie on the grid of their image are handled.</summary>
public enum Misplaced
{
    /// <summary>The case cannot be read.</summary>
    Refuse,

    /// <summary>They are resampled onto the grid: channels by trilinear interpolation, labels at the nearest voxel.</summary>
    Resample,
}

/// <summary>
/// Volumes that are read from their files on demand. Whatever the directions of a file's axes are, an example's depth runs to the top, its
/// height to the front and its width to the right (RAS). Channels and labels lie on the grid of the first channel.
/// </summary>
public sealed record VolumeFiles : IDataSet
{
    /// <summary>The largest distance, in voxels, at which two positions of a voxel count as equal.</summary>
    public const double SamePlace = 1e-3;

    int stored;
    IReadOnlyList<VolumeCase> cases;
    IReadOnlyList<int>? picked;    // indices of the channels in one file

    /// <summary>Makes a data set of files, without reading them.</summary>
    /// <param name="name">The name in reports.</param>
    /// <param name="cases">The cases: at least one.</param>
    /// <param name="channels">The number of channels of each image.</param>
    /// <param name="classes">Labels go from 0 to one less.</param>
    /// <exception cref="InvalidDataException">There are no cases, or two cases have one name.</exception>
    public VolumeFiles(string name, IReadOnlyList<VolumeCase> cases, int channels, int classes)
    {
        ArgumentNullException.ThrowIfNull(cases);
        if (cases.Count == 0) throw new InvalidDataException($"{name} has no cases: wanted at least one volume.");
        if (cases.GroupBy(one => one.Name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } several)
            throw new InvalidDataException($"{name} has {several.Count()} cases called {several.Key}: "
                + $"{string.Join(", ", several.Select(one => one.Images[0]))}. Wanted one of a name. Remove or rename the others.");
        (Name, this.cases, stored, Classes) = (name, cases, channels, classes);
    }

    /// <inheritdoc/>
    public string Name { get; init; }

    /// <inheritdoc/>
    public int Count => cases.Count;

    /// <inheritdoc/>
    public int Channels => picked?.Count ?? stored;

    /// <inheritdoc/>
    public int Classes { get; init; }

    /// <summary>The number in label files for each class.</summary>
    public Relabelling Relabelling { get; init; } = Relabelling.None;

    /// <summary>The names of the classes, background first; null where they are not known.</summary>
    public IReadOnlyList<string>? ClassNames { get; init; }

    /// <summary>The names of the channels; null where they are not known.</summary>
    public IReadOnlyList<string>? ChannelNames { get; init; }

    /// <summary>The channels that <see cref="WithChannels"/> chose; null for all in their order.</summary>
    public ChosenChannels? Chosen { get; private init; }

    /// <summary>How channels and labels that lie elsewhere than their image are handled.</summary>
    public Misplaced Misplaced { get; init; }

    /// <summary>Notes about the folder, and about the cases as they are read.</summary>
    public DataNotes Notes { get; init; } = new();

    /// <inheritdoc/>
    public bool IsSegmentation => true;

    /// <inheritdoc/>
    public IReadOnlyList<int>? Extents => null;

    /// <inheritdoc/>
    public string Case(int index) => cases[index].Name;

    /// <summary>The files of a case.</summary>
    public VolumeCase Files(int index) => cases[index];

    /// <summary>The same cases with some of the channels, in this order.</summary>
    /// <param name="channels">The indices of the channels, from 0.</param>
    public VolumeFiles WithChannels(IReadOnlyList<int> channels)
    {
        ArgumentNullException.ThrowIfNull(channels);
        var names = ChannelNames is null ? null : channels.Select(channel => ChannelNames[channel]).ToArray();
        var chosen = new ChosenChannels(channels, stored);
        return cases[0].Images.Count == stored && stored > 1
            ? this with
            {
                cases = [.. cases.Select(one => one with { Images = [.. channels.Select(channel => one.Images[channel])] })],
                stored = channels.Count,
                ChannelNames = names,
                Chosen = chosen,
            }
            : this with { picked = channels, ChannelNames = names, Chosen = chosen };
    }

    /// <inheritdoc/>
    public Example Read(int index)
    {
        var files = cases[index];
        var grid = new VolumeGrid(files.Images[0], Nifti.Read(files.Images[0]));
        var (image, elements) = (grid.Volume.Values, grid.Elements);
        if (files.Images.Count > 1)
        {
            image = new float[checked(elements * files.Images.Count)];
            for (var channel = 0; channel < files.Images.Count; channel++)
            {
                var path = files.Images[channel];
                var values = channel == 0 ? grid.Volume.Values : On(grid, path, Nifti.Read(path), isLabel: false, files.Name);
                if (values.Length != elements)
                    throw new InvalidDataException($"{path} is {VolumeGrid.Size(grid.Volume)}: wanted three axes, since its case has "
                        + $"{files.Images.Count} files of a channel each.");
                values.CopyTo(image, channel * elements);
            }
        }
        if (image.Length != (long)elements * stored)
            throw new InvalidDataException($"{files.Images[0]} is {VolumeGrid.Size(grid.Volume)}, so it has {image.Length / elements} "
                + $"channels: {Name} has {stored}.");
        if (picked is not null) image = [.. picked.SelectMany(channel => image[(channel * elements)..((channel + 1) * elements)])];
        FillHoles(image, elements, files.Name);
        var labels = Labels(files, grid);
        var (orientation, extents) = (grid.Orientation, grid.Extents);
        if (!grid.Volume.HasOrientation)
            Notes.Add("its file says nothing of its orientation (s-form and q-form are 0): its axes count as RAS", files.Name);
        if (!orientation.IsRas) Notes.Add($"its axes run {orientation}, and are turned to RAS", files.Name);
        int[] turned = orientation.Turn(extents);
        return new(files.Name, orientation.Turn(image, extents), orientation.Turn(labels, extents), [turned[2], turned[1], turned[0]])
        {
            Affine = orientation.Turn(grid.Volume.Affine, extents),
        };
    }

    // Some programs write a background of NaN, which becomes air.
    void FillHoles(float[] image, int elements, string name)
    {
        for (var channel = 0; channel < Channels; channel++)
        {
            var values = image.AsSpan(channel * elements, elements);
            var (smallest, holes) = (float.PositiveInfinity, 0);
            foreach (var value in values)
                if (float.IsInfinity(value))
                    throw new InvalidDataException($"Channel {channel} of {name} holds infinities: wanted numbers. Mend the file, or take "
                        + "the case out.");
                else if (float.IsNaN(value)) holes++;
                else smallest = Math.Min(smallest, value);
            if (holes == 0) continue;
            if (holes == elements) throw new InvalidDataException($"Channel {channel} of {name} holds nothing but NaN: wanted numbers. "
                + "Mend the file, or take the case out.");
            foreach (ref var value in values)
                if (float.IsNaN(value)) value = smallest;
            Notes.Add("voxels of NaN are taken for the channel's smallest value", name);
        }
    }

    float[] On(VolumeGrid grid, string path, Volume volume, bool isLabel, string name)
    {
        if (grid.TryPlace(volume, out var values)) return values;
        if (Misplaced == Misplaced.Refuse) throw grid.Refusal(path, volume);
        Notes.Add($"{(isLabel ? "labels lie" : "a channel lies")} elsewhere than the image, and {(isLabel ? "are" : "is")} resampled onto "
            + "its grid", name);
        return grid.Resampled(path, volume, isLabel);
    }

    ushort[] Labels(VolumeCase files, VolumeGrid grid)
    {
        var labels = new ushort[grid.Elements];
        for (var file = 0; file < files.Labels.Count; file++)
        {
            var path = files.Labels[file];
            var values = On(grid, path, Nifti.Read(path), isLabel: true, files.Name);
            if (values.Length != labels.Length) throw new InvalidDataException($"{path} has {values.Length / labels.Length} labels a "
                + "voxel: wanted one. Split it into a file for each, or join them.");
            var isOneOfSeveral = files.Labels.Count > 1;
            var (most, relabelling) = isOneOfSeveral ? (1, Relabelling.None) : (Classes - 1, Relabelling);
            if (relabelling.IsMask(values, most))
            {
                relabelling = Relabelling.OfMasks;
                Notes.Add("labels of 0 and 255 are taken for 0 and 1", files.Name);
            }
            for (var voxel = 0; voxel < labels.Length; voxel++)
            {
                if (relabelling.ClassOf(values[voxel]) is not { } label || label > most)
                {
                    var (width, height) = (grid.Extents[0], grid.Extents[1]);
                    throw new InvalidDataException($"{path} holds label {values[voxel]} at voxel ({voxel % width}, "
                        + $"{voxel / width % height}, {voxel / width / height}): wanted {relabelling.Wanted(most)}. Say how many classes "
                        + "there are or what a label becomes, or mend the file.");
                }
                if (!isOneOfSeveral) labels[voxel] = (ushort)label;
                else if (label == 1)
                {
                    if (labels[voxel] != 0) Notes.Add("masks overlap, and the later one wins", files.Name);
                    labels[voxel] = (ushort)(file + 1);
                }
            }
        }
        return labels;
    }

    /// <summary>Makes a case without labels of every NIfTI file of a folder.</summary>
    /// <exception cref="InvalidDataException">The folder has no NIfTI file.</exception>
    public static VolumeFiles Unlabelled(string folder)
    {
        var found = VolumeFolder.Of(folder);
        if (found.Volumes.Count == 0) throw new InvalidDataException($"No volumes in {folder}: wanted .nii or .nii.gz files.");
        var files = new VolumeFiles(
            Path.GetFileName(Path.TrimEndingDirectorySeparator(folder)),
                [.. found.Volumes.Select(file => new VolumeCase(file.Key, [file.Value], []))], channels: 1, classes: 1);
        files.Notes.AddLeftOut(found);
        return files;
    }
}
