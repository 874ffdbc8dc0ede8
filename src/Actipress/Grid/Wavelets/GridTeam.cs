using Actipress.Machine;

namespace Actipress.Grid.Wavelets;

/// <summary>
/// The wavelet transform of one large map at a time by several threads: level by level, each level in parts of some lines.
/// </summary>
sealed unsafe class GridTeam<TFace> : IDisposable where TFace : struct, IWaveletFace
{
    // The number of parts of a level for each thread. The inverse has one part for each thread, because lines at the boundary of two parts
    // are computed twice.
    const int PartsEach = 4;

    readonly GridWavelet wavelet;
    readonly GridUnit<TFace>[] units;

    /// <param name="wavelet">How maps divide.</param>
    /// <param name="threads">How many threads work on a map.</param>
    /// <param name="inPlace">Whether maps are read in place, so that there are no <see cref="Values"/>.</param>
    /// <param name="divides">Whether the team only divides, without an <see cref="Inverse"/>.</param>
    public GridTeam(GridWavelet wavelet, int threads, bool inPlace, bool divides)
    {
        this.wavelet = wavelet;
        // A single line is one part, and the scratch memory of a thread is as long as the line.
        units = new GridUnit<TFace>[GridUnit<TFace>.Lines(wavelet.Levels[0].Whole) == 1 ? 1 : threads];
        for (var i = 0; i < units.Length; i++) units[i] = new(wavelet, inPlace, divides, i == 0 ? null : units[0]);
    }

    public void Dispose()
    {
        foreach (var unit in units) unit.Dispose();
    }

    /// <summary>The map's coefficients, in whole tiles.</summary>
    public float* Coefficients => units[0].Coefficients;

    /// <summary>Room for the map's values.</summary>
    public float* Values => units[0].Values;

    /// <summary>Transforms the map to <see cref="Coefficients"/>.</summary>
    public void Forward(float* values)
    {
        for (var level = 0; level < wavelet.Levels.Length; level++)
        {
            var index = level;
            var x = units[0].Whole(level, values);
            InParts(units[0].HalfLines(level), PartsEach, (unit, start, end) => unit.DivideLines(index, x, start, end));
        }
        units[0].Fill(1);
    }

    /// <summary>The inverse.</summary>
    /// <param name="values">Where the map is written; null where only <paramref name="finish"/> receives its lines.</param>
    /// <param name="finish">Called by any thread with the number and the address of each complete line; it may change the line.</param>
    public void Inverse(float* values, Action<int, nint>? finish)
    {
        for (var level = wavelet.Levels.Length - 1; level >= 0; level--)
        {
            var index = level;
            var x = units[0].Whole(level, values);
            InParts(
                units[0].HalfLines(level), 1, (unit, start, end) => unit.CombineLines(index, start, end, x, index == 0 ? finish : null));
        }
    }

    void InParts(int lines, int each, Action<GridUnit<TFace>, int, int> work)
    {
        var parts = units.Length == 1 ? 1 : Math.Min(lines, each * units.Length);
        var next = -1;
        var shares = new CpuTeam.Shares(parts, units.Length);
        shares.Run(() =>
        {
            var unit = units[Interlocked.Increment(ref next)];
            foreach (var part in shares)
                work(unit, (int)((long)lines * part / parts), (int)((long)lines * (part + 1) / parts));
        });
    }
}
