using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class AugmentationTests
{
    // Makes a ball of class 1 beside the centre, with an image equal to its labels.
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
            // Where the interpolated image is clearly 0 or 1, the nearest label is the same.
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
            // The position of the result's centre gives the shift, and its columns in mm give the scale.
            var (x, y, z) = places.At(5.5, 7.5, 3.5);
            farthest = Math.Max(farthest, Math.Max(Math.Abs(x - 5.5) / 12, Math.Max(Math.Abs(y - 7.5) / 16, Math.Abs(z - 3.5) / 8)));
            var result = changed.Spacing;
            Assert.Equal(result.Width / 2, result.Depth / 3, 1e-9);    // rotations are in mm, so nothing is sheared
            (largest, smallest) = (Math.Max(largest, 1 / result.Height), Math.Min(smallest, 1 / result.Height));
        }
        Assert.InRange(largest, 1.09, 1.1 + 1e-9);
        Assert.InRange(smallest, 0.9 - 1e-9, 0.91);
        Assert.InRange(farthest, 0.048, 0.05 + 1e-9);
    }

    // Rotations are in mm about each axis. For angles as small as these, each angle follows from the sine outside the diagonal.
    [Fact]
    public void Every_axis_is_shifted_and_turned_by_as_much_as_is_allowed_and_no_more()
    {
        var volume = Ball(8, 16, 12) with { Affine = Affine.Of(2, 1, 3) };
        var (shifts, angles, mirrored) = (new double[3], new double[3], 0);
        for (var seed = 0; seed < 300; seed++)
        {
            var places = volume.Affine.Inverse().After(Augmentation.Brats.Apply(volume, new Random(seed)).Affine!);
            var (x, y, z) = places.At(5.5, 7.5, 3.5);
            Farthest(shifts, (x - 5.5) / 12, (y - 7.5) / 16, (z - 3.5) / 8);
            var turned = Affine.Of(2, 1, 3).After(places).After(Affine.Of(1 / 2.0, 1, 1 / 3.0));
            if (turned.Rows[0] < 0) mirrored++;
            Farthest(
                angles, Angle(turned.Rows[9], turned.Rows[10]), Angle(turned.Rows[8], turned.Rows[10]),
                Angle(turned.Rows[1], turned.Rows[5]));
        }
        Assert.All(shifts, shift => Assert.InRange(shift, 0.048, 0.05 + 1e-9));
        // Three rotations are composed, and each lengthens the others a little.
        Assert.All(angles, angle => Assert.InRange(angle, 0.95, 1.05));
        Assert.InRange(mirrored, 110, 190);

        static void Farthest(double[] most, params double[] found)
        {
            for (var i = 0; i < most.Length; i++) most[i] = Math.Max(most[i], Math.Abs(found[i]));
        }

        static double Angle(double beside, double along) => Math.Atan(beside / along) * 180 / Math.PI;
    }

    [Fact]
    public void A_picture_is_turned_and_scaled_in_its_plane_alone()
    {
        var picture = Ball(16, 12) with { Affine = Affine.Of(1, 1, 1) };
        for (var seed = 0; seed < 20; seed++)
        {
            var changed = Augmentation.Spleen.Apply(picture, new Random(seed)).Affine!;
            Assert.InRange(changed.Rows[0], 0.9, 1.12);    // not mirrored
            Assert.Equal([0, 0, 1, 0], changed.Rows.Skip(8));
            Assert.Equal((0, 0), (changed.Rows[2], changed.Rows[6]));
            Assert.NotEqual(0, changed.Rows[1]);
            Assert.Equal(changed.Spacing.Height, changed.Spacing.Width, 1e-12);
        }
    }

    // Returns for each (row, column) the probability that a patch begins there: a class is drawn uniformly, then one of its pixels, then a
    // patch that contains the pixel.
    static Dictionary<(int, int), double> Likely(Example example, int height, int width, double foreground)
    {
        var (rows, columns) = (example.Extents[0] - height + 1, example.Extents[1] - width + 1);
        var likely = new Dictionary<(int, int), double>();
        foreach (var row in Enumerable.Range(0, rows))
            foreach (var column in Enumerable.Range(0, columns)) likely[(row, column)] = (1 - foreground) / (rows * columns);
        var classes = Enumerable.Range(0, example.Labels.Length).Where(i => example.Labels[i] != 0)
            .GroupBy(i => example.Labels[i]).ToArray();
        foreach (var pixels in classes)
            foreach (var pixel in pixels)
            {
                var (y, x) = (pixel / example.Extents[1], pixel % example.Extents[1]);
                var holding =
                    likely.Keys.Where(at => at.Item1 <= y && y < at.Item1 + height && at.Item2 <= x && x < at.Item2 + width).ToArray();
                foreach (var at in holding) likely[at] += foreground / classes.Length / pixels.Count() / holding.Length;
            }
        return likely;
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.3)]
    [InlineData(1)]
    public void Patches_lie_everywhere_and_favour_every_class_alike(double foreground)
    {
        const int Draws = 4000;
        var labels = new ushort[7 * 9];
        (labels[8], labels[7 * 9 - 1]) = (1, 7);    // two pixels at corners, beside twenty pixels of class 3
        for (var i = 27; i < 47; i++) labels[i] = 3;
        var example = new Example("numbered", [.. Enumerable.Range(0, labels.Length).Select(i => (float)i)], labels, [7, 9]);
        var (random, drawn) = (new Random(1), new Dictionary<(int, int), int>());
        for (var i = 0; i < Draws; i++)
        {
            var patch = new Patches([3, 2]) { Foreground = foreground }.Take(example, random);
            var (row, column) = Math.DivRem((int)patch.Image[0], 9);
            Assert.Equal(example.Box([row, column], [3, 2]).Labels, patch.Labels);
            drawn[(row, column)] = drawn.GetValueOrDefault((row, column)) + 1;
        }
        var likely = Likely(example, 3, 2, foreground);
        Assert.Equal(1, likely.Values.Sum(), 1e-9);
        foreach (var (at, probability) in likely)
        {
            var deviation = Math.Sqrt(Draws * probability * (1 - probability));
            Assert.InRange(drawn.GetValueOrDefault(at), Draws * probability - 4.5 * deviation, Draws * probability + 4.5 * deviation);
        }
    }

    [Fact]
    public void Patches_of_volumes_hold_foreground_where_there_is_some()
    {
        var (ball, random) = (Ball(24, 32, 32), new Random(1));
        var patches = new Patches([8, 8, 8]) { Foreground = 1 };
        for (var i = 0; i < 300; i++) Assert.Contains((ushort)1, patches.Take(ball, random).Labels);
        var background = ball with { Labels = new ushort[ball.Labels.Length] };
        Assert.Equal([8, 8, 8], patches.Take(background, random).Extents);
        Assert.Equal([8, 8, 8], patches.Take(ball with { Labels = [1] }, random).Extents);    // one class for the whole example
        Assert.Equal([26, 25, 40], new Patches([26, 25, 40]).Take(ball, random).Extents);    // the example is padded where it is smaller
    }
}
