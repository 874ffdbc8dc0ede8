namespace Actipress.Experiments;

/// <summary>A table or figure of the paper that can be made anew: it is run piece by piece into a results file, and shown from there.</summary>
public abstract class Reproduction
{
    /// <summary>All of them, in the order of a page.</summary>
    public static IReadOnlyList<Reproduction> All { get; } =
    [
        new TableReproduction("table2"), new TableReproduction("table3"), new FootprintReproduction(), new ImageReproduction(), .. SweepReproduction.Figures,
        new TimelineReproduction(), new TheoryReproduction(), new RobustnessReproduction(),
    ];

    /// <summary>As the command line has it.</summary>
    public abstract string Name { get; }

    /// <summary>What it shows, in a few words.</summary>
    public abstract string Meaning { get; }

    /// <summary>Its pieces, each with a key of its own, to be run in this order.</summary>
    public abstract IEnumerable<Piece> Pieces(Context context);

    /// <summary>Adds a section to the page.</summary>
    /// <param name="page">The page.</param>
    /// <param name="context">As for <see cref="Pieces"/>.</param>
    /// <param name="done">The pieces that are done, by key.</param>
    public abstract void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done);

    /// <summary>What a reproduction finds around it.</summary>
    /// <param name="DataFolder">Real data; null where there are none: what trains then does so on data that the program draws.</param>
    /// <param name="Experiments">The folder with the sweeps' experiments.</param>
    /// <param name="Device">Where those run that <see cref="RunsOnGpus"/>; the CPU where none is given.</param>
    public sealed record Context(string? DataFolder, string Experiments, torch.Device? Device = null);

    /// <summary>Says that there are no results, and what makes them.</summary>
    protected void NotRunYet(HtmlPage page, string what = "") => page.Paragraph($"{what}Not run yet: ./actipress reproduce {Name}");

    /// <summary>Whether it can be run on a GPU.</summary>
    public virtual bool RunsOnGpus => false;

    /// <summary>Something that is run at once.</summary>
    /// <param name="Key">Tells it from all others.</param>
    /// <param name="Run">Gives what is stored: an object that becomes JSON. Told how it goes, and when to end.</param>
    public sealed record Piece(string Key, Func<IProgress<string>, CancellationToken, object> Run);

    /// <summary>Runs what is not done yet.</summary>
    /// <param name="context">What its pieces are made of.</param>
    /// <param name="results">Gets a line for each piece; those that it has already are skipped.</param>
    /// <param name="progress">Told what is being done.</param>
    /// <param name="cancellation">Ends it after the step at hand; what was done is kept.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public virtual void Run(Context context, ResultsFile results, IProgress<string> progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(results);
        ArgumentNullException.ThrowIfNull(progress);
        if (context.Device is { type: not DeviceType.CPU } device && !RunsOnGpus) throw new ArgumentException($"{Name} is measured on the CPU only, not on {device}: leave --device out.");
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

    /// <summary>The page of some reproductions, from stored pieces.</summary>
    /// <param name="chosen">Which.</param>
    /// <param name="context">As for <see cref="Pieces"/>.</param>
    /// <param name="done">The pieces that are done, by key.</param>
    /// <param name="interrupted">Whether the run was ended before all of them were, which the page says.</param>
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
