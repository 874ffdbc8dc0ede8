namespace Actipress.Experiments;

/// <summary>
/// A table or figure of the paper that can be reproduced. It is run piece by piece into a results file, and shown from there.
/// </summary>
public abstract class Reproduction
{
    /// <summary>All reproductions, in the order of a page.</summary>
    public static IReadOnlyList<Reproduction> All { get; } =
    [
        new TableReproduction("table2"), new TableReproduction("table3"), new FootprintReproduction(), new ImageReproduction(),
        .. SweepReproduction.Figures, new TimelineReproduction(), new TheoryReproduction(), new RobustnessReproduction(),
    ];

    /// <summary>The name on the command line.</summary>
    public abstract string Name { get; }

    /// <summary>A short description.</summary>
    public abstract string Meaning { get; }

    /// <summary>The pieces, each with a key of its own, in the order of running.</summary>
    public abstract IEnumerable<Piece> Pieces(Context context);

    /// <summary>Adds a section to the page.</summary>
    /// <param name="page">The page.</param>
    /// <param name="context">The context, as for <see cref="Pieces"/>.</param>
    /// <param name="done">The finished pieces, by key.</param>
    public abstract void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done);

    /// <summary>The surroundings of a reproduction.</summary>
    /// <param name="DataFolder">The folder of real data; null where there is none, and trainings use generated data.</param>
    /// <param name="Experiments">The folder with the sweeps' experiments.</param>
    /// <param name="Device">The device of reproductions with <see cref="RunsOnGpus"/>; by default the CPU.</param>
    public sealed record Context(string? DataFolder, string Experiments, torch.Device? Device = null);

    /// <summary>A sentence that says that there are no results, and which command makes them.</summary>
    protected void NotRunYet(HtmlPage page, string what = "") => page.Paragraph($"{what}Not run yet: ./actipress reproduce {Name}");

    /// <summary>Whether the reproduction can run on a GPU.</summary>
    public virtual bool RunsOnGpus => false;

    /// <summary>A part of a reproduction that is run as a whole.</summary>
    /// <param name="Key">The key of the piece.</param>
    /// <param name="Run">Returns the stored object, which becomes JSON. It receives a callback for progress, and a cancellation.</param>
    public sealed record Piece(string Key, Func<IProgress<string>, CancellationToken, object> Run);

    /// <summary>Runs the remaining pieces.</summary>
    /// <param name="context">The context of the pieces.</param>
    /// <param name="results">Receives a line for each piece; pieces that it has already are skipped.</param>
    /// <param name="progress">Called with a description of the current work.</param>
    /// <param name="cancellation">Ends the run after the current step; finished pieces are kept.</param>
    /// <exception cref="OperationCanceledException">The run was cancelled.</exception>
    public virtual void Run(Context context, ResultsFile results, IProgress<string> progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(results);
        ArgumentNullException.ThrowIfNull(progress);
        if (context.Device is { type: not DeviceType.CPU } device && !RunsOnGpus)
            throw new ArgumentException($"{Name} is measured on the CPU only, not on {device}: leave --device out.");
        var done = StoredPiece.Read(results);
        var pieces = Pieces(context).ToArray();
        foreach (var (index, piece) in pieces.Index())
        {
            if (done.ContainsKey(piece.Key)) continue;
            cancellation.ThrowIfCancellationRequested();
            progress.Report($"{Name}, {index + 1} of {pieces.Length}: {piece.Key}");
            var result = piece.Run(new Prefixed(progress, piece.Key), cancellation);
            StoredPiece.Add(results, piece.Key, result, context.Device);
        }
    }

    sealed class Prefixed(IProgress<string> progress, string key) : IProgress<string>
    {
        public void Report(string value) => progress.Report($"{key}: {value}");
    }

    /// <summary>Makes the page of some reproductions, from stored pieces.</summary>
    /// <param name="chosen">The reproductions.</param>
    /// <param name="context">The context, as for <see cref="Pieces"/>.</param>
    /// <param name="done">The finished pieces, by key.</param>
    /// <param name="interrupted">Whether the run was ended before all pieces were done, which the page says.</param>
    public static HtmlPage Page(
        IEnumerable<Reproduction> chosen, Context context, IReadOnlyDictionary<string, StoredPiece> done, bool interrupted = false)
    {
        ArgumentNullException.ThrowIfNull(chosen);
        ArgumentNullException.ThrowIfNull(done);
        var page = new HtmlPage("Actipress: the paper's tables and figures, made anew");
        ReportSummary.Show(page, context, done);
        page.Paragraph("Paper: Vu, Garpebring, Nyholm and Löfstedt, Compressing the Activation Maps in Deep Neural Networks and Its "
            + "Regularizing Effect, TMLR 03/2024. What is not marked as the paper's was measured or computed by this program.");
        if (interrupted) page.Paragraph("The run was interrupted: what follows is not all of it. The same command goes on from there.");
        foreach (var one in chosen) one.Show(page, context, done);
        if (done.Count == 0) return page;
        page.Section("Where this was measured");
        foreach (var machine in done.Values.GroupBy(piece => piece.Machine).OrderByDescending(pieces => pieces.Count()))
            page.Paragraph($"{machine.Key}: {machine.Count()} {(machine.Count() == 1 ? "piece" : "pieces")}.");
        return page;
    }
}
