namespace Actipress.Data;

/// <summary>The voxel grid of a case's first image, on which its other channels and its labels must lie.</summary>
/// <param name="path">The path of the image.</param>
/// <param name="volume">The image as it is in its file.</param>
sealed class VolumeGrid(string path, Volume volume)
{
    /// <summary>The image as it is in its file.</summary>
    public Volume Volume { get; } = volume;

    /// <summary>The width, height and depth.</summary>
    public IReadOnlyList<int> Extents { get; } = volume.Extents.Length >= 3
        ? volume.Extents[..3]
        : throw new InvalidDataException($"{path} is {Size(volume)}: wanted a volume of three axes, or four with the channel last.");

    /// <summary>The number of voxels of a channel.</summary>
    public int Elements => checked(Extents[0] * Extents[1] * Extents[2]);

    /// <summary>The directions of its axes.</summary>
    /// <exception cref="InvalidDataException">The axes do not span space.</exception>
    public Orientation Orientation
    {
        get
        {
            try { return Orientation.Of(Volume.Affine); }
            catch (InvalidDataException failure) { throw new InvalidDataException($"{path} cannot be placed: {failure.Message}", failure); }
        }
    }

    /// <summary>
    /// Another volume's numbers in the order of this grid, where the other volume has the same voxels, whatever the directions of its axes
    /// are.
    /// </summary>
    public bool TryPlace(Volume other, out float[] values)
    {
        values = other.Values;
        if (other.Extents.Length < 3) return false;
        int[] extents = other.Extents[..3];
        if (extents.SequenceEqual(Extents) && IsSame(other.Affine)) return true;
        if (!Volume.Affine.SpansSpace || !other.Affine.SpansSpace) return false;
        // The directions of the other volume's axes relative to this grid's.
        var turn = Orientation.Of(Volume.Affine.Inverse().After(other.Affine));
        if (!turn.Turn(extents).SequenceEqual(Extents) || !IsSame(turn.Turn(other.Affine, extents))) return false;
        values = turn.Turn(other.Values, extents);
        return true;
    }

    bool IsSame(Affine affine) => Volume.Affine.Rows.SequenceEqual(affine.Rows) || Volume.Affine.SpansSpace
        && Volume.Affine.Distance(affine, Extents) <= VolumeFiles.SamePlace;

    /// <summary>Another volume's numbers, resampled onto this grid.</summary>
    /// <param name="otherPath">The path of the other volume, for messages.</param>
    /// <param name="other">The other volume, at any position.</param>
    /// <param name="isLabel">
    /// Whether the numbers are labels, which are taken from the nearest voxel and are 0 outside. Other numbers are interpolated between
    /// eight voxels, and are the volume's smallest value outside.
    /// </param>
    public float[] Resampled(string otherPath, Volume other, bool isLabel)
    {
        if (other.Extents.Length != 3) throw new InvalidDataException($"{otherPath} is {Size(other)}: wanted three axes, to resample it "
            + $"onto {path}.");
        int[] from = [other.Extents[2], other.Extents[1], other.Extents[0]], to = [Extents[2], Extents[1], Extents[0]];
        try
        {
            // A label file holds any numbers. So the indices of its distinct numbers are resampled as labels, at the nearest voxel.
            if (!isLabel) return new Example(otherPath, other.Values, [0], from) { Affine = other.Affine }.Onto(to, Volume.Affine).Image;
            var values = other.Values.Distinct().ToArray();
            if (values.Length > ushort.MaxValue) throw new InvalidDataException($"{otherPath} holds {values.Length} different labels: "
                + $"wanted at most {ushort.MaxValue}.");
            var numbers = values.Index().ToDictionary(one => one.Item, one => (ushort)(one.Index + 1));
            var labels = new Example(otherPath, [], [.. other.Values.Select(value => numbers[value])],
                from)
            { Affine = other.Affine }.Onto(to, Volume.Affine).Labels;
            return [.. labels.Select(number => number == 0 ? 0 : values[number - 1])];
        }
        catch (InvalidDataException failure)
        {
            throw new InvalidDataException($"{otherPath} cannot be resampled onto {path}: "
            + $"{failure.Message}", failure);
        }
    }

    /// <summary>The message that refuses a volume elsewhere.</summary>
    public InvalidDataException Refusal(string otherPath, Volume other)
    {
        var isOneSize = other.Extents.Take(3).SequenceEqual(Extents) && Volume.Affine.SpansSpace;
        var apart = isOneSize
            ? FormattableString.Invariant($", found them up to {Volume.Affine.Distance(other.Affine, Extents):0.###} voxels apart") : "";
        return new($"{otherPath} is {Size(other)} at {other.Affine}, but its image {path} is {string.Join(" x ", Extents)} at "
            + $"{Volume.Affine}: wanted the same voxels{apart}. Resample it onto its image, let that be done (--misplaced resample), or "
            + "give the one that belongs to the image.");
    }

    public static string Size(Volume volume) => string.Join(" x ", volume.Extents);
}
