using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Actipress.Mutation;

/// <summary>
/// Edits that a person wrote, one on each line: file, line of the source, before, after, separated by tabs. The code before is a whole
/// expression or statement that begins on that line, with single blanks. A statement with no code after is left out.
/// </summary>
sealed class WrittenEdits : IEdits
{
    readonly record struct Place(string File, int Line, string Before);

    readonly string root;
    readonly string text;
    readonly ILookup<Place, string> edits;

    /// <param name="path">The list.</param>
    /// <param name="repository">The repository's root.</param>
    /// <param name="root">The root of its mutated copy.</param>
    /// <exception cref="FormatException">There is no edit, a line is not an edit, or it names a file that does not exist.</exception>
    public WrittenEdits(string path, string repository, string root)
    {
        this.root = root;
        if (Directory.Exists(path)) throw new FormatException($"{path} is a folder: wanted a list of edits, one a line.");
        text = File.ReadAllText(path);
        var lines = text.Split('\n').Select((line, index) => (Text: line.TrimEnd('\r'), Number: index + 1));
        edits = lines.Where(line => line.Text.Trim().Length > 0 && line.Text[0] != '#').Select(line =>
        {
            var parts = line.Text.Split('\t');
            if (parts.Length is not (3 or 4) || !int.TryParse(parts[1], out var number))
                throw Wrong($"'{line.Text}' is not file, line, before and after, separated by tabs");
            if (!parts[0].StartsWith("src/", StringComparison.Ordinal) || !File.Exists(Path.Combine(repository, parts[0])))
                throw Wrong($"there is no file '{parts[0]}' of src/");
            return (Place: new Place(parts[0], number, parts[2]), After: parts.ElementAtOrDefault(3) ?? "");

            FormatException Wrong(string what) => new($"{path}, line {line.Number}: {what}.");
        }).ToLookup(edit => edit.Place, edit => edit.After);
        if (edits.Count == 0)
            throw new FormatException($"{path} has no edits: wanted at least one line of file, line, before and after, separated by tabs.");
    }

    /// <summary>The folders of the edited files, such as src/Actipress/Accounting and src/Actipress.Data.</summary>
    public IReadOnlyList<string> Folders =>
        [.. edits.Select(edit => edit.Key.File.Split('/')).Select(parts => string.Join('/', parts.Take(parts[1] == "Actipress" ? 3 : 2)))
            .Distinct().Order(StringComparer.Ordinal)];

    public IEnumerable<ExpressionSyntax> Of(ExpressionSyntax expression, SemanticModel model) =>
        At(expression).Select(after => SyntaxFactory.ParseExpression(after));

    public IEnumerable<StatementSyntax?> Of(StatementSyntax statement) =>
        At(statement).Select(after => after == "" ? null : SyntaxFactory.ParseStatement(after));

    /// <summary>The edits without a mutant: the code before is not found, or the code after does not compile.</summary>
    public IEnumerable<string> NotIn(IReadOnlyList<Mutant> mutants)
    {
        var made = mutants.Select(mutant => (mutant.File, mutant.Line, mutant.After)).ToHashSet();
        return edits.SelectMany(edit => edit.Where(after => !made.Contains((edit.Key.File, edit.Key.Line, Switches.OnOneLine(after))))
            .Select(after => $"{edit.Key.File}:{edit.Key.Line}: {edit.Key.Before} -> {after}"));
    }

    /// <summary>The list itself.</summary>
    public override string ToString() => text;

    IEnumerable<string> At(SyntaxNode node)
    {
        var line = node.GetLocation().GetLineSpan().StartLinePosition.Line + 1;
        return edits[new(Path.GetRelativePath(root, node.SyntaxTree.FilePath), line, Switches.Collapsed(node.ToString()))];
    }
}
