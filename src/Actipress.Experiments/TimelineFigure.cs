using ScottPlot;

namespace Actipress.Experiments;

/// <summary>The paper's Figure 9: the allocator's level through the forward and the backward pass.</summary>
public static class TimelineFigure
{
    /// <summary>A curve.</summary>
    /// <param name="Name">The name in the legend.</param>
    /// <param name="Levels">The levels of one step.</param>
    public sealed record Curve(string Name, IReadOnlyList<MemoryLevel> Levels)
    {
        /// <summary>The timeline of the step; null where the levels were stored.</summary>
        [System.Text.Json.Serialization.JsonIgnore]
        public MemoryTimeline? Timeline { get; init; }
    }

    /// <summary>Draws curves over one step, each scaled so that the forward pass ends in the middle.</summary>
    /// <param name="title">The title above the figure.</param>
    /// <param name="curves">The curves: at least one.</param>
    public static Plot Draw(string title, IReadOnlyList<Curve> curves)
    {
        ArgumentNullException.ThrowIfNull(curves);
        var plot = new Plot();
        plot.Title(title);
        plot.YLabel("MiB above the level before the step");
        foreach (var curve in curves)
        {
            var backward =
                curve.Levels.Select(level => level.Stage.StartsWith("forward", StringComparison.Ordinal)).ToList().LastIndexOf(true) + 1;
            var line = plot.Add.ScatterLine(
                curve.Levels.Select((_, index) => At(index, backward, curve.Levels.Count)).ToArray(),
                curve.Levels.Select(level => Sizes.MiB(level.Bytes)).ToArray());
            line.LegendText = curve.Name;
        }
        plot.Add.VerticalLine(1, color: Colors.Gray);
        plot.Axes.Bottom.SetTicks([0, 1, 2], ["forward", "backward", "end"]);
        plot.Axes.SetLimitsX(0, 2);
        plot.ShowLegend(Alignment.LowerCenter);
        return plot;
    }

    // Positions from 0 to 1 are the forward pass, and positions from 1 to 2 the backward pass.
    internal static double At(int index, int backward, int count) =>
        index < backward ? (double)index / backward : 1 + (double)(index - backward) / Math.Max(1, count - backward);

    /// <summary>Writes a figure to a file.</summary>
    /// <param name="plot">The figure.</param>
    /// <param name="file">The file, whose extension gives the format: .svg or .png.</param>
    /// <exception cref="ArgumentException">The extension is another.</exception>
    public static void Save(this Plot plot, string file)
    {
        ArgumentNullException.ThrowIfNull(plot);
        switch (Path.GetExtension(file))
        {
            case ".svg": plot.SaveSvg(file, 900, 520); break;
            case ".png": plot.SavePng(file, 900, 520); break;
            case var other: throw new ArgumentException($"{file}: a figure is written as .svg or .png, not as '{other}'.");
        }
    }
}
