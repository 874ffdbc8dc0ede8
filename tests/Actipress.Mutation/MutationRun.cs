using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Actipress.Mutation;

/// <summary>The mutants of some paths, the tests that reach them, and the outcomes. All files are in artifacts/mutation.</summary>
sealed class MutationRun
{
    /// <summary>The condition that the tests have to meet.</summary>
    public static string[] Folders { get; } =
    [
        "src/Actipress/Saving", "src/Actipress/Autograd", "src/Actipress/Encodings", "src/Actipress/Grid", "src/Actipress/Selection",
        "src/Actipress/Accounting",
        "src/Actipress.Data", "src/Actipress.Experiments",
    ];

    /// <summary>The mutants that a run tries.</summary>
    /// <param name="Sample">The number of mutants of each path; null for all.</param>
    /// <param name="Seed">The seed of the sample.</param>
    /// <param name="Survivors">Whether only the mutants are tried that survived their last run.</param>
    public sealed record Choice(int? Sample, int Seed, bool Survivors);

    readonly IReadOnlyList<string> paths;
    readonly string folder;
    readonly MutatedTree tree;
    readonly string state;
    readonly List<Mutant> mutants;
    readonly Reach reach;
    readonly Dictionary<string, string> equivalent;

    /// <summary>
    /// Builds the mutated tree and finds the tests that reach each mutant, where a source or test has changed since the last run.
    /// </summary>
    /// <param name="repository">The repository's root.</param>
    /// <param name="paths">The files and folders, from the root.</param>
    /// <param name="written">A list of written edits that replace the small edits; null for the small edits.</param>
    /// <param name="classes">The test classes; empty for all.</param>
    public MutationRun(string repository, IReadOnlyList<string> paths, string? written, IReadOnlyList<string> classes)
    {
        folder = Path.Combine(repository, "artifacts", "mutation");
        Directory.CreateDirectory(folder);
        var copy = Path.Combine(folder, "tree");
        var list = written is null ? null : new WrittenEdits(written, repository, copy);
        tree = new(repository, copy);
        this.paths = paths = list?.Folders ?? paths;
        equivalent = Equivalent.Read(repository);

        state = tree.Fingerprint();
        var (built, inserted) = (Path.Combine(folder, "built"), Path.Combine(folder, "mutants.json"));
        var now = string.Join('\n', [state, .. paths, $"{list}", .. classes]);
        if (!File.Exists(built) || File.ReadAllText(built) != now)
        {
            File.Delete(built);
            File.Delete(Path.Combine(folder, "tests.log"));
            Tell("Copying and building the sources.");
            tree.Copy();
            Tell("Putting the mutants into them, and building again.");
            var made = tree.Insert(list ?? (IEdits)new SmallEdits(), mutant => paths.Any(path => mutant.IsIn(path)));
            File.WriteAllText(inserted, JsonSerializer.Serialize(made));
            File.WriteAllText(built, now);
        }
        mutants = JsonSerializer.Deserialize<List<Mutant>>(File.ReadAllText(inserted))!;
        foreach (var edit in list?.NotIn(mutants) ?? []) Tell($"Not tried, for it is not there or does not compile: {edit}");
        Tell("Running the tests once, to see which of them reach which mutant.");
        reach = Reach.Measure(tree, folder, mutants, classes);
    }

    /// <summary>
    /// Tries the chosen mutants and writes their outcomes. Returns 0 where all died, and 1 where one survived. A mutant that was tried
    /// before with the same sources and tests is not tried again, so that a run that was stopped can continue.
    /// </summary>
    /// <param name="choice">The mutants to try.</param>
    /// <param name="limit">The seconds of tests for each mutant.</param>
    /// <param name="parallel">The number of mutants that are tried at the same time.</param>
    /// <param name="json">Whether the outcomes are printed as JSON in place of a table.</param>
    /// <param name="cancel">Ends the run early. Outcomes so far are kept.</param>
    public int Try(Choice choice, double limit, int parallel, bool json, CancellationToken cancel)
    {
        var (outcomes, chosen) = (Path.Combine(folder, "outcomes.jsonl"), Chosen(choice));
        var before = new Dictionary<string, Outcome>();
        foreach (var outcome in Earlier().Where(outcome => outcome.State == state)) before[outcome.Key] = outcome;
        var fresh = chosen.Where(mutant => !before.ContainsKey(mutant.Key)).ToList();
        var done = chosen.Except(fresh).Select(mutant => (Mutant: mutant, Outcome: before[mutant.Key])).ToList();
        Tell($"Trying {chosen.Count} of {mutants.Count} mutants; {done.Count} of them are done.");
        var gate = new Lock();
        try
        {
            Parallel.ForEach(fresh, new() { MaxDegreeOfParallelism = parallel, CancellationToken = cancel }, mutant =>
            {
                var outcome = Outcome.Of(state, mutant, reach, tree, limit);
                // Ctrl-C also ends the tests, which says nothing about the mutant.
                if (cancel.IsCancellationRequested) return;
                lock (gate)
                {
                    done.Add((mutant, outcome));
                    File.AppendAllText(outcomes, JsonSerializer.Serialize(outcome) + "\n");
                    Tell($"{done.Count}/{chosen.Count} {outcome.InWords}: {mutant}");
                }
            });
        }
        catch (OperationCanceledException) { Tell("Stopped; what was done is kept."); }

        var report = Report.Of(done, paths, equivalent, mutants);
        File.WriteAllText(Path.Combine(folder, "report.md"), report);
        Console.WriteLine(json ? string.Join('\n', done.Select(one => JsonSerializer.Serialize(one.Outcome))) : report);
        return done.TrueForAll(one => one.Outcome.Died) ? 0 : 1;
    }

    List<Mutant> Chosen(Choice choice)
    {
        IEnumerable<Mutant> candidates = mutants.Where(mutant => !equivalent.ContainsKey(mutant.Key));
        if (choice.Survivors)
        {
            var died = Earlier().GroupBy(outcome => outcome.Key).ToDictionary(group => group.Key, group => group.Last().Died);
            candidates = candidates.Where(mutant => died.TryGetValue(mutant.Key, out var ended) && !ended);
        }
        if (choice.Sample is not { } count) return [.. candidates];
        var drawn = candidates.OrderBy(mutant => Draw(mutant, choice.Seed), StringComparer.Ordinal).ToList();
        var sample = paths.SelectMany(path => drawn.Where(mutant => mutant.IsIn(path)).Take(count)).ToHashSet();
        return [.. drawn.Where(sample.Contains)];    // the order of the draw makes a run that is stopped a sample too
    }

    IEnumerable<Outcome> Earlier()
    {
        var file = Path.Combine(folder, "outcomes.jsonl");
        return File.Exists(file) ? File.ReadLines(file).Select(line => JsonSerializer.Deserialize<Outcome>(line)!) : [];
    }

    // The position of a mutant in the draw depends on the mutant alone, so that a sample does not change when other lines change.
    static string Draw(Mutant mutant, int seed) =>
        Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{seed}\t{mutant.Key}"))));

    static void Tell(string line) => Console.Error.WriteLine(line);
}
