namespace Actipress.Data;

/// <summary>The voxels of a case's first image: where its other channels and its labels have to lie.</summary>
/// <param name="path">Of the image.</param>
/// <param name="volume">The image as it is in its file.</param>
sealed class VolumeGrid(string path, Volume volume)
{
    /// <summary>The image as it is in its file.</summary>
    public Volume Volume { get; } = volume;

    /// <summary>Width, height and depth.</summary>
    public IReadOnlyList<int> Extents { get; } = volume.Extents.Length >= 3
        ? volume.Extents[..3]
        : throw new InvalidDataException($"{path} is {Size(volume)}: wanted a volume of three axes, or four with the channel last.");

    /// <summary>Voxels of a channel.</summary>
    public int Elements => checked(Extents[0] * Extents[1] * Extents[2]);

    /// <summary>Which way its axes run.</summary>
    /// <exception cref="InvalidDataException">They do not span space.</exception>
    public Orientation Orientation
    {
        get
        {
            try { return Orientation.Of(Volume.Affine); }
            catch (InvalidDataException failure) { throw new InvalidDataException($"{path} cannot be placed: {failure.Message}", failure); }
        }
    }

    /// <summary>Another volume's numbers in this one's order, where it has a voxel wherever this has one, whichever way its axes
    /// run.</summary>
    public bool TryPlace(Volume other, out float[] values)
    {
        values = other.Values;
        if (other.Extents.Length < 3) return false;
        int[] extents = other.Extents[..3];
        if (extents.SequenceEqual(Extents) && IsSame(other.Affine)) return true;
        if (!Volume.Affine.SpansSpace || !other.Affine.SpansSpace) return false;
        // Which way the other's axes run as seen from this one's.
        var turn = Orientation.Of(Volume.Affine.Inverse().After(other.Affine));
        if (!turn.Turn(extents).SequenceEqual(Extents) || !IsSame(turn.Turn(other.Affine, extents))) return false;
        values = turn.Turn(other.Values, extents);
        return true;
    }

    bool IsSame(Affine affine) => Volume.Affine.Rows.SequenceEqual(affine.Rows) || Volume.Affine.SpansSpace
        && Volume.Affine.Distance(affine, Extents) <= VolumeFiles.SamePlace;

    /// <summary>Another volume's numbers on this one's voxels.</summary>
    /// <param name="otherPath">For messages.</param>
    /// <param name="other">Wherever it lies.</param>
    /// <param name="isLabel">Takes the nearest voxel, and 0 where it does not reach; else interpolates between eight, and takes its
    /// smallest value there.</param>
    public float[] Resampled(string otherPath, Volume other, bool isLabel)
    {
        if (other.Extents.Length != 3) throw new InvalidDataException($"{otherPath} is {Size(other)}: wanted three axes, to resample it "
            + $"onto {path}.");
        int[] from = [other.Extents[2], other.Extents[1], other.Extents[0]], to = [Extents[2], Extents[1], Extents[0]];
        try
        {
            // Labels are resampled as labels, at the nearest voxel: their place is looked up by number, since a label file holds any
            // numbers.
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

    /// <summary>Why a volume is not taken that lies elsewhere.</summary>
    public InvalidDataException Refusal(string otherPath, Volume other)
    {
        var isOneSize = other.Extents.Take(3).SequenceEqual(Extents) && Volume.Affine.SpansSpace;
        var apart = isOneSize ? FormattableString.Invariant($", found them up to {Volume.Affine.Distance(other.Affine, Extents):0.###} voxels apart") : "";
        return new($"{otherPath} is {Size(other)} at {other.Affine}, but its image {path} is {string.Join(" x ", Extents)} at {Volume.Affine}: "
            + $"wanted the same voxels{apart}. Resample it onto its image, let that be done (--misplaced resample), or give the one that "
            + "belongs to the image.");
    }

    public static string Size(Volume volume) => string.Join(" x ", volume.Extents);
}
