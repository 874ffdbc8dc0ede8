namespace Actipress.Data;

/// <summary>
/// Draws digits of 28 x 28: strokes of random width under a random affine map, with noise. They need no file, and are the same for the same
/// seed on every machine.
/// </summary>
public static class GeneratedDigits
{
    const int Edge = 28;

    // The strokes of each digit in a unit square, x to the right and y down. Each stroke is a line through its points.
    static readonly (double X, double Y)[][][] digits =
    [
        [Arc(0.5, 0.5, 0.28, 0.4, 0, 360)],
        [[(0.32, 0.28), (0.52, 0.1), (0.52, 0.9)]],
        [[.. Arc(0.5, 0.32, 0.26, 0.22, 180, 400), (0.24, 0.9), (0.78, 0.9)]],
        [[.. Arc(0.48, 0.3, 0.24, 0.2, 200, 450), .. Arc(0.48, 0.7, 0.28, 0.2, 270, 510)]],
        [[(0.62, 0.9), (0.62, 0.1), (0.22, 0.62), (0.8, 0.62)]],
        [[(0.74, 0.1), (0.34, 0.1), (0.3, 0.46), .. Arc(0.48, 0.66, 0.27, 0.24, 230, 500)]],
        [[(0.64, 0.1), (0.36, 0.4), .. Arc(0.5, 0.67, 0.25, 0.23, 200, 560)]],
        [[(0.22, 0.1), (0.78, 0.1), (0.42, 0.9)], [(0.38, 0.5), (0.72, 0.5)]],
        [Arc(0.5, 0.29, 0.21, 0.19, 0, 360), Arc(0.5, 0.69, 0.26, 0.21, 0, 360)],
        [[.. Arc(0.5, 0.33, 0.24, 0.23, 0, 360), (0.72, 0.4), (0.6, 0.9)]],
    ];

    static (double X, double Y)[] Arc(double x, double y, double width, double height, int from, int to) =>
        [.. Enumerable.Range(0, 17).Select(i => (from + (to - from) * i / 16.0) * Math.PI / 180)
            .Select(angle => (x + width * Math.Cos(angle), y + height * Math.Sin(angle)))];

    /// <summary>Draws a set for training and one for testing, of equally many of each digit, in random order.</summary>
    public static ImageClasses Make(int train = 8000, int test = 2000, int seed = 1)
    {
        return new("generated digits", Set(train, 2 * seed), Set(test, 2 * seed + 1));

        static LabelledImages Set(int count, int seed)
        {
            var (pixels, labels) = (new byte[count * Edge * Edge], new byte[count]);
            Parallel.For(0, count, i =>
            {
                var random = new Random(unchecked(seed * 1_000_003 + i));
                labels[i] = (byte)random.Next(10);
                Draw(digits[labels[i]], random, pixels.AsSpan(i * Edge * Edge, Edge * Edge));
            });
            return new(pixels, labels, Edge, Edge) { Name = "generated digits", Classes = 10 };
        }
    }

    /// <summary>Draws digits of 32 x 32 in three colours; each digit and each background has a colour of its own.</summary>
    public static ImageClasses InColour(int train = 4000, int test = 1000, int seed = 1)
    {
        var grey = Make(train, test, seed);
        return new("generated digits in colour", Set(grey.Train, 2 * seed), Set(grey.Test, 2 * seed + 1));

        static LabelledImages Set(LabelledImages grey, int seed)
        {
            const int Wide = 32, Margin = (Wide - Edge) / 2;
            var pixels = new byte[grey.Count * 3 * Wide * Wide];
            Parallel.For(0, grey.Count, i =>
            {
                var random = new Random(Mixed(unchecked(seed * 2_000_003 + i)));
                for (var channel = 0; channel < 3; channel++)
                {
                    var (ground, slope, ink) =
                        (20 + 120 * random.NextDouble(), 3 * (random.NextDouble() - 0.5), 0.4 + 0.4 * random.NextDouble());
                    for (var row = 0; row < Wide; row++)
                        for (var column = 0; column < Wide; column++)
                        {
                            var (y, x) = (row - Margin, column - Margin);
                            var drawn = y is >= 0 and < Edge && x is >= 0 and < Edge ? grey.Pixels[(i * Edge + y) * Edge + x] : 0;
                            pixels[((i * 3 + channel) * Wide + row) * Wide + column] =
                                (byte)Math.Clamp(ground + slope * (row - column) + ink * drawn, 0, 255);
                        }
                }
            });
            return new(pixels, grey.Labels, Wide, Wide, Channels: 3) { Name = "generated digits in colour", Classes = 10 };
        }
    }

    // The first number of a Random is nearly linear in its seed. The digit is such a number too, so that the background colour would reveal
    // the digit. The last step of MurmurHash3 removes the relation.
    static int Mixed(int seed)
    {
        unchecked
        {
            var mixed = (uint)seed;
            mixed = (mixed ^ (mixed >> 16)) * 0x85ebca6b;
            mixed = (mixed ^ (mixed >> 13)) * 0xc2b2ae35;
            return (int)(mixed ^ (mixed >> 16));
        }
    }

    static void Draw((double X, double Y)[][] strokes, Random random, Span<byte> image)
    {
        double Between(double low, double high) => low + (high - low) * random.NextDouble();
        var (turn, lean, wide, high) = (Between(-0.35, 0.35), Between(-0.3, 0.3), Between(14, 22), Between(15, 22));
        var (right, down, pen, ink, noise) = (Between(-3, 3), Between(-3, 3), Between(0.7, 1.9), Between(0.55, 1), Between(0.02, 0.18));
        var (cos, sin) = (Math.Cos(turn), Math.Sin(turn));
        var drawn = strokes.Select(stroke => stroke.Select(point =>
        {
            var (x, y) =
                ((point.X - 0.5 + lean * (0.5 - point.Y)) * wide + Between(-0.5, 0.5), (point.Y - 0.5) * high + Between(-0.5, 0.5));
            return (X: Edge / 2.0 + right + cos * x - sin * y, Y: Edge / 2.0 + down + sin * x + cos * y);
        }).ToArray()).ToArray();
        Span<double> distances = stackalloc double[Edge * Edge];    // squared, to the nearest line whose pen may reach the pixel
        distances.Fill(double.MaxValue);
        var reach = pen + 0.5;
        foreach (var stroke in drawn)
            for (var i = 1; i < stroke.Length; i++)
            {
                var (a, b) = (stroke[i - 1], stroke[i]);
                var ((top, bottom), (left, end)) = (Reached(a.Y, b.Y), Reached(a.X, b.X));
                for (var row = top; row < bottom; row++)
                    for (var column = left; column < end; column++)
                    {
                        ref var nearest = ref distances[row * Edge + column];
                        nearest = Math.Min(nearest, SquaredDistance(column + 0.5, row + 0.5, a, b));
                    }
            }
        for (var pixel = 0; pixel < image.Length; pixel++)
        {
            var value = ink * Math.Clamp(reach - Math.Sqrt(distances[pixel]), 0, 1) + noise * (random.NextDouble() - 0.5);
            image[pixel] = (byte)Math.Clamp(Math.Round(255 * value), 0, 255);
        }

        // The rows or columns of a line's pixels.
        (int From, int To) Reached(double a, double b) => (
            Math.Clamp((int)Math.Floor(Math.Min(a, b) - reach), 0, Edge), Math.Clamp((int)Math.Ceiling(Math.Max(a, b) + reach), 0, Edge));
    }

    static double SquaredDistance(double x, double y, (double X, double Y) a, (double X, double Y) b)
    {
        var (dx, dy) = (b.X - a.X, b.Y - a.Y);
        var squared = dx * dx + dy * dy;
        var along = squared == 0 ? 0 : Math.Clamp(((x - a.X) * dx + (y - a.Y) * dy) / squared, 0, 1);
        var (right, down) = (x - a.X - along * dx, y - a.Y - along * dy);
        return right * right + down * down;
    }
}
