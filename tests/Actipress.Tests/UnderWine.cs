using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress.Tests;

/// <summary>
/// The tests on Windows under Wine (./dev test --windows). An exception that leaves a test's method does not reach the runner there: Wine 8
/// cannot unwind through .NET's reflection, and the process hangs. So a failed assertion and a skipped test are reported where they throw,
/// and end the process. The script then runs the remaining tests.
/// </summary>
/// <remarks>
/// Wine 8 also skips destructors when a C++ exception leaves libtorch, with or without Actipress. The guards by which an operation excludes
/// autograd on its thread then stay in force, and no later operation of the thread is recorded. So the thread's set of dispatch keys is
/// restored where TorchSharp throws.
/// </remarks>
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
            if (thrown.Exception is ExternalException) DispatchKeys.Restore();
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

    /// <summary>libtorch's thread-local set of dispatch keys: which are included beyond a tensor's own, and which are excluded.</summary>
    static unsafe class DispatchKeys
    {
        const string Get = "?tls_local_dispatch_key_set@impl@c10@@YA?AULocalDispatchKeySet@12@XZ";
        const string Set = "?_force_tls_local_dispatch_key_set@impl@c10@@YAXULocalDispatchKeySet@12@@Z";

        static readonly nint library = NativeLibrary.Load("c10.dll", typeof(torch).Assembly, null);
        static readonly delegate* unmanaged[Cdecl]<Keys*, Keys*> get =
            (delegate* unmanaged[Cdecl]<Keys*, Keys*>)NativeLibrary.GetExport(library, Get);
        static readonly delegate* unmanaged[Cdecl]<Keys*, void> set =
            (delegate* unmanaged[Cdecl]<Keys*, void>)NativeLibrary.GetExport(library, Set);

        static readonly Keys fresh = OfNewThread();

        struct Keys
        {
            public ulong Included, Excluded;
        }

        public static void Restore()
        {
            var keys = fresh;
            set(&keys);
        }

        static Keys OfNewThread()
        {
            var keys = default(Keys);
            var thread = new Thread(() =>
            {
                Keys found;
                get(&found);
                keys = found;
            });
            thread.Start();
            thread.Join();
            return keys;
        }
    }
}
