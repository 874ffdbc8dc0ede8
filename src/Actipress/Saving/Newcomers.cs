using System.Runtime.CompilerServices;
using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>A compression of a model, as the threads that run the model see it.</summary>
interface IFollowing
{
    /// <summary>The layers of its model.</summary>
    IReadOnlyList<Layer> Layers { get; }

    /// <summary>Holds the maps of its model.</summary>
    ActivationStore Store { get; }

    /// <summary>Sees what this thread saves from here on, if the parameter is that of its model.</summary>
    bool Follows(Tensor parameter);
}

/// <summary>
/// The compressions of this process, and the hooks of threads that have no scope: where one saves a parameter of a compressed model, the
/// model is run there by <c>forward</c>, and the compression opens its scope on that thread. What came before it stays as it is.
/// </summary>
sealed class Newcomers : SavedTensorHooks
{
    static readonly Lock gate = new();
    static readonly ConditionalWeakTable<torch.nn.Module, IFollowing> byModule = [];
    static volatile IFollowing[] live = [];

    /// <summary>A compression begins.</summary>
    /// <exception cref="InvalidOperationException">Another one has a layer of its model.</exception>
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

    /// <summary>A compression ends.</summary>
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

    /// <summary>Lets the compression whose model has this parameter, if any, see what follows on this thread.</summary>
    /// <param name="parameter">A saved tensor.</param>
    /// <param name="seenBy">The compression that sees this thread now; null for none.</param>
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
