using System.Runtime.InteropServices;

namespace Actipress.Experiments;

/// <summary>libtorch's errors, without the C++ frames that libtorch adds.</summary>
public static class TorchErrors
{
    /// <summary>libtorch's message in one line.</summary>
    public static string Said(this ExternalException failure)
    {
        ArgumentNullException.ThrowIfNull(failure);
        return failure.Message.Split('\n')[0].Trim().TrimEnd('.') + ".";
    }

    /// <summary>Runs an action that tests whether a network accepts an input.</summary>
    /// <exception cref="ArgumentException">
    /// The network does not accept the input; the message has the input and libtorch's message.
    /// </exception>
    internal static T WhereItFits<T>(string what, string wayOut, Func<T> first)
    {
        try { return first(); }
        catch (ExternalException failure) { throw new ArgumentException($"{what}: {failure.Said()} {wayOut}", failure); }
    }
}
