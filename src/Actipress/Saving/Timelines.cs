namespace Actipress.Saving;

/// <summary>The timelines that now record the maps of a store.</summary>
sealed class Timelines
{
    volatile MemoryTimeline[] running = [];

    public void Add(MemoryTimeline timeline) => running = [.. running, timeline];

    public void Remove(MemoryTimeline timeline) => running = [.. running.Where(other => other != timeline)];

    /// <summary>Ends every timeline.</summary>
    public void End()
    {
        foreach (var timeline in running) timeline.Dispose();
    }

    public void Saved(SavedMap map)
    {
        foreach (var timeline in running) timeline.Saved(map, map.Storage.Data);
    }

    public void Holds(SavedMap map, Layer layer)
    {
        foreach (var timeline in running) timeline.Holds(map, layer.Name);
    }

    public void Rebuilt(SavedMap map, nint data)
    {
        foreach (var timeline in running) timeline.Rebuilt(map, data);
    }

    public void Released(SavedMap map)
    {
        foreach (var timeline in running) timeline.Released(map);
    }
}
