using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>
/// Knows when the model runs on this thread, and which of its layers, by TorchSharp's forward pre-hooks and hooks. The hooks fire for
/// <c>call</c>, and not for <c>forward</c>. The second run of a checkpoint's block in the backward pass does not count as a forward pass.
/// </summary>
sealed class LayerWatch : IDisposable
{
    readonly ThreadLocal<Stack<Layer>> running = new(() => new Stack<Layer>());
    readonly List<Action> removers = [];
    readonly Action<Layer> entered, left;

    /// <param name="layers">The layers of the model to watch.</param>
    /// <param name="entered">
    /// Called with the outermost layer when it starts on this thread: the model, or a part of it that runs by itself.
    /// </param>
    /// <param name="left">Called with the same layer when it ends.</param>
    public LayerWatch(ModelLayers layers, Action<Layer> entered, Action<Layer> left)
    {
        (this.entered, this.left) = (entered, left);
        foreach (var layer in layers.All)
        {
            if (ForwardHooks.Before(layer.Module!, () => Enter(layer)) is { } before) removers.Add(before);
            if (ForwardHooks.After(layer.Module!, () => Leave(layer)) is { } after) removers.Add(after);
        }
    }

    /// <summary>The innermost layer that runs on this thread; null for none.</summary>
    public Layer? Current => running.Value!.TryPeek(out var layer) ? layer : null;

    /// <summary>Whether the model itself runs on this thread, by <c>call</c>.</summary>
    public bool RunsModel => running.Value is { Count: > 0 } stack && stack.Last().Name.Length == 0;

    void Enter(Layer layer)
    {
        if (SavedTensorsScope.RunsApart) return;
        var stack = running.Value!;
        if (layer.Name.Length == 0 && stack.Count > 0)
        {
            // A forward pass that threw has left its layers in the list. The model itself is never inside one of them.
            var outermost = stack.Last();
            stack.Clear();
            left(outermost);
        }
        stack.Push(layer);
        if (stack.Count == 1) entered(layer);
    }

    void Leave(Layer layer)
    {
        if (SavedTensorsScope.RunsApart) return;
        var stack = running.Value!;
        if (!stack.Contains(layer)) return;
        while (!ReferenceEquals(stack.Pop(), layer)) { }
        if (stack.Count == 0) left(layer);
    }

    public void Dispose()
    {
        foreach (var remove in removers) remove();
        removers.Clear();
        running.Dispose();
    }
}
