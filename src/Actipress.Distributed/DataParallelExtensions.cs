using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>The entry: one network trained by several processes.</summary>
public static class DataParallelExtensions
{
    /// <summary>
    /// Gives every rank rank 0's parameters and buffers, and from now on, after each backward pass, the mean of all ranks' gradients. The
    /// training loop need not change; each rank passes its own part of the batch.
    /// </summary>
    /// <param name="model">The model: the same on every rank, already on its device.</param>
    /// <param name="ranks">The ranks that train; for one rank nothing happens.</param>
    /// <param name="options">Options of sending.</param>
    /// <returns>Disposing this ends the common training.</returns>
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
