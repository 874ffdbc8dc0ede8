namespace Actipress.Data;

/// <summary>Draws volumes: two balls, each of its own class, in noise. They need no file.</summary>
public static class GeneratedVolumes
{
    /// <summary>Draws some volumes.</summary>
    /// <param name="count">The number of volumes.</param>
    /// <param name="extents">The extents of each volume.</param>
    /// <param name="seed">The same seed gives the same volumes.</param>
    public static LabelledVolumes Make(int count, (int Depth, int Height, int Width) extents, int seed = 1)
    {
        var (d, h, w) = extents;
        var (images, labels) = (new float[count][], new byte[count][]);
        Parallel.For(0, count, i =>
        {
            var random = new Random(unchecked(seed * 1_000_003 + i));
            var balls = Enumerable.Range(1, 2).Select(label => (
                Label: (byte)label, Z: Within(d), Y: Within(h), X: Within(w),
                Radius: (0.1 + 0.12 * random.NextDouble()) * Math.Min(d, Math.Min(h, w)))).ToArray();
            (images[i], labels[i]) = (new float[d * h * w], new byte[d * h * w]);
            for (var voxel = 0; voxel < labels[i].Length; voxel++)
            {
                var (z, y, x) = (voxel / (h * w), voxel / w % h, voxel % w);
                foreach (var ball in balls)
                    if ((z - ball.Z) * (z - ball.Z) + (y - ball.Y) * (y - ball.Y) + (x - ball.X) * (x - ball.X) < ball.Radius * ball.Radius)
                        labels[i][voxel] = ball.Label;
                images[i][voxel] = (float)(labels[i][voxel] - 0.3 + 0.4 * (random.NextDouble() + random.NextDouble() - 1));
            }

            double Within(int extent) => (0.25 + 0.5 * random.NextDouble()) * extent;
        });
        return new("generated volumes", images, labels, extents, Classes: 3);
    }
}
