namespace Actipress.Mutation;

/// <summary>One small wrong edit.</summary>
/// <param name="Id">The number of the mutant in this run, which the switch in the mutated assembly compares.</param>
/// <param name="File">The path from the repository's root.</param>
/// <param name="Line">The line, from 1.</param>
/// <param name="Code">The line without the blanks around it.</param>
/// <param name="Place">The character of <paramref name="Code"/> where the edit begins, from 1.</param>
/// <param name="Before">The code that the mutant replaces.</param>
/// <param name="After">The code that replaces it; empty where the mutant leaves a statement out.</param>
/// <param name="RunsOnce">
/// Whether the edit lies in code that runs once a process, such as the value of a static field. The first test that runs then hides the
/// mutant from later tests.
/// </param>
sealed record Mutant(int Id, string File, int Line, string Code, int Place, string Before, string After, bool RunsOnce)
{
    /// <summary>Identifies the same edit in another run, in which numbers and lines may differ.</summary>
    public string Key => $"{File}\t{Code}\t{Place}\t{Before}\t{After}";

    /// <summary>Whether the edit lies in a file or folder.</summary>
    public bool IsIn(string path) => File == path || File.StartsWith(path + "/", StringComparison.Ordinal);

    public override string ToString() => $"{File}:{Line}:{Place}: {Before} -> {(After == "" ? "(left out)" : After)}";
}
