namespace Actipress.Mutation;

/// <summary>One small wrong edit: where it is, and what stands there in place of what.</summary>
/// <param name="Id">Its number in this run; the switch in the mutated assembly that turns it on.</param>
/// <param name="File">The path from the repository's root.</param>
/// <param name="Line">The line, from 1.</param>
/// <param name="Code">That line, without the blanks around it.</param>
/// <param name="Place">The character of <paramref name="Code"/> where the edit begins, from 1.</param>
/// <param name="Before">What stands there.</param>
/// <param name="After">What the mutant puts there; empty where it leaves a statement out.</param>
/// <param name="RunsOnce">
/// Whether it lies in what runs once a process, such as a static field's value: the first test that runs hides it from the later ones.
/// </param>
sealed record Mutant(int Id, string File, int Line, string Code, int Place, string Before, string After, bool RunsOnce)
{
    /// <summary>The same edit in another run, in which numbers and lines may have moved.</summary>
    public string Key => $"{File}\t{Code}\t{Place}\t{Before}\t{After}";

    /// <summary>Whether it lies in a file or folder.</summary>
    public bool IsIn(string path) => File == path || File.StartsWith(path + "/", StringComparison.Ordinal);

    public override string ToString() => $"{File}:{Line}:{Place}: {Before} -> {(After == "" ? "(left out)" : After)}";
}
