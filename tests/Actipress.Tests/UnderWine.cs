using System.Runtime.CompilerServices;

namespace Actipress.Tests;

/// <summary>
/// The tests on Windows under Wine (./dev test --windows). An exception that leaves a test's method does not reach the runner there: Wine 8
/// cannot unwind through .NET's reflection, and the process hangs. So a failed assertion, a skipped test, and a test that needs the level
/// of the C allocator, which Windows does not have, are reported where they throw, and end the process. The script then runs the remaining
/// tests.
/// </summary>
static class UnderWine
{
    /// <summary>The variable by which the script tells that the tests run under Wine.</summary>
    const string Variable = "ACTIPRESS_UNDER_WINE";

    static readonly string[] reasonsToSkip = ["$XunitDynamicSkip$"];

    [ModuleInitializer]
    internal static void TellWhatIsThrown()
    {
        if (Environment.GetEnvironmentVariable(Variable) is null) return;
        AppDomain.CurrentDomain.FirstChanceException += (_, thrown) =>
        {
            var (exception, test) = (thrown.Exception, TestContext.Current.Test);
            var skips = reasonsToSkip.Any(reason => exception.Message.StartsWith(reason, StringComparison.Ordinal));
            if (test is null || !skips && exception.GetType().Namespace != "Xunit.Sdk") return;
            var method = test.TestCase;
            Console.WriteLine($"{(skips ? "SKIPPED" : "FAILED")} UNDER WINE {method.TestClassName}.{method.TestMethodName}");
            Console.WriteLine($"    {test.TestDisplayName}: {exception.Message}");
            Console.Out.Flush();
            Environment.Exit(1);
        };
    }
}
