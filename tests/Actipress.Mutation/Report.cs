using System.Globalization;
using System.Text;

namespace Actipress.Mutation;

/// <summary>The mutants that cannot be noticed, because the program behaves the same with them, each with its reason.</summary>
static class Equivalent
{
    /// <summary>
    /// Reads tests/Actipress.Mutation/equivalent.tsv, whose columns are file, line of code, place in it, before, after and reason.
    /// </summary>
    public static Dictionary<string, string> Read(string repository) =>
        File.ReadLines(Path.Combine(repository, "tests", "Actipress.Mutation", "equivalent.tsv"))
            .Where(line => line.Length > 0 && line[0] != '#').Select(line => line.Split('\t'))
            .ToDictionary(parts => string.Join('\t', parts[..5]), parts => parts[5]);
}

static class Report
{
    /// <summary>Writes a table by folder, the survivors, and the equivalent mutants that were left out.</summary>
    public static string Of(IReadOnlyList<(Mutant Mutant, Outcome Outcome)> done, IReadOnlyList<string> folders,
        Dictionary<string, string> equivalent, IReadOnlyList<Mutant> mutants)
    {
        var text = new StringBuilder("| folder | mutants | died | of them noticed |\n|---|---|---|---|\n");
        foreach (var folder in folders) Line(folder, [.. done.Where(one => one.Mutant.File.StartsWith(folder, StringComparison.Ordinal))]);
        if (folders.Count > 1) Line("all", done);

        var survivors = done.Where(one => !one.Outcome.Died).OrderBy(one => one.Mutant.Id).ToList();
        if (survivors.Count > 0) text.Append("\nSurvivors:\n\n");
        foreach (var (mutant, outcome) in survivors)
        {
            var by = outcome.Reaching == 0 ? "no test reaches it" : $"{outcome.Tests} of {outcome.Reaching} tests that reach it";
            text.Append(CultureInfo.InvariantCulture, $"- {mutant} ({by})\n");
        }

        var left = mutants.Where(mutant => equivalent.ContainsKey(mutant.Key)).ToList();
        if (left.Count > 0) text.Append("\nLeft out, for the program does the same with them:\n\n");
        foreach (var mutant in left) text.Append(CultureInfo.InvariantCulture, $"- {mutant}: {equivalent[mutant.Key]}\n");
        return text.ToString();

        void Line(string name, IReadOnlyList<(Mutant Mutant, Outcome Outcome)> some)
        {
            if (some.Count == 0) return;
            var died = some.Count(one => one.Outcome.Died);
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {some.Count} | {died} | {100.0 * died / some.Count:0.0} % |\n");
        }
    }
}
