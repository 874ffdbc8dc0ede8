namespace Actipress.Saving;

/// <summary>The maps of a GPU that are held raw while the GPU measures them, the earliest first.</summary>
/// <param name="settle">Gives a map its lasting form.</param>
sealed class DeferredMaps(Action<SavedMap, Layer, DeferredMap> settle)
{
    // The host may be ahead of the GPU by this number of maps.
    const int Most = 2;

    readonly Queue<(SavedMap Map, Layer Layer, DeferredMap Deferred)> waiting = new();

    public void Add(SavedMap map, Layer layer, DeferredMap deferred) => waiting.Enqueue((map, layer, deferred));

    /// <summary>Settles every measured map, and waits for the earliest one where more than <see cref="Most"/> are waiting.</summary>
    public void SettleMeasured()
    {
        while (waiting.TryPeek(out var first) && (waiting.Count > Most || first.Deferred.IsOver || first.Deferred.IsMeasured))
            SettleFirst();
    }

    public void SettleAll()
    {
        while (waiting.Count > 0) SettleFirst();
    }

    void SettleFirst()
    {
        using var noGradients = torch.no_grad();
        var (map, layer, deferred) = waiting.Dequeue();
        if (!deferred.IsOver) settle(map, layer, deferred);
    }
}
