using System.CommandLine;
using Actipress.Mutation;

var files = new Argument<string[]>("files")
{
    Description = "Files or folders of src/ to mutate; without any, the eight folders that the tests have to hold.",
    Arity = ArgumentArity.ZeroOrMore,
};
var edits = new Option<string?>("--edits")
{
    Description = "A list of edits to try in place of the small ones: file, line, before, after, separated by tabs. Before is a whole "
        + "expression or statement that begins on that line; nothing after it leaves a statement out.",
};
var sample = new Option<int?>("--sample") { Description = "So many mutants of each folder; the same ones again after an edit elsewhere." };
var seed = new Option<int>("--seed") { Description = "Which sample.", DefaultValueFactory = _ => 1 };
var limit = new Option<double>("--limit") { Description = "Seconds of tests a mutant, the quickest first.", DefaultValueFactory = _ => 60 };
var parallel = new Option<int>("--parallel") { Description = "Mutants at a time.", DefaultValueFactory = _ => Environment.ProcessorCount };
var classes = new Option<string[]>("--class") { Description = "Only these test classes, such as '*NiftiTests'." };
var survivors = new Option<bool>("--survivors") { Description = "Only those that survived when they last ran." };
var json = new Option<bool>("--json") { Description = "Print the outcomes as JSON, one a line, in place of the table." };
var root = new RootCommand("""
    Makes small wrong edits in the sources, one at a time, and says which of them no test notices. Examples:
      ./dev mutate src/Actipress/Selection --class '*Laws'
      ./dev mutate --sample 100
      ./dev mutate --survivors
      ./dev mutate --edits reviewer.tsv
    Exit code 0 where every mutant died, 1 where one survived.
    """)
{
    files, edits, sample, seed, limit, parallel, classes, survivors, json,
};
root.SetAction((arguments, cancel) => Task.Run(() =>
{
    var chosen = arguments.GetValue(files) is { Length: > 0 } given ? given : MutationRun.Folders;
    var paths = chosen.Select(path => Path.GetRelativePath(Environment.CurrentDirectory, Path.GetFullPath(path)).TrimEnd('/')).ToList();
    if (paths.Find(path => !Path.Exists(path) || !path.StartsWith("src/", StringComparison.Ordinal)) is { } wrong)
    {
        Console.Error.WriteLine($"mutate: '{wrong}' is not a file or folder of src/.");
        return 2;
    }
    MutationRun run;
    try { run = new(Environment.CurrentDirectory, paths, arguments.GetValue(edits), arguments.GetValue(classes) ?? []); }
    catch (Exception error) when (error is FormatException or IOException or UnauthorizedAccessException)
    {
        Console.Error.WriteLine($"mutate: {error.Message}");
        return 2;
    }
    return run.Try(new(arguments.GetValue(sample), arguments.GetValue(seed), arguments.GetValue(survivors)),
        arguments.GetValue(limit), arguments.GetValue(parallel), arguments.GetValue(json), cancel);
}));
return await root.Parse(args).InvokeAsync();
