namespace Actipress.Data;

/// <summary>Draws boxes of one size from examples at random; give <see cref="Take"/> to <see cref="BatchLoader.Vary"/>.</summary>
/// <param name="Extents">(height, width) or (depth, height, width); a smaller example is padded.</param>
public sealed record Patches(IReadOnlyList<int> Extents)
{
    /// <summary>
    /// The share of patches that are drawn around a voxel of a class other than background. All classes of the example are equally likely.
    /// </summary>
    public double Foreground { get; init; }

    /// <summary>Draws a patch.</summary>
    /// <param name="example">Stays as it is.</param>
    /// <param name="random">The same state gives the same patch.</param>
    public Example Take(Example example, Random random)
    {
        ArgumentNullException.ThrowIfNull(example);
        ArgumentNullException.ThrowIfNull(random);
        example = example.PadTo(Extents);
        var from = example.Extents.Zip(Extents, (extent, patch) => random.Next(extent - patch + 1)).ToArray();
        if (random.NextDouble() < Foreground && AnyOfForeground(example, random) is { } voxel)
            for (var axis = 0; axis < from.Length; axis++)
                from[axis] = random.Next(
                    Math.Max(0, voxel[axis] - Extents[axis] + 1), Math.Min(voxel[axis], example.Extents[axis] - Extents[axis]) + 1);
        return example.Box(from, Extents);
    }

    // Draws one of the classes that occur, and then one of its voxels.
    static int[]? AnyOfForeground(Example example, Random random)
    {
        if (example.Labels.Length != example.Elements) return null;
        var counts = new int[ushort.MaxValue + 1];
        foreach (var label in example.Labels) counts[label]++;
        var classes = Enumerable.Range(1, ushort.MaxValue).Where(label => counts[label] > 0).ToArray();
        if (classes.Length == 0) return null;
        var chosen = classes[random.Next(classes.Length)];
        var (left, at) = (random.Next(counts[chosen]), -1);
        while (left >= 0)
            if (example.Labels[++at] == chosen) left--;
        var voxel = new int[example.Extents.Count];
        for (var axis = voxel.Length - 1; axis >= 0; axis--) (at, voxel[axis]) = Math.DivRem(at, example.Extents[axis]);
        return voxel;
    }
}
