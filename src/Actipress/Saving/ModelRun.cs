using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>
/// Tells what a model saves in its forward passes from what others save on the same thread, and to which layer it belongs.
/// </summary>
sealed class ModelRun(ModelLayers layers, LayerWatch watch) : IDisposable
{
    readonly ThreadLocal<ForwardProgress> progress = new(() => new ForwardProgress());

    public ModelLayers Layers => layers;

    /// <summary>The layer that runs now on this thread, as far as it is known.</summary>
    public Layer? Current => watch.Current ?? SavedBy.LayerOf(OperationObserver.Running, layers) ?? progress.Value!.Last;

    /// <summary>A tensor is saved in the so-manieth forward pass.</summary>
    public void Begin(int pass) => progress.Value!.Begin(pass);

    /// <summary>
    /// The layer of which a saved tensor is a parameter or buffer, or a view of one: then the model runs. Null where it is none.
    /// </summary>
    public Layer? OfParameter(Tensor tensor)
    {
        if (layers.OfParameter(StorageReference.AddressOf(tensor)) is not { } layer) return null;
        return Uses(layer);
    }

    Layer Uses(Layer layer)
    {
        progress.Value!.Uses(layer, layers.Learns(layer), layers.WithParameters);
        return layer;
    }

    /// <summary>Another model's parameter was saved.</summary>
    public void LeavesModel() => progress.Value!.LeavesModel();

    /// <summary>The layer to which belongs what an operation saves now; null where it is not the model's, or a loss.</summary>
    public Layer? LayerOf(Operation operation)
    {
        var here = progress.Value!;
        if (SavedBy.LayerOf(OperationObserver.Running, layers) is { } withParameters) return Uses(withParameters);
        if (watch.RunsModel)
        {
            var current = watch.Current!;
            if (OperationObserver.Refusal is not null || (current.Name.Length > 0 && layers.IsWithoutParameters(current))) return current;
        }
        else if (!here.ModelRuns || here.IsPastTheLastLayer(layers.WithParameters, layers.LastWithParameters)) return null;
        return layers.WithoutParameters(here.Last, Operations.NamedBy(OperationObserver.Running, operation));
    }

    public void Dispose() => progress.Dispose();
}
