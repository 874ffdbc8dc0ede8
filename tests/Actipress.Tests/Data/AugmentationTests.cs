using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class AugmentationTests
{
    // A ball of class 1 beside the middle, its image the same.
    static Example Ball(params int[] extents)
    {
        var (depth, height, width) = extents.Length == 3 ? (extents[0], extents[1], extents[2]) : (1, extents[0], extents[1]);
        var labels = new ushort[depth * height * width];
        for (var i = 0; i < labels.Length; i++)
        {
            var (z, y, x) = (i / (height * width) - depth / 2, i / width % height - height / 2, i % width - width / 4);
            labels[i] = (ushort)(z * z + y * y + x * x < 36 ? 1 : 0);
        }
        return new("ball", Array.ConvertAll(labels, label => (float)label), labels, extents);
    }

    [Theory]
    [InlineData(32, 32)]
    [InlineData(24, 32, 32)]
    public void Image_and_labels_move_together(params int[] extents)
    {
        var ball = Ball(extents);
        var moved = 0;
        for (var seed = 0; seed < 20; seed++)
        {
            var changed = Augmentation.Brats.Apply(ball, new Random(seed));
            Assert.Equal(ball.Extents, changed.Extents);
            // Where the linear image is clearly one or the other, so is the nearest label.
            for (var i = 0; i < changed.Labels.Length; i++)
                if (changed.Image[i] is < 0.02f or > 0.98f) Assert.Equal(changed.Image[i] > 0.5f, changed.Labels[i] == 1);
            if (!changed.Labels.SequenceEqual(ball.Labels)) moved++;
            Assert.Equal(changed.Image, Augmentation.Brats.Apply(ball, new Random(seed)).Image);
        }
        Assert.InRange(moved, 19, 20);
    }

    [Fact]
    public void A_flip_mirrors_half_the_examples_exactly()
    {
        var ball = Ball(9, 11);
        var mirrored = 0;
        for (var seed = 0; seed < 200; seed++)
        {
            var changed = Augmentation.Flips.Apply(ball, new Random(seed));
            if (changed.Labels.SequenceEqual(ball.Labels)) continue;
            mirrored++;
            Assert.Equal(ball.Image.Chunk(11).SelectMany(row => row.Reverse()), changed.Image);
        }
        Assert.InRange(mirrored, 70, 130);
        Assert.Equal(ball.Image, new Augmentation().Apply(ball, new Random(1)).Image);
    }

    [Fact]
    public void Changes_stay_within_the_papers_ranges()
    {
        var volume = Ball(8, 16, 12) with { Affine = new([2, 0, 0, 5, 0, 1, 0, 6, 0, 0, 3, 7]) };
        var (largest, smallest, farthest) = (0.0, 9.0, 0.0);
        for (var seed = 0; seed < 200; seed++)
        {
            var changed = Augmentation.Spleen.Apply(volume, new Random(seed)).Affine!;
            var places = volume.Affine.Inverse().After(changed);
            // The place of the result's middle tells the shift; its columns in mm the scale.
            var (x, y, z) = places.At(5.5, 7.5, 3.5);
            farthest = Math.Max(farthest, Math.Max(Math.Abs(x - 5.5) / 12, Math.Max(Math.Abs(y - 7.5) / 16, Math.Abs(z - 3.5) / 8)));
            var result = changed.Spacing;
            Assert.Equal(result.Width / 2, result.Depth / 3, 1e-9);    // turned in mm, so nothing is sheared
            (largest, smallest) = (Math.Max(largest, 1 / result.Height), Math.Min(smallest, 1 / result.Height));
        }
        Assert.InRange(largest, 1.09, 1.1 + 1e-9);
        Assert.InRange(smallest, 0.9 - 1e-9, 0.91);
        Assert.InRange(farthest, 0.048, 0.05 + 1e-9);
    }

    [Fact]
    public void Patches_are_drawn_everywhere_and_foreground_is_favoured()
    {
        var ball = Ball(24, 32, 32);
        var (random, rows) = (new Random(1), new HashSet<float>());
        int Hits(double foreground) => Enumerable.Range(0, 300).Count(_ => new Patches([8, 8, 8]) { Foreground = foreground }.Take(ball, random).Labels.Contains((ushort)1));
        var (blind, half, all) = (Hits(0), Hits(0.5), Hits(1));
        Assert.InRange(blind, 10, 120);
        Assert.InRange(half, blind + 50, 250);
        Assert.Equal(300, all);
        var counting = new Example("line", [.. Enumerable.Range(0, 20).Select(i => (float)i)], new ushort[20], [1, 20]);
        for (var i = 0; i < 500; i++) rows.Add(new Patches([1, 5]).Take(counting, random).Image[0]);
        Assert.Equal(Enumerable.Range(0, 16).Select(i => (float)i), rows.Order());
        Assert.Equal([3, 25], new Patches([3, 25]).Take(counting, random).Extents);    // padded
    }
}
