using System.Collections.Frozen;
using System.Globalization;

namespace Actipress.Mutation;

/// <summary>The tests that reach each mutant, and the seconds of each test, from one run of the suite without an active mutant.</summary>
sealed class Reach
{
    /// <summary>A test method, with all rows of a theory together.</summary>
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

    /// <summary>
    /// The tests that may notice a mutant, the quickest first. For a mutant that runs once a process these are all tests of its file. Tests
    /// of the emulated GPU are included only where no other test reaches the mutant, because tests of the CPU must notice a fault of the
    /// CPU.
    /// </summary>
    public IReadOnlyList<Test> Of(Mutant mutant)
    {
        var tests = mutant.RunsOnce ? byFile.GetValueOrDefault(mutant.File) : byMutant.GetValueOrDefault(mutant.Id);
        var ofCpu = (tests ?? []).Where(test => !test.Method.StartsWith("Actipress.Tests.Gpu.", StringComparison.Ordinal)).ToList();
        return [.. (ofCpu.Count > 0 ? ofCpu : tests ?? []).OrderBy(test => test.Seconds)];
    }

    /// <summary>Runs the suite once, in two processes as ./dev test does, or the named classes, and reads its records.</summary>
    public static Reach Measure(MutatedTree tree, string folder, IReadOnlyList<Mutant> mutants, IReadOnlyList<string> classes)
    {
        var (lines, log) = (Path.Combine(folder, "tests.tsv"), Path.Combine(folder, "tests.log"));
        if (!File.Exists(log))
        {
            var processes = Processes(classes);
            var ended = new (string Records, string Output)[processes.Length];
            Parallel.For(0, processes.Length, index =>
            {
                var (reached, records) = (Path.Combine(folder, $"reached-{index}.bin"), Path.Combine(folder, $"tests-{index}.tsv"));
                File.WriteAllBytes(reached, new byte[mutants.Count]);
                File.Delete(records);
                var run = tree.Run(processes[index], TimeSpan.FromHours(3),
                    ("ACTIPRESS_MUTANTS_REACHED", reached), ("ACTIPRESS_MUTANTS_TESTS", records));
                if (!run.Output.Contains("TEST EXECUTION SUMMARY", StringComparison.Ordinal))
                    throw new InvalidOperationException($"The tests did not run to their end:\n{run.Output}");
                ended[index] = (File.ReadAllText(records), run.Output);
            });
            File.WriteAllText(lines, string.Concat(ended.Select(one => one.Records)));
            File.WriteAllText(log, string.Concat(ended.Select(one => one.Output)));
        }
        // A test that fails without a mutant tells nothing about a mutant.
        var failed = MutatedTree.Failed(File.ReadLines(log)).ToHashSet();
        var tests = File.ReadLines(lines).Select(line => line.Split('\t')).GroupBy(row => row[0]).Where(rows => !failed.Contains(rows.Key))
            .Select(rows => new Test(rows.Key, rows.Sum(row => Number(row[1])), rows.SelectMany(row => Ids(row[2])).ToFrozenSet()));
        return new(tests, mutants);

        static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
        static IEnumerable<int> Ids(string text) => text.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(id => (int)Number(id));
    }

    // The runner's options of each process. ./dev names the namespaces of the second process.
    static string[][] Processes(IReadOnlyList<string> classes)
    {
        if (classes.Count > 0) return [[.. classes.SelectMany(name => new[] { "-class", name })]];
        var second = Environment.GetEnvironmentVariable("ACTIPRESS_SECOND_PROCESS")?.Split(' ') ?? [];
        string[] Options(string option) => [.. second.SelectMany(name => new[] { option, $"Actipress.Tests.{name}" })];
        return second.Length == 0 ? [[]] : [Options("-namespace-"), Options("-namespace")];
    }

    static void Add<TKey>(Dictionary<TKey, List<Test>> lists, TKey key, Test test) where TKey : notnull
    {
        if (!lists.TryGetValue(key, out var list)) lists[key] = list = [];
        list.Add(test);
    }
}
