using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>The entry: one network trained by several processes.</summary>
public static class DataParallelExtensions
{
    /// <summary>
    /// From now on every rank has rank 0's parameters and buffers, and after each backward pass the mean of all ranks' gradients. The
    /// training loop stays as it is; each rank gives its own part of the batch.
    /// </summary>
    /// <param name="model">The same on every rank, already on its device.</param>
    /// <param name="ranks">Who trains; for one rank nothing happens.</param>
    /// <param name="options">How it is sent.</param>
    /// <returns>To dispose when ranks are to train apart again.</returns>
    /// <exception cref="RanksException">Another rank's model differs; the message says in which parameter.</exception>
    /// <exception cref="PlatformNotSupportedException">TorchSharp's native library here has no place for the hooks.</exception>
    public static DataParallel DataParallel(this nn.Module model, Ranks ranks, DataParallelOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(ranks);
        options ??= new();
        options.Check();
        return new(model, ranks, options);
    }
}
