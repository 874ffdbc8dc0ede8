namespace Actipress.Transforms;

/// <summary>
/// The discrete wavelet transform of Mallat, separable over the spatial axes, periodic, in several levels (paper, Section 3.1.1,
/// equations 2 to 8). On an even axis a[o] = sum_j low[j] x[(F/2 + 2 o - j) mod n], and d[o] is the same sum with the high-pass filter.
/// </summary>
/// <remarks>
/// The transform equals PyWavelets' <c>wavedecn(mode="periodization")</c>. An odd axis is made even by repeating its last element, so a map
/// may have slightly more coefficients than elements, and the inverse is exact at any size. An axis of one element is not divided. The
/// coarsest low band comes first, then the detail bands from coarse to fine. The bands of a level are in the order of their names (one
/// letter an axis, a for low and d for high: ad, da, dd). Each band holds all maps one after the other, row-major.
/// </remarks>
sealed partial record Wavelet : Transform
{
    readonly double[] low, high;

    internal ReadOnlySpan<double> Low => low;
    internal ReadOnlySpan<double> High => high;

    /// <summary>The wavelet, such as <c>haar</c>, <c>db3</c>, <c>sym4</c> or <c>coif2</c>.</summary>
    public string Family { get; }

    /// <summary>The number of levels: the low band is divided 1 to 5 times.</summary>
    public int Levels { get; }

    /// <summary>The known families: haar, db2 to db8, sym2 to sym8, coif1 to coif5.</summary>
    public static IReadOnlyCollection<string> Families => [.. WaveletFilters.LowPass.Keys];

    /// <param name="family">One of <see cref="Families"/>.</param>
    /// <param name="levels">1 to 5; the paper uses 3.</param>
    /// <exception cref="ArgumentException">An unknown family.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Levels out of range.</exception>
    public Wavelet(string family, int levels = 3)
    {
        ArgumentNullException.ThrowIfNull(family);
        if (!WaveletFilters.LowPass.TryGetValue(family, out var filter))
            throw new ArgumentException($"No wavelet '{family}'. Known: {string.Join(", ", Families)}.", nameof(family));
        if (levels is < 1 or > 5)
            throw new ArgumentOutOfRangeException(nameof(levels), $"No wavelet transform in {levels} levels: wanted 1 to 5.");
        (Family, Levels, low) = (family, levels, filter);
        high = [.. filter.Select((_, j) => (j % 2 == 0 ? -1 : 1) * filter[^(j + 1)])];
    }

    /// <inheritdoc/>
    public override string Name => $"wt:{Family}";

    /// <summary>Equal by family and levels.</summary>
    public bool Equals(Wavelet? other) => other is not null && Family == other.Family && Levels == other.Levels;

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Family, Levels);

    /// <inheritdoc/>
    public override long Coefficients(MapShape shape) => shape.Maps * Bands(shape).Sum(band => band.Elements);

    /// <inheritdoc/>
    public override void Forward(ReadOnlySpan<float> map, MapShape shape, Span<float> coefficients)
    {
        var bands = Bands(shape);
        var sizes = Sizes(shape);
        for (var m = 0; m < shape.Maps; m++)
        {
            var rest = Array.ConvertAll(map.Slice(checked((int)(m * shape.MapElements)), (int)shape.MapElements).ToArray(), x => (double)x);
            for (var level = 1; level < sizes.Count; level++)
            {
                var (whole, even) = (rest, sizes[level - 1]);
                foreach (var axis in even.DividedAxes) (whole, even) = Analyse(whole, even, axis);
                foreach (var band in bands.Where(band => band.Level == level && !band.IsLow))
                    Store(Take(whole, even, band), band, m, coefficients);
                rest = Take(whole, even, new Band(level, 0, sizes[level], 0));
            }
            Store(rest, bands[0], m, coefficients);
        }

        void Store(double[] values, Band band, long m, Span<float> coefficients)
        {
            for (var i = 0; i < values.Length; i++)
                coefficients[checked((int)(band.Start * shape.Maps + m * band.Elements + i))] = (float)values[i];
        }
    }

    /// <inheritdoc/>
    public override void Inverse(ReadOnlySpan<float> coefficients, MapShape shape, Span<float> map)
    {
        var bands = Bands(shape);
        var sizes = Sizes(shape);
        for (var m = 0; m < shape.Maps; m++)
        {
            var rest = Load(bands[0], m, coefficients);
            for (var level = sizes.Count - 1; level >= 1; level--)
            {
                var extents = sizes[level - 1];
                var even = extents.Even;
                var whole = new double[even.Elements];
                Put(rest, whole, even, new Band(level, 0, sizes[level], 0));
                foreach (var band in bands.Where(band => band.Level == level && !band.IsLow))
                    Put(Load(band, m, coefficients), whole, even, band);
                foreach (var axis in extents.DividedAxes.Reverse()) whole = Synthesise(whole, even, axis);
                rest = Cropped(whole, even, extents);
            }
            for (var i = 0; i < rest.Length; i++) map[checked((int)(m * shape.MapElements + i))] = (float)rest[i];
        }

        double[] Load(Band band, long m, ReadOnlySpan<float> coefficients)
        {
            var values = new double[band.Elements];
            for (var i = 0; i < values.Length; i++)
                values[i] = coefficients[checked((int)(band.Start * shape.Maps + m * band.Elements + i))];
            return values;
        }
    }

    // The spatial extents at one level, and those of its bands.
    internal readonly record struct Extents(int Depth, int Height, int Width)
    {
        public int Elements => Depth * Height * Width;
        public int this[int axis] => axis switch { 0 => Depth, 1 => Height, _ => Width };
        public Extents With(int axis, int extent) =>
            axis switch { 0 => this with { Depth = extent }, 1 => this with { Height = extent }, _ => this with { Width = extent } };
        public int[] DividedAxes { get { var own = this; return [.. Enumerable.Range(0, 3).Where(axis => own[axis] > 1)]; } }
        public Extents Even => new(Evened(Depth), Evened(Height), Evened(Width));
        public Extents Half => new((Depth + 1) / 2, (Height + 1) / 2, (Width + 1) / 2);
        public int Stride(int axis) => axis switch { 0 => Height * Width, 1 => Width, _ => 1 };
        static int Evened(int extent) => extent == 1 ? 1 : (extent + 1) / 2 * 2;
    }

    /// <param name="Level">1 is the finest.</param>
    /// <param name="HighAxes">Bit a is set where the band is the high-pass half of axis a.</param>
    /// <param name="Extents">The extents of the band for one map.</param>
    /// <param name="Start">The offset of the band among the coefficients of one map.</param>
    internal readonly record struct Band(int Level, int HighAxes, Extents Extents, long Start)
    {
        public bool IsLow => HighAxes == 0;
        public long Elements => Extents.Elements;
    }

    // The extents of the low band after each level; the first are the map's own.
    internal List<Extents> Sizes(MapShape shape)
    {
        List<Extents> sizes = [new(shape.Depth, shape.Height, shape.Width)];
        while (sizes.Count <= Levels && sizes[^1].Elements > 1) sizes.Add(sizes[^1].Half);
        return sizes;
    }

    internal List<Band> Bands(MapShape shape)
    {
        var sizes = Sizes(shape);
        List<Band> bands = [new(sizes.Count - 1, 0, sizes[^1], 0)];
        var start = bands[0].Elements;
        for (var level = sizes.Count - 1; level >= 1; level--)
        {
            var divided = sizes[level - 1].DividedAxes;
            // The alphabetical order of names is the order of binary numbers whose highest digit is the first axis.
            for (var name = 1; name < 1 << divided.Length; name++)
            {
                var highAxes = 0;
                for (var digit = 0; digit < divided.Length; digit++)
                    if ((name >> (divided.Length - 1 - digit) & 1) != 0) highAxes |= 1 << divided[digit];
                bands.Add(new Band(level, highAxes, sizes[level], start));
                start += bands[^1].Elements;
            }
        }
        return bands;
    }

    // Divides one axis. Its first half becomes the low-pass coefficients, and its second half the high-pass coefficients.
    (double[] Values, Extents Extents) Analyse(double[] values, Extents extents, int axis)
    {
        var (length, half) = (extents[axis], (extents[axis] + 1) / 2);
        var result = extents.With(axis, 2 * half);
        var divided = new double[result.Elements];
        foreach (var (from, to) in Lines(extents, result, axis))
            for (var o = 0; o < half; o++)
            {
                double a = 0, d = 0;
                for (var j = 0; j < low.Length; j++)
                {
                    var i = Math.Min(Modulo(low.Length / 2 + 2 * o - j, 2 * half), length - 1);
                    var x = values[from + i * extents.Stride(axis)];
                    a += low[j] * x;
                    d += high[j] * x;
                }
                divided[to + o * result.Stride(axis)] = a;
                divided[to + (half + o) * result.Stride(axis)] = d;
            }
        return (divided, result);
    }

    // The transform of an even axis is orthonormal, so its transpose is its inverse.
    double[] Synthesise(double[] values, Extents extents, int axis)
    {
        var half = extents[axis] / 2;
        var stride = extents.Stride(axis);
        var whole = new double[values.Length];
        foreach (var (start, _) in Lines(extents, extents, axis))
            for (var o = 0; o < half; o++)
                for (var j = 0; j < low.Length; j++)
                    whole[start + Modulo(low.Length / 2 + 2 * o - j, 2 * half) * stride] +=
                        low[j] * values[start + o * stride] + high[j] * values[start + (half + o) * stride];
        return whole;
    }

    static IEnumerable<(int From, int To)> Lines(Extents from, Extents to, int axis)
    {
        var across = from.With(axis, 1);
        for (var d = 0; d < across.Depth; d++)
            for (var h = 0; h < across.Height; h++)
                for (var w = 0; w < across.Width; w++)
                    yield return (d * from.Stride(0) + h * from.Stride(1) + w, d * to.Stride(0) + h * to.Stride(1) + w);
    }

    static int Modulo(int i, int n) => (i % n + n) % n;

    static double[] Take(double[] whole, Extents even, Band band)
    {
        var values = new double[band.Elements];
        var i = 0;
        foreach (var place in Places(even, band)) values[i++] = whole[place];
        return values;
    }

    static void Put(double[] values, double[] whole, Extents even, Band band)
    {
        var i = 0;
        foreach (var place in Places(even, band)) whole[place] = values[i++];
    }

    static IEnumerable<int> Places(Extents even, Band band)
    {
        int Start(int axis) => (band.HighAxes >> axis & 1) != 0 ? even[axis] / 2 : 0;
        for (var d = 0; d < band.Extents.Depth; d++)
            for (var h = 0; h < band.Extents.Height; h++)
                for (var w = 0; w < band.Extents.Width; w++)
                    yield return ((Start(0) + d) * even.Height + Start(1) + h) * even.Width + Start(2) + w;
    }

    static double[] Cropped(double[] whole, Extents even, Extents extents)
    {
        if (even == extents) return whole;
        return Take(whole, even, new Band(0, 0, extents, 0));
    }
}
