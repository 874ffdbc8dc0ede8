using System.Collections.Frozen;
using System.Globalization;

namespace Actipress.Mutation;

/// <summary>Which tests reach which mutants, and what each test takes: from one run of the suite that is mutated nowhere.</summary>
sealed class Reach
{
    /// <summary>A test method, all rows of a theory together.</summary>
    public sealed record Test(string Method, double Seconds, FrozenSet<int> Mutants);

    readonly Dictionary<int, List<Test>> byMutant = [];
    readonly Dictionary<string, List<Test>> byFile = [];

    Reach(IEnumerable<Test> tests, IReadOnlyList<Mutant> mutants)
    {
        foreach (var test in tests)
        {
            foreach (var mutant in test.Mutants) Add(byMutant, mutant, test);
            foreach (var file in test.Mutants.Select(mutant => mutants[mutant].File).Distinct()) Add(byFile, file, test);
        }
    }

    /// <summary>The tests that may notice a mutant, the quickest first. What runs once a process may be noticed by every test of its file.</summary>
    public IReadOnlyList<Test> Of(Mutant mutant) =>
        ((mutant.RunsOnce ? byFile.GetValueOrDefault(mutant.File) : byMutant.GetValueOrDefault(mutant.Id)) ?? []).OrderBy(test => test.Seconds).ToList();

    /// <summary>Runs the suite once, or the classes that are named, and reads what it recorded.</summary>
    public static Reach Measure(MutatedTree tree, string folder, IReadOnlyList<Mutant> mutants, IReadOnlyList<string> classes)
    {
        var (reached, lines) = (Path.Combine(folder, "reached.bin"), Path.Combine(folder, "tests.tsv"));
        var log = Path.Combine(folder, "tests.log");
        if (!File.Exists(log))
        {
            File.WriteAllBytes(reached, new byte[mutants.Count]);
            File.Delete(lines);
            var run = tree.Run([.. classes.SelectMany(name => new[] { "-class", name })], TimeSpan.FromHours(3), ("ACTIPRESS_MUTANTS_REACHED", reached), ("ACTIPRESS_MUTANTS_TESTS", lines));
            if (!run.Output.Contains("TEST EXECUTION SUMMARY", StringComparison.Ordinal)) throw new InvalidOperationException($"The tests did not run to their end:\n{run.Output}");
            File.WriteAllText(log, run.Output);
        }
        // A test that fails without any mutant says nothing about one.
        var failed = File.ReadLines(log).Where(line => line.Contains(" [FAIL]", StringComparison.Ordinal)).Select(line => line.Trim().Split('(', ' ')[0]).ToHashSet();
        var tests = File.ReadLines(lines).Select(line => line.Split('\t')).Where(parts => !failed.Contains(parts[0])).GroupBy(parts => parts[0])
            .Select(rows => new Test(rows.Key, rows.Sum(row => double.Parse(row[1], CultureInfo.InvariantCulture)),
                rows.SelectMany(row => row[2].Split(',', StringSplitOptions.RemoveEmptyEntries)).Select(id => int.Parse(id, CultureInfo.InvariantCulture)).ToFrozenSet()));
        return new(tests, mutants);
    }

    static void Add<TKey>(Dictionary<TKey, List<Test>> lists, TKey key, Test test) where TKey : notnull
    {
        if (!lists.TryGetValue(key, out var list)) lists[key] = list = [];
        list.Add(test);
    }
}
