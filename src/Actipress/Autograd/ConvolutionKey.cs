namespace Actipress.Autograd;

/// <summary>
/// The dispatch key under which Actipress's own kernel for convolutions is registered. A convolution has the key on the threads that
/// include it.
/// </summary>
static class ConvolutionKey
{
    static ushort key;
    [ThreadStatic] static bool isIncluded;

    /// <summary>Sets the key, once the kernel is registered.</summary>
    public static void Set(ushort registered) => key = registered;

    /// <summary>Includes the key on this thread, or excludes it. Nothing happens before <see cref="Set"/>.</summary>
    public static void Include(bool wanted)
    {
        if (key == 0 || wanted == isIncluded) return;
        Dispatcher.Include(key, wanted);
        isIncluded = wanted;
    }
}
