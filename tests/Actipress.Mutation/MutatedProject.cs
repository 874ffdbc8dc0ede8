using System.Globalization;
using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Actipress.Mutation;

/// <summary>A project of the mutated tree, compiled in memory to find the types of literals and the mutants that do not compile.</summary>
sealed class MutatedProject
{
    static readonly CSharpParseOptions options = new(LanguageVersion.Preview);

    readonly string folder;
    readonly CSharpCompilation compilation;
    readonly List<SyntaxTree> sources;
    readonly HashSet<string> unavoidable;

    /// <param name="name">The project's name.</param>
    /// <param name="folder">The tree's root.</param>
    /// <param name="assemblies">The folder of the built tests, which contains every assembly that a project refers to.</param>
    public MutatedProject(string name, string folder, string assemblies)
    {
        this.folder = folder;
        var own = Path.Combine(folder, "src", name);
        var trees = new[] { own, Path.Combine(folder, "artifacts", "obj", name) }
            .SelectMany(path => Directory.GetFiles(path, "*.cs", SearchOption.AllDirectories)).Order(StringComparer.Ordinal)
            .Select(path => CSharpSyntaxTree.ParseText(File.ReadAllText(path), options, path)).ToList();
        sources = [.. trees.Where(tree => tree.FilePath.StartsWith(own + "/", StringComparison.Ordinal))
            .Where(tree => Path.GetFileName(tree.FilePath) != "Mutants.cs")];
        var platform = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(':');
        var references = platform.Concat(Directory.GetFiles(assemblies, "*.dll"))
            .Where(path => Path.GetFileNameWithoutExtension(path) != name && IsManaged(path)).DistinctBy(Path.GetFileName)
            .Select(path => MetadataReference.CreateFromFile(path));
        var kind = name == "Actipress.Cli" ? OutputKind.ConsoleApplication : OutputKind.DynamicallyLinkedLibrary;
        var settings = new CSharpCompilationOptions(kind, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable);
        compilation = CSharpCompilation.Create(name, trees, references, settings);
        unavoidable = [.. Errors(compilation).Select(Text)];      // the output of source generators is missing here
    }

    /// <summary>Writes the wanted mutants into the sources, except those that do not compile.</summary>
    /// <param name="edits">The edits that may be made.</param>
    /// <param name="wanted">Whether a mutant is wanted; its number is not known yet.</param>
    /// <param name="first">The first mutant's number.</param>
    public List<Mutant> Insert(IEdits edits, Func<Mutant, bool> wanted, int first)
    {
        var dropped = new HashSet<string>();
        while (true)
        {
            var (mutants, mutated) = (new List<Mutant>(), compilation);
            foreach (var tree in sources)
            {
                var count = mutants.Count;
                bool Stays(Mutant mutant) => wanted(mutant) && !dropped.Contains(mutant.ToString());
                var (file, model) = (Path.GetRelativePath(folder, tree.FilePath), compilation.GetSemanticModel(tree));
                var text = new Switches(model, file, edits, Stays, mutants, first).Visit(tree.GetRoot())!.ToFullString();
                if (mutants.Count == count) continue;
                mutated = mutated.ReplaceSyntaxTree(tree, CSharpSyntaxTree.ParseText(text, options, tree.FilePath));
            }
            var errors = Errors(mutated).Where(error => !unavoidable.Contains(Text(error)));
            var bad = errors.SelectMany(Responsible).Distinct().Select(id => mutants[id - first].ToString()).ToList();
            if (bad.Count == 0)
            {
                foreach (var tree in mutated.SyntaxTrees.Except(compilation.SyntaxTrees)) File.WriteAllText(tree.FilePath, tree.ToString());
                return mutants;
            }
            dropped.UnionWith(bad);
        }
    }

    static IEnumerable<Diagnostic> Errors(Compilation compilation) =>
        compilation.GetDiagnostics().Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);

    static string Text(Diagnostic error) => $"{error.Location.SourceTree?.FilePath} {error.GetMessage(CultureInfo.InvariantCulture)}";

    // Finds the switch nearest to the error. Where there is none, as for a variable that is no longer assigned, every switch of the member
    // counts.
    static IEnumerable<int> Responsible(Diagnostic error)
    {
        var node = error.Location.SourceTree?.GetRoot().FindNode(error.Location.SourceSpan);
        foreach (var above in node?.AncestorsAndSelf() ?? [])
        {
            var condition = (above as ConditionalExpressionSyntax)?.Condition ?? (above as IfStatementSyntax)?.Condition;
            if (condition is not null && Id(condition) is { } id) return [id];
        }
        var member = node?.AncestorsAndSelf().OfType<MemberDeclarationSyntax>().FirstOrDefault();
        var all = member?.DescendantNodes().OfType<ExpressionSyntax>().Select(Id).OfType<int>().ToList() ?? [];
        return all.Count > 0 ? all : throw new InvalidOperationException($"No mutant is responsible for {error}.");
    }

    static int? Id(ExpressionSyntax condition)
    {
        if (condition is not InvocationExpressionSyntax call || call.Expression.ToString() != "global::Mutants.Is") return null;
        return (call.ArgumentList.Arguments[0].Expression as LiteralExpressionSyntax)?.Token.Value as int?;
    }

    static bool IsManaged(string path)
    {
        try { return AssemblyName.GetAssemblyName(path) is not null; }
        catch (BadImageFormatException) { return false; }
    }
}
