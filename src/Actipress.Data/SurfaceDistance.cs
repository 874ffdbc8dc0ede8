namespace Actipress.Data;

/// <summary>The distance of the surfaces of two masks.</summary>
public static class SurfaceDistance
{
    const double Share = 0.95;

    /// <summary>
    /// HD95: the 95th percentile of the distances of each surface voxel of either mask to the other mask's surface. As in MedPy, both
    /// directions are pooled, and the percentile is interpolated linearly. A surface voxel has a face towards the outside.
    /// </summary>
    /// <param name="found">Predicted classes (depth, height, width), row-major.</param>
    /// <param name="wanted">True classes (depth, height, width), row-major.</param>
    /// <param name="label">The class of the masks.</param>
    /// <param name="extents">Depth, height and width.</param>
    /// <param name="spacing">The spacing along depth, height and width, in mm.</param>
    /// <returns>The distance in mm; null where either mask is empty.</returns>
    public static double? Hd95(ReadOnlySpan<ushort> found, ReadOnlySpan<ushort> wanted, ushort label, IReadOnlyList<int> extents,
        IReadOnlyList<double> spacing)
    {
        ArgumentNullException.ThrowIfNull(extents);
        ArgumentNullException.ThrowIfNull(spacing);
        if (!found.Contains(label) || !wanted.Contains(label)) return null;
        var (first, second) = (Surface(found, label, extents), Surface(wanted, label, extents));
        var (toFirst, toSecond) = (SquaredDistances(first, extents, spacing), SquaredDistances(second, extents, spacing));
        var distances = new List<double>();
        for (var voxel = 0; voxel < first.Length; voxel++)
        {
            if (first[voxel]) distances.Add(Math.Sqrt(toSecond[voxel]));
            if (second[voxel]) distances.Add(Math.Sqrt(toFirst[voxel]));
        }
        distances.Sort();
        var at = Share * (distances.Count - 1);
        var below = (int)at;
        return below + 1 < distances.Count ? distances[below] + (at - below) * (distances[below + 1] - distances[below]) : distances[below];
    }

    static bool[] Surface(ReadOnlySpan<ushort> labels, ushort label, IReadOnlyList<int> extents)
    {
        var (surface, voxel) = (new bool[labels.Length], 0);
        int[] steps = [extents[1] * extents[2], extents[2], 1];
        for (var z = 0; z < extents[0]; z++)
            for (var y = 0; y < extents[1]; y++)
                for (var x = 0; x < extents[2]; x++, voxel++)
                {
                    if (labels[voxel] != label) continue;
                    ReadOnlySpan<int> place = [z, y, x];
                    for (var axis = 0; axis < 3; axis++)
                        surface[voxel] |= place[axis] == 0 || place[axis] + 1 == extents[axis] || labels[voxel - steps[axis]] != label
                            || labels[voxel + steps[axis]] != label;
                }
        return surface;
    }

    // The distance transform of Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions (2012): the lower envelope of
    // parabolas, along each axis in turn.
    static double[] SquaredDistances(bool[] marked, IReadOnlyList<int> extents, IReadOnlyList<double> spacing)
    {
        var distances = Array.ConvertAll(marked, isMarked => isMarked ? 0 : double.PositiveInfinity);
        int[] steps = [extents[1] * extents[2], extents[2], 1];
        for (var axis = 0; axis < 3; axis++)
        {
            var (count, step) = (extents[axis], steps[axis]);
            var (line, tops, from) = (new double[count], new int[count], new double[count + 1]);
            for (var start = 0; start < distances.Length; start++)
            {
                if (start / step % count != 0) continue;
                for (var i = 0; i < count; i++) line[i] = distances[start + i * step];
                Envelope(line, spacing[axis], tops, from, distances.AsSpan(start), step);
            }
        }
        return distances;
    }

    // tops has the apexes of the envelope's parabolas from left to right. Parabola k is the lowest from from[k] on, in mm.
    static void Envelope(double[] line, double spacing, int[] tops, double[] from, Span<double> result, int step)
    {
        var last = -1;
        for (var i = 0; i < line.Length; i++)
        {
            if (double.IsPositiveInfinity(line[i])) continue;
            var meeting = double.NegativeInfinity;
            while (last >= 0 && (meeting = Meeting(tops[last], i)) <= from[last]) last--;
            if (last < 0) meeting = double.NegativeInfinity;
            (tops[++last], from[last]) = (i, meeting);
        }
        if (last < 0) return;
        from[last + 1] = double.PositiveInfinity;
        for (var (i, k) = (0, 0); i < line.Length; i++)
        {
            while (from[k + 1] < i * spacing) k++;
            var away = (i - tops[k]) * spacing;
            result[i * step] = away * away + line[tops[k]];
        }

        double Meeting(int left, int right)
        {
            var (a, b) = (left * spacing, right * spacing);
            return (line[right] + b * b - line[left] - a * a) / (2 * (b - a));
        }
    }
}
