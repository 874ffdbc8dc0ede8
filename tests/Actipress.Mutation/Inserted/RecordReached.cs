using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using Xunit.v3;

[assembly: RecordReached]

/// <summary>
/// This class is compiled into the mutated tests. After each test it writes a line with the test's method, its seconds and the mutants that
/// it reached.
/// </summary>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class RecordReachedAttribute : BeforeAfterTestAttribute
{
    static readonly string? reached = Environment.GetEnvironmentVariable("ACTIPRESS_MUTANTS_REACHED");

    readonly Stopwatch watch = new();

    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => watch.Restart();

    // An explicit test runs in a child process of another test, to which the mutants count that it reaches.
    public override void After(MethodInfo methodUnderTest, IXunitTest test)
    {
        if (test.Explicit || reached is null || Environment.GetEnvironmentVariable("ACTIPRESS_MUTANTS_TESTS") is not { } lines) return;
        using var file = new FileStream(reached, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        var ids = string.Join(',', Enumerable.Range(0, bytes.Length).Where(id => bytes[id] != 0));
        file.Position = 0;
        file.Write(new byte[bytes.Length]);
        var seconds = watch.Elapsed.TotalSeconds.ToString("0.000", CultureInfo.InvariantCulture);
        File.AppendAllText(lines, $"{methodUnderTest.DeclaringType!.FullName}.{methodUnderTest.Name}\t{seconds}\t{ids}\n");
    }
}
