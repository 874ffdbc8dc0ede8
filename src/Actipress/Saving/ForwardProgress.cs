namespace Actipress.Saving;

/// <summary>
/// How far a forward pass has come on one thread: whether the model runs, which of its layers with parameters ran last, and whether that
/// was the last of all. What is saved then is the model's own end or a loss, and under <c>forward</c> nothing tells which.
/// </summary>
sealed class ForwardProgress
{
    readonly HashSet<Layer> seen = [];
    int uses;
    int? usesOfLastPass;

    /// <summary>Whether the parameter that was used last is one of the model's: another model may run on the same thread.</summary>
    public bool ModelRuns { get; private set; }

    /// <summary>The last layer with parameters; null before the first.</summary>
    public Layer? Last { get; private set; }

    /// <summary>Numbers the passes of this thread.</summary>
    public int Pass { get; private set; }

    /// <summary>The first tensor after a backward pass is saved: another forward pass begins.</summary>
    public void Begin(int pass)
    {
        if (pass == Pass) return;
        if (uses > 0) usesOfLastPass = uses;
        (Pass, uses, Last, ModelRuns) = (pass, 0, null, false);
        seen.Clear();
    }

    /// <summary>A layer's parameter or buffer is used.</summary>
    /// <param name="layer">Which.</param>
    /// <param name="learns">Whether it has parameters that learn: a frozen layer may save nothing, so that nobody can wait for it.</param>
    /// <param name="layersInAll">How many of those there are.</param>
    public void Uses(Layer layer, bool learns, int layersInAll)
    {
        // Once more around: a model that runs twice before its backward pass, or a cell for each step of a sequence.
        if (learns && seen.Count == layersInAll && layer != Last) seen.Clear();
        if (learns) seen.Add(layer);
        uses++;
        (Last, ModelRuns) = (layer, true);
    }

    /// <summary>Another model's parameter is used.</summary>
    public void LeavesModel() => ModelRuns = false;

    /// <summary>
    /// Whether all layers that have parameters have run: as many uses as in the last pass, or in the first one each layer once.
    /// </summary>
    public bool IsPastTheLastLayer(int layersInAll, Layer? registeredLast) =>
        usesOfLastPass is { } known
            ? uses >= known : (seen.Count >= layersInAll && layersInAll > 0) || (Last is not null && Last == registeredLast);
}
