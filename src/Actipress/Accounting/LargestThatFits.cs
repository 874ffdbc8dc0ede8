namespace Actipress.Accounting;

/// <summary>
/// The search for the largest size whose predicted bytes are within a bound. Each prediction takes seconds, so that the next guess lies on
/// the straight line through the last two.
/// </summary>
/// <param name="taken">The predicted bytes of a size; they grow with the size, and are remembered.</param>
/// <param name="volume">What the bytes grow with in a straight line, such as the voxels of a cube; grows with the size.</param>
sealed class LargestThatFits(Func<long, long> taken, Func<long, double> volume)
{
    readonly Dictionary<long, long> known = [];

    /// <summary>The smallest size.</summary>
    public long Least { get; init; } = 1;

    /// <summary>The largest size.</summary>
    public long Most { get; init; } = int.MaxValue;

    /// <summary>The first two guesses.</summary>
    public (long First, long Second) Start { get; init; } = (1, 2);

    /// <summary>
    /// The share of a size within which two guesses are the same; 0 where the size behind the largest has to be predicted too.
    /// </summary>
    public double Alike { get; init; }

    /// <summary>How many times the volume of a size that fits a guess may have, since a prediction runs a part of the guess.</summary>
    public double Growth { get; init; } = double.PositiveInfinity;

    /// <summary>The predicted bytes of a size.</summary>
    public long Taken(long size)
    {
        if (!known.TryGetValue(size, out var bytes)) known.Add(size, bytes = taken(size));
        return bytes;
    }

    /// <summary>Returns the largest size that fits, or <see cref="Least"/> - 1 where none does.</summary>
    public long Within(long bytes)
    {
        var (fits, tooLarge) = (Least - 1, Most + 1);
        var (last, guess) = (Clamp(Start.First), 0L);
        Note(last);
        if (tooLarge - fits > 1) Note(guess = Clamp(Start.Second));
        while (tooLarge - fits > 1)
        {
            var onLine = OnLine(last, guess);
            if (Alike > 0 && onLine == guess) return guess;
            var next = Clamp(onLine);
            if (Math.Abs(next - guess) <= Alike * guess) return next;
            Note(next);
            (last, guess) = (guess, next);
        }
        return fits;

        long Clamp(long size) => Math.Clamp(size, fits + 1, tooLarge - 1);

        void Note(long size)
        {
            if (Taken(size) <= bytes) fits = Math.Max(fits, size);
            else tooLarge = Math.Min(tooLarge, size);
        }

        // The largest size whose volume is within that at which the line meets the bound.
        long OnLine(long first, long second)
        {
            var slope = (Taken(second) - Taken(first)) / (volume(second) - volume(first));
            var most = slope > 0 ? volume(second) + (bytes - Taken(second)) / slope : double.PositiveInfinity;
            if (fits >= Least) most = Math.Min(most, Growth * volume(fits));
            var (within, beyond) = (fits, tooLarge);
            while (beyond - within > 1)
            {
                var middle = within + (beyond - within) / 2;
                if (volume(middle) <= most) within = middle;
                else beyond = middle;
            }
            return within;
        }
    }
}
