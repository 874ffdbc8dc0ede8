namespace Actipress.Data;

/// <summary>Preprocessing of values, channel by channel; labels stay.</summary>
public static class Intensity
{
    /// <summary>Gives each channel mean 0 and standard deviation 1 (of the whole population). A constant channel becomes 0.</summary>
    /// <param name="example">The example to standardise.</param>
    /// <param name="amongNonZero">Whether only voxels other than 0 count and change: for stripped skulls, as in BRATS.</param>
    /// <exception cref="InvalidDataException">The image holds NaN or infinities.</exception>
    public static Example ZScore(this Example example, bool amongNonZero = false) => example.Each((channel, result) =>
    {
        var (count, sum, squares) = (0L, 0.0, 0.0);
        foreach (var value in channel)
            if (!amongNonZero || value != 0) (count, sum) = (count + 1, sum + value);
        var mean = sum / Math.Max(1, count);
        foreach (var value in channel)
            if (!amongNonZero || value != 0) squares += (value - mean) * (value - mean);
        var deviation = Math.Sqrt(squares / Math.Max(1, count));
        Finite(example, deviation);
        for (var i = 0; i < result.Length; i++)
            result[i] = deviation == 0 || amongNonZero && channel[i] == 0 ? 0 : (float)((channel[i] - mean) / deviation);
    });

    /// <summary>
    /// Scales each channel so that its smallest value becomes <paramref name="low"/> and its largest <paramref name="high"/>. A constant
    /// channel becomes low.
    /// </summary>
    /// <exception cref="InvalidDataException">The image holds NaN or infinities.</exception>
    public static Example Rescale(this Example example, float low = -1, float high = 1) => example.Each((channel, result) =>
    {
        var (least, most) = (float.PositiveInfinity, float.NegativeInfinity);
        foreach (var value in channel) (least, most) = (Math.Min(least, value), Math.Max(most, value));
        if (channel.Length > 0) Finite(example, (double)most - least);
        Line(channel, result, least, most, low, high);
    });

    /// <summary>Applies a window of CT: values are clamped to the window, and its ends become -1 and 1.</summary>
    /// <param name="example">The example to clamp.</param>
    /// <param name="from">The lower end in Hounsfield units, such as -160.</param>
    /// <param name="to">The upper end in Hounsfield units, such as 240; greater than <paramref name="from"/>.</param>
    /// <exception cref="InvalidDataException">The image holds NaN.</exception>
    public static Example Window(this Example example, float from, float to)
    {
        if (!(from < to))
            throw new ArgumentOutOfRangeException(nameof(to), $"The window is {from} to {to}: wanted the second to be the greater.");
        return example.Each((channel, result) =>
        {
            for (var i = 0; i < result.Length; i++) result[i] = Math.Clamp(channel[i], from, to);
            foreach (var value in result)
                if (float.IsNaN(value)) Finite(example, value);
            Line(result, result, from, to, -1, 1);
        });
    }

    static void Line(ReadOnlySpan<float> channel, Span<float> result, float least, float most, float low, float high)
    {
        for (var i = 0; i < result.Length; i++)
            result[i] = most > least ? (float)(low + ((double)channel[i] - least) / ((double)most - least) * ((double)high - low)) : low;
    }

    static void Finite(Example example, double value)
    {
        if (!double.IsFinite(value))
            throw new InvalidDataException($"The image of {example.Case} holds NaN or infinities: wanted numbers. Mend the file, or take "
                + "the case out.");
    }

    delegate void OfChannel(ReadOnlySpan<float> channel, Span<float> result);

    static Example Each(this Example example, OfChannel change)
    {
        ArgumentNullException.ThrowIfNull(example);
        var image = new float[example.Image.Length];
        for (var channel = 0; channel < example.Channels; channel++)
            change(example.Channel(channel), image.AsSpan(channel * example.Elements, example.Elements));
        return example with { Image = image };
    }
}
