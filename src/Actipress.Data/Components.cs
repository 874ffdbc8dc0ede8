namespace Actipress.Data;

/// <summary>Connected components of masks.</summary>
public static class Components
{
    /// <summary>
    /// Keeps the largest connected component of each class; the rest becomes background. Voxels that share a face are neighbours. The first
    /// of equally large components is kept.
    /// </summary>
    /// <param name="labels">(depth, height, width), row-major; stays as it is.</param>
    /// <param name="extents">Depth, height and width.</param>
    public static ushort[] Largest(ushort[] labels, IReadOnlyList<int> extents)
    {
        ArgumentNullException.ThrowIfNull(labels);
        ArgumentNullException.ThrowIfNull(extents);
        var (height, width) = (extents[1], extents[2]);
        var (part, sizes, classes, queue) = (new int[labels.Length], new List<int> { 0 }, new List<ushort> { 0 }, new Queue<int>());
        for (var seed = 0; seed < labels.Length; seed++)
        {
            if (labels[seed] == 0 || part[seed] != 0) continue;
            var (number, size) = (sizes.Count, 0);
            Visit(seed);
            while (queue.TryDequeue(out var voxel))
            {
                size++;
                var (x, y, z) = (voxel % width, voxel / width % height, voxel / width / height);
                if (x > 0) Visit(voxel - 1);
                if (x + 1 < width) Visit(voxel + 1);
                if (y > 0) Visit(voxel - width);
                if (y + 1 < height) Visit(voxel + width);
                if (z > 0) Visit(voxel - width * height);
                if (z + 1 < extents[0]) Visit(voxel + width * height);
            }
            sizes.Add(size);
            classes.Add(labels[seed]);

            void Visit(int voxel)
            {
                if (labels[voxel] != labels[seed] || part[voxel] != 0) return;
                part[voxel] = number;
                queue.Enqueue(voxel);
            }
        }
        var kept = Enumerable.Range(1, sizes.Count - 1).GroupBy(number => classes[number]).Select(own => own.MaxBy(number => sizes[number]))
            .ToHashSet();
        return [.. labels.Select((label, voxel) => kept.Contains(part[voxel]) ? label : (ushort)0)];
    }
}
