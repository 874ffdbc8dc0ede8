using System.Runtime.InteropServices;

namespace Actipress.Experiments;

/// <summary>libtorch's errors, without the C++ frames that it adds to them.</summary>
public static class TorchErrors
{
    /// <summary>What libtorch says, in one line.</summary>
    public static string Said(this ExternalException failure)
    {
        ArgumentNullException.ThrowIfNull(failure);
        return failure.Message.Split('\n')[0].Trim().TrimEnd('.') + ".";
    }

    /// <summary>Does what shows whether a network takes an input.</summary>
    /// <exception cref="ArgumentException">It does not: the message says what, and what libtorch says of it.</exception>
    internal static T WhereItFits<T>(string what, string wayOut, Func<T> first)
    {
        try { return first(); }
        catch (ExternalException failure) { throw new ArgumentException($"{what}: {failure.Said()} {wayOut}", failure); }
    }
}
