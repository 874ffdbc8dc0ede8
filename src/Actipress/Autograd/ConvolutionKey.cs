namespace Actipress.Autograd;

/// <summary>
/// The dispatch key under which Actipress's own kernel for convolutions is registered. A convolution has the key on the threads that
/// include it.
/// </summary>
static class ConvolutionKey
{
    static ushort key;

    /// <summary>Sets the key, once the kernel is registered.</summary>
    public static void Set(ushort registered) => key = registered;

    /// <summary>Includes the key on this thread, or excludes it. Nothing happens before <see cref="Set"/>.</summary>
    /// <remarks>
    /// Under inference mode nothing is saved, and TorchScript would call the kernel in a way that does not let libtorch's exceptions pass.
    /// libtorch restores a thread's keys after each node of a backward pass, so that no field could tell whether the key is included.
    /// </remarks>
    public static void Include(bool wanted)
    {
        if (key != 0) Dispatcher.Include(key, wanted && !torch.is_inference_mode_enabled());
    }
}
