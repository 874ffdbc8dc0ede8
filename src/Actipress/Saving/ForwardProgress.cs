namespace Actipress.Saving;

/// <summary>
/// The progress of a forward pass on one thread: whether the model runs, which of its layers with parameters ran last, and whether that was
/// the last of all. A tensor that is saved after the last layer belongs to the model's end or to a loss, and under <c>forward</c> nothing
/// tells which.
/// </summary>
sealed class ForwardProgress
{
    readonly HashSet<Layer> seen = [];
    int uses;
    int? usesOfLastPass;

    /// <summary>Whether the last parameter that was used is the model's. Another model may run on the same thread.</summary>
    public bool ModelRuns { get; private set; }

    /// <summary>The last layer with parameters; null before the first.</summary>
    public Layer? Last { get; private set; }

    /// <summary>Numbers the forward passes of this thread.</summary>
    public int Pass { get; private set; }

    /// <summary>Called when the first tensor after a backward pass is saved: another forward pass begins.</summary>
    public void Begin(int pass)
    {
        if (pass == Pass) return;
        if (uses > 0) usesOfLastPass = uses;
        (Pass, uses, Last, ModelRuns) = (pass, 0, null, false);
        seen.Clear();
    }

    /// <summary>Called when a parameter or buffer of a layer is used.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="learns">
    /// Whether the layer has parameters that learn. A frozen layer may save nothing, so the end of the pass does not depend on it.
    /// </param>
    /// <param name="layersInAll">The number of layers that have parameters that learn.</param>
    public void Uses(Layer layer, bool learns, int layersInAll)
    {
        // The layers begin again: a model runs twice before its backward pass, or a cell runs for each step of a sequence.
        if (learns && seen.Count == layersInAll && layer != Last) seen.Clear();
        if (learns) seen.Add(layer);
        uses++;
        (Last, ModelRuns) = (layer, true);
    }

    /// <summary>Called when a parameter of another model is used.</summary>
    public void LeavesModel() => ModelRuns = false;

    /// <summary>
    /// Whether all layers that have parameters have run: as many uses as in the last pass, or each layer once in the first pass.
    /// </summary>
    public bool IsPastTheLastLayer(int layersInAll, Layer? registeredLast) =>
        usesOfLastPass is { } known
            ? uses >= known : (seen.Count >= layersInAll && layersInAll > 0) || (Last is not null && Last == registeredLast);
}
