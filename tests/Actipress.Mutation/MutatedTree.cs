using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Actipress.Mutation;

/// <summary>A copy of the repository whose sources hold the mutants, and the tests built from it.</summary>
sealed class MutatedTree(string repository, string folder)
{
    static readonly string[] projects = ["Actipress", "Actipress.Data", "Actipress.Experiments", "Actipress.Models", "Actipress.Cli"];

    /// <summary>The test program.</summary>
    public string Tests { get; } = Path.Combine(folder, "artifacts", "bin", "Actipress.Tests", "release_linux-x64", "Actipress.Tests");

    /// <summary>A number that changes with every source and test.</summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var path in Files().Where(path => path.StartsWith("src/", StringComparison.Ordinal) || path.StartsWith("tests/", StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(path));
            hash.AppendData(File.ReadAllBytes(Path.Combine(repository, path)));
        }
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    /// <summary>Copies what git knows or would know, and builds it as it is, so that references and generated files are there.</summary>
    public void Copy()
    {
        foreach (var path in Files())
        {
            var copy = new FileInfo(Path.Combine(folder, path));
            copy.Directory!.Create();
            File.Copy(Path.Combine(repository, path), copy.FullName, overwrite: true);
        }
        foreach (var project in projects) File.WriteAllText(Path.Combine(folder, "src", project, "Mutants.cs"), Inserted("Mutants.cs"));
        File.WriteAllText(Path.Combine(folder, "tests", "Actipress.Tests", "RecordReached.cs"), Inserted("RecordReached.cs"));
        Build();
    }

    /// <summary>Puts the wanted mutants into the sources and builds them. Those that do not compile are left out.</summary>
    /// <param name="wanted">Whether a mutant is to be there; its number is not known yet.</param>
    public List<Mutant> Insert(Func<Mutant, bool> wanted)
    {
        var mutants = new List<Mutant>();
        foreach (var project in projects) mutants.AddRange(Insert(project, wanted, mutants.Count));
        Build();
        return mutants;
    }

    /// <summary>A run of the test program.</summary>
    public sealed record Ended(int ExitCode, string Output)
    {
        /// <summary>The first test that failed, or what else ended the run.</summary>
        public string Noticed => Output.Split('\n').FirstOrDefault(line => line.Contains(" [FAIL]", StringComparison.Ordinal))?.Trim().Split('(', ' ')[0]
            ?? (ExitCode == -1 ? "(no end)" : $"(exit code {ExitCode})");
    }

    /// <summary>Runs tests, on one thread of torch so that several runs may go on side by side. GPU tests are left out: a mutant dies by a statement about the CPU.</summary>
    public Ended Run(IEnumerable<string> arguments, TimeSpan patience, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(Tests, ["-noColor", "-noLogo", "-namespace-", "Actipress.Tests.Gpu", .. arguments]) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["OMP_NUM_THREADS"] = "1";
        start.Environment["ACTIPRESS_DATA"] = Environment.GetEnvironmentVariable("ACTIPRESS_DATA") ?? Path.GetFullPath(Path.Combine(repository, "..", "shared", "data"));
        foreach (var (name, value) in environment) start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        var ended = process.WaitForExit(patience);
        if (!ended) process.Kill(entireProcessTree: true);
        return new(ended ? process.ExitCode : -1, output.Result + error.Result);
    }

    List<Mutant> Insert(string project, Func<Mutant, bool> wanted, int first)
    {
        var sources = Path.Combine(folder, "src", project);
        var options = new CSharpParseOptions(LanguageVersion.Preview);
        var files = Directory.GetFiles(sources, "*.cs", SearchOption.AllDirectories)
            .Concat(Directory.GetFiles(Path.Combine(folder, "artifacts", "obj", project), "*.cs", SearchOption.AllDirectories)).Order(StringComparer.Ordinal)
            .Select(path => CSharpSyntaxTree.ParseText(File.ReadAllText(path), options, path)).ToList();
        var references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(':').Concat(Directory.GetFiles(Path.GetDirectoryName(Tests)!, "*.dll"))
            .Where(path => !Path.GetFileName(path).StartsWith("Microsoft.CodeAnalysis", StringComparison.Ordinal) && Path.GetFileNameWithoutExtension(path) != project && IsManaged(path))
            .DistinctBy(Path.GetFileName).Select(path => MetadataReference.CreateFromFile(path));
        var compilation = CSharpCompilation.Create(project, files, references, new(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable));
        if (project == "Actipress.Cli") compilation = compilation.WithOptions(compilation.Options.WithOutputKind(OutputKind.ConsoleApplication));
        var before = Errors(compilation).Select(Text).ToHashSet();      // what source generators would have written

        var dropped = new HashSet<string>();
        while (true)
        {
            var (mutants, mutated) = (new List<Mutant>(), compilation);
            foreach (var tree in files.Where(tree => tree.FilePath.StartsWith(sources + "/", StringComparison.Ordinal) && !tree.FilePath.EndsWith("/Mutants.cs", StringComparison.Ordinal)))
            {
                var file = Path.GetRelativePath(folder, tree.FilePath);
                var (count, switches) = (mutants.Count, new Switches(compilation.GetSemanticModel(tree), file, mutant => wanted(mutant) && !dropped.Contains(Place(mutant)), mutants, first));
                var root = switches.Visit(tree.GetRoot())!;
                if (mutants.Count > count) mutated = mutated.ReplaceSyntaxTree(tree, CSharpSyntaxTree.ParseText(root.ToFullString(), options, tree.FilePath));
            }
            var bad = new HashSet<string>();
            foreach (var error in Errors(mutated).Where(error => !before.Contains(Text(error))))
                foreach (var id in Responsible(error).DefaultIfEmpty(-1))
                    bad.Add(id >= first ? Place(mutants[id - first]) : throw new InvalidOperationException($"No mutant is responsible for {error}."));
            if (bad.Count == 0)
            {
                foreach (var tree in mutated.SyntaxTrees.Except(compilation.SyntaxTrees)) File.WriteAllText(tree.FilePath, tree.ToString());
                return mutants;
            }
            dropped.UnionWith(bad);
        }
    }

    static string Place(Mutant mutant) => $"{mutant.File}:{mutant.Line} {mutant.Before} -> {mutant.After}";

    static IEnumerable<Diagnostic> Errors(Compilation compilation) => compilation.GetDiagnostics().Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);

    static string Text(Diagnostic error) => $"{error.Location.SourceTree?.FilePath} {error.GetMessage(CultureInfo.InvariantCulture)}";

    // The switch nearest around the error; where there is none (a variable that is no longer assigned, say), all of the member.
    static IEnumerable<int> Responsible(Diagnostic error)
    {
        var node = error.Location.SourceTree?.GetRoot().FindNode(error.Location.SourceSpan);
        if (node is null) return [];
        foreach (var above in node.AncestorsAndSelf())
            if (above switch { ConditionalExpressionSyntax conditional => Id(conditional.Condition), IfStatementSyntax statement => Id(statement.Condition), _ => null } is { } id) return [id];
        var member = node.AncestorsAndSelf().OfType<MemberDeclarationSyntax>().FirstOrDefault();
        return member is null ? [] : member.DescendantNodes().OfType<ExpressionSyntax>().Select(Id).OfType<int>().Distinct();
    }

    static int? Id(ExpressionSyntax condition) => condition is InvocationExpressionSyntax { ArgumentList.Arguments: [{ Expression: LiteralExpressionSyntax { Token.Value: int id } }] } call
        && call.Expression.ToString() == "global::Mutants.Is" ? id : null;

    static bool IsManaged(string path)
    {
        try { return System.Reflection.AssemblyName.GetAssemblyName(path) is not null; }
        catch (BadImageFormatException) { return false; }
    }

    static string Inserted(string file) => File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Inserted", file));

    void Build()
    {
        var start = new ProcessStartInfo("dotnet", ["build", "tests/Actipress.Tests", "-c", "Release", "-v", "q", "-m:1", "-p:NuGetAudit=false", "-p:TreatWarningsAsErrors=false", "-p:RunAnalyzers=false", "-p:NoWarn=\"$(NoWarn);CS1591\""])
            { WorkingDirectory = folder, RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"Building {folder} failed:\n" + string.Join('\n', output.Split('\n').Where(line => line.Contains("error", StringComparison.Ordinal)).Distinct().Take(20)));
    }

    // What git knows or would know.
    IEnumerable<string> Files()
    {
        using var process = Process.Start(new ProcessStartInfo("git", ["ls-files", "--cached", "--others", "--exclude-standard"]) { WorkingDirectory = repository, RedirectStandardOutput = true })!;
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(path => File.Exists(Path.Combine(repository, path)));
    }
}
