using System.Collections.Concurrent;
using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Actipress.Mutation;

string[] folders = ["src/Actipress/Policy", "src/Actipress/Autograd", "src/Actipress/Encodings", "src/Actipress/Selection", "src/Actipress/Memory", "src/Actipress.Data", "src/Actipress.Experiments"];

var files = new Argument<string[]>("files") { Description = "Files or folders of src/ to mutate; without any, the seven folders that the tests have to hold.", Arity = ArgumentArity.ZeroOrMore };
var sample = new Option<int?>("--sample") { Description = "So many mutants of each folder, drawn by the seed; the same ones again after an edit elsewhere." };
var seed = new Option<int>("--seed") { Description = "Which sample.", DefaultValueFactory = _ => 1 };
var limit = new Option<double>("--limit") { Description = "Seconds of tests a mutant, the quickest first.", DefaultValueFactory = _ => 60 };
var parallel = new Option<int>("--parallel") { Description = "Mutants at a time.", DefaultValueFactory = _ => Environment.ProcessorCount };
var classes = new Option<string[]>("--class") { Description = "Only these test classes, such as '*TopKTests'; without any, all of the CPU's." };
var survivors = new Option<bool>("--survivors") { Description = "Only those that survived before." };
var root = new RootCommand("Makes small wrong edits in the sources, one at a time, and says which of them no test notices. Examples:\n"
    + "  ./dev mutate src/Actipress/Selection --class '*Laws'\n  ./dev mutate --sample 100\n  ./dev mutate --survivors")
{
    files, sample, seed, limit, parallel, classes, survivors,
};
root.SetAction((arguments, cancel) => Task.FromResult(Mutate(arguments, cancel)));
return await root.Parse(args).InvokeAsync();

int Mutate(ParseResult arguments, CancellationToken cancel)
{
    var repository = Environment.CurrentDirectory;
    var folder = Path.Combine(repository, "artifacts", "mutation");
    var chosen = (arguments.GetValue(files) is { Length: > 0 } given ? given : folders).Select(path => Path.GetRelativePath(repository, Path.GetFullPath(path))).ToList();
    foreach (var path in chosen.Where(path => !Path.Exists(path) || !path.StartsWith("src/", StringComparison.Ordinal)))
    {
        Console.Error.WriteLine($"mutate: '{path}' is not a file or folder of src/.");
        return 2;
    }
    Directory.CreateDirectory(folder);
    var tree = new MutatedTree(repository, Path.Combine(folder, "tree"));
    var (mutants, reach) = Prepare(tree, folder, chosen, arguments.GetValue(classes) ?? []);

    var outcomes = Path.Combine(folder, "outcomes.jsonl");
    var earlier = File.Exists(outcomes) ? File.ReadLines(outcomes).Select(line => JsonSerializer.Deserialize<Outcome>(line)!).ToList() : [];
    var survived = earlier.GroupBy(outcome => outcome.Key).Where(group => !group.Last().Died).Select(group => group.Key).ToHashSet();
    var equivalent = Equivalent.Read(repository);
    var candidates = mutants.Where(mutant => !equivalent.ContainsKey(mutant.Key)).ToList();
    var wanted = arguments.GetValue(survivors) ? candidates.Where(mutant => survived.Contains(mutant.Key)).ToList()
        : arguments.GetValue(sample) is { } count ? chosen.SelectMany(path => candidates.Where(mutant => IsIn(mutant, path)).OrderBy(mutant => Draw(mutant, arguments.GetValue(seed)), StringComparer.Ordinal).Take(count)).ToList()
        : candidates;

    var done = new ConcurrentBag<(Mutant Mutant, Outcome Outcome)>();
    var gate = new Lock();
    Console.Error.WriteLine($"{wanted.Count} of {mutants.Count} mutants");
    try
    {
        Parallel.ForEach(wanted, new() { MaxDegreeOfParallelism = arguments.GetValue(parallel), CancellationToken = cancel }, mutant =>
        {
            var outcome = Outcome.Of(mutant, reach, tree, arguments.GetValue(limit));
            done.Add((mutant, outcome));
            lock (gate)
            {
                File.AppendAllText(outcomes, JsonSerializer.Serialize(outcome) + "\n");
                Console.Error.WriteLine($"{done.Count}/{wanted.Count} {(outcome.Died ? $"died by {outcome.By}" : outcome.Reaching == 0 ? "NO TEST REACHES" : "SURVIVED")} {mutant}");
            }
        });
    }
    catch (OperationCanceledException) { Console.Error.WriteLine("Stopped; what is done is kept."); }

    var report = Report.Of(done.ToList(), chosen, equivalent, mutants);
    File.WriteAllText(Path.Combine(folder, "report.md"), report);
    Console.WriteLine(report);
    return done.All(one => one.Outcome.Died) ? 0 : 1;
}

// The mutated tree and what reaches what, made anew where a source or test has changed since.
(List<Mutant> Mutants, Reach Reach) Prepare(MutatedTree tree, string folder, List<string> chosen, string[] only)
{
    var state = Path.Combine(folder, "state");
    var now = tree.Fingerprint() + string.Join(' ', chosen) + string.Join(' ', only);
    var list = Path.Combine(folder, "mutants.json");
    if (!File.Exists(state) || File.ReadAllText(state) != now)
    {
        File.Delete(state);
        File.Delete(Path.Combine(folder, "tests.log"));
        Console.Error.WriteLine("Copying and building the sources");
        tree.Copy();
        Console.Error.WriteLine("Putting mutants into them, and building again");
        File.WriteAllText(list, JsonSerializer.Serialize(tree.Insert(mutant => chosen.Any(path => IsIn(mutant, path)))));
        File.WriteAllText(state, now);
    }
    var mutants = JsonSerializer.Deserialize<List<Mutant>>(File.ReadAllText(list))!;
    Console.Error.WriteLine("Running the tests once, to see which of them reach which mutant");
    return (mutants, Reach.Measure(tree, folder, mutants, only));
}

static bool IsIn(Mutant mutant, string path) => mutant.File == path || mutant.File.StartsWith(path.TrimEnd('/') + "/", StringComparison.Ordinal);

static string Draw(Mutant mutant, int seed) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{seed}\t{mutant.Key}"))));
