using System.Runtime.CompilerServices;

namespace Actipress.Tests;

/// <summary>
/// The tests on Windows under Wine (./dev test --windows). An exception that leaves a test's method does not get to the runner there: Wine
/// 8 finds no way out of .NET's reflection, and the process hangs. So a failed assertion, a skipped test, and a test that asks for the C
/// allocator's level, which is not to be had on Windows, are told where they are thrown, and end the process: the script goes on with the
/// rest.
/// </summary>
static class UnderWine
{
    /// <summary>The variable by which the script says so.</summary>
    const string Variable = "ACTIPRESS_UNDER_WINE";

    static readonly string[] reasonsToSkip = ["The allocator's level is not to be had here", "$XunitDynamicSkip$"];

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
