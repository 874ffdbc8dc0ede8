using System.Runtime.CompilerServices;

// Each type here uses one of the first four types in one way, for the tests of the reader of uses.
namespace Actipress.Tests.Uses;

class Used
{
    public static int Number { get; set; }

    public static T Same<T>(T x) => x;
}

interface IUsed;

sealed class UsedException : Exception;

[AttributeUsage(AttributeTargets.All)]
sealed class UsedAttribute : Attribute;

sealed class Base : Used;

sealed class WithInterface : IUsed;

[Used]
sealed class WithAttribute;

sealed class Field
{
    public static readonly Used[]? Some = null;
}

sealed class Parameter
{
    public static void Take(in Used used) => _ = used;
}

sealed class Result
{
    public static Used? Give() => null;
}

sealed class ArgumentOfGeneric
{
    public static void Take(Dictionary<string, List<Used>> uses) => uses.Clear();
}

sealed class ConstraintOfGeneric
{
    public static void Take<T>(T x) where T : Used => GC.KeepAlive(x);
}

sealed class CallOfGeneric
{
    public static int Count() => Array.Empty<Used>().Length;
}

sealed class StaticCall
{
    public static int Call() => Used.Number;
}

sealed class TypeTest
{
    public static bool Is(object x) => x is Used;
}

sealed class Local
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    static object? Some() => null;

    public static bool Has() => Some() is var some && Unsafe.As<Used>(some) is { } used && used.GetHashCode() > 0;
}

sealed class BodyOfLambda
{
    public static Func<int> Call(int more) => () => Used.Number + more;
}

sealed class Inner
{
    sealed class Deep
    {
        public static readonly Used? Some = null;
    }
}

sealed unsafe class Pointer
{
    public static readonly delegate*<Used, void> Function = null;
}

sealed class CaseOfSwitch
{
    // The uses behind a jump table are read too.
    public static int Of(int x) => x switch { 0 => 5, 1 => 3, 2 => 11, 3 => 7, 4 => Used.Number, _ => 0 };
}

sealed class Catching
{
    public static void Try(Action action)
    {
        try { action(); }
        catch (UsedException) { }
    }
}

sealed class NoUse
{
    public static string Name => nameof(Used);
}
