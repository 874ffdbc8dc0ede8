using System.Runtime.CompilerServices;
using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>A compression of a model, as seen by the threads that run the model.</summary>
interface IFollowing
{
    /// <summary>The layers of its model.</summary>
    IReadOnlyList<Layer> Layers { get; }

    /// <summary>The store that holds the maps of its model.</summary>
    ActivationStore Store { get; }

    /// <summary>Opens the scope of the compression on this thread, if the parameter is that of its model.</summary>
    bool Follows(Tensor parameter);
}

/// <summary>
/// The compressions of this process, and the hooks of threads that have no scope. If such a thread saves a parameter of a compressed model,
/// the model is run there by <c>forward</c>, and the compression opens its scope on that thread. Tensors that were saved before stay as
/// they are.
/// </summary>
sealed class Newcomers : SavedTensorHooks
{
    static readonly Lock gate = new();
    static readonly ConditionalWeakTable<torch.nn.Module, IFollowing> byModule = [];
    static volatile IFollowing[] live = [];

    /// <summary>Adds a compression that begins.</summary>
    /// <exception cref="InvalidOperationException">Another compression has a layer of its model.</exception>
    public static void Add(IFollowing compression)
    {
        lock (gate)
        {
            foreach (var layer in compression.Layers)
                if (byModule.TryGetValue(layer.Module!, out _))
                    throw new InvalidOperationException(
                        "Two compressions of one model: found one that has "
                            + $"{(layer.Name.Length == 0 ? $"this {layer.Type}" : $"its layer {layer}")} already, wanted none. Dispose "
                            + $"that one first, or give all rules to one {nameof(CompressActivationsExtensions.CompressActivations)}.");
            foreach (var layer in compression.Layers) byModule.TryAdd(layer.Module!, compression);
            live = [.. live, compression];
            SavedTensorsScope.OfThreadsWithout ??= SavedTensorsScope.Shared(new Newcomers());
        }
    }

    /// <summary>Removes a compression that ends.</summary>
    public static void Remove(IFollowing compression)
    {
        lock (gate)
        {
            foreach (var layer in compression.Layers)
                if (byModule.TryGetValue(layer.Module!, out var owner) && owner == compression) byModule.Remove(layer.Module!);
            live = [.. live.Where(other => other != compression)];
            if (live.Length == 0) SavedTensorsScope.OfThreadsWithout = null;
        }
    }

    /// <summary>Opens the scope of the compression whose model has this parameter, if there is one.</summary>
    /// <param name="parameter">A saved tensor.</param>
    /// <param name="seenBy">The compression whose scope is open on this thread; null for none.</param>
    public static void Follow(Tensor parameter, ActivationStore? seenBy)
    {
        foreach (var compression in live)
            if (compression.Store != seenBy && compression.Follows(parameter)) return;
    }

    public override SavedTensor Pack(Tensor tensor)
    {
        Follow(tensor, seenBy: null);
        return new PassedOn(tensor);
    }
}
