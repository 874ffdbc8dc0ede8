using System.Runtime.CompilerServices;

namespace Actipress.Tests;

/// <summary>Marks tests that take minutes or much memory. <c>./dev test --long</c> runs them; otherwise they skip by name.</summary>
public sealed class LongFactAttribute : FactAttribute
{
    /// <summary>The variable that enables them.</summary>
    public const string Variable = "ACTIPRESS_LONG_TESTS";

    public LongFactAttribute([CallerFilePath] string? file = null, [CallerLineNumber] int line = 0) : base(file, line) =>
        (Skip, SkipUnless, SkipType) = ("A long test: ./dev test --long runs it.", nameof(AreAsked), typeof(LongFactAttribute));

    public static bool AreAsked => Environment.GetEnvironmentVariable(Variable) == "1";
}
