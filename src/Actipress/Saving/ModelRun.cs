using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>
/// Distinguishes the tensors that a model saves in its forward passes from those that other code saves on the same thread, and finds the
/// layer that they belong to.
/// </summary>
sealed class ModelRun(ModelLayers layers, LayerWatch watch) : IDisposable
{
    readonly ThreadLocal<ForwardProgress> progress = new(() => new ForwardProgress());

    public ModelLayers Layers => layers;

    /// <summary>The layer that runs now on this thread, as far as it is known.</summary>
    public Layer? Current => watch.Current ?? SavedBy.LayerOf(OperationObserver.Running, layers) ?? progress.Value!.Last;

    /// <summary>Called when a tensor is saved in the forward pass of this number.</summary>
    public void Begin(int pass) => progress.Value!.Begin(pass);

    /// <summary>
    /// The layer whose parameter or buffer a saved tensor is, or is a view of; null for none. Where there is one, the model runs.
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

    /// <summary>Called when another model's parameter was saved.</summary>
    public void LeavesModel() => progress.Value!.LeavesModel();

    /// <summary>
    /// The layer of a tensor that an operation saves now; null where the tensor belongs to a loss or to no part of the model.
    /// </summary>
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
