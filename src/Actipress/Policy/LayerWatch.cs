using Actipress.Autograd;

namespace Actipress;

/// <summary>
/// Knows which layer of a model is running on this thread, by TorchSharp's forward pre-hooks and hooks. They fire for
/// <c>call</c>, not for <c>forward</c>. What a checkpoint runs again in the backward pass is no forward pass to it.
/// </summary>
sealed class LayerWatch : IDisposable
{
    readonly ThreadLocal<Stack<Layer>> running = new(() => new Stack<Layer>());
    readonly List<Action> removers = [];
    readonly Action entered, left;

    /// <param name="model">The model to watch.</param>
    /// <param name="entered">Called when the outermost layer starts on this thread.</param>
    /// <param name="left">Called when it ends.</param>
    public LayerWatch(torch.nn.Module model, Action entered, Action left)
    {
        (this.entered, this.left) = (entered, left);
        var root = new Layer("", model);
        Layers = [root, .. model.named_modules().Where(named => !ReferenceEquals(named.module, model)).Select(named => new Layer(named.name, named.module))];
        foreach (var layer in Layers)
        {
            if (ForwardHooks.Before(layer.Module!, () => Enter(layer)) is { } before) removers.Add(before);
            if (ForwardHooks.After(layer.Module!, () => Leave(layer)) is { } after) removers.Add(after);
        }
    }

    /// <summary>All layers of the model, itself first.</summary>
    public IReadOnlyList<Layer> Layers { get; }

    /// <summary>The innermost layer that runs on this thread; null for none.</summary>
    public Layer? Current => running.Value!.TryPeek(out var layer) ? layer : null;

    /// <summary>Whether the model itself has been run by <c>call</c>.</summary>
    public bool RootCalled { get; private set; }

    /// <summary>The layer that <paramref name="module"/> is; null where it is none of the model.</summary>
    public Layer? Of(torch.nn.Module module) => Layers.FirstOrDefault(layer => ReferenceEquals(layer.Module, module));

    void Enter(Layer layer)
    {
        if (SavedTensorsScope.RunsApart) return;
        var stack = running.Value!;
        if (layer.Name.Length == 0)
        {
            // A forward pass that threw has left its layers behind: the model itself is never inside one of them.
            if (stack.Count > 0)
            {
                stack.Clear();
                left();
            }
            RootCalled = true;
        }
        stack.Push(layer);
        if (stack.Count == 1) entered();
    }

    void Leave(Layer layer)
    {
        if (SavedTensorsScope.RunsApart) return;
        var stack = running.Value!;
        if (!stack.Contains(layer)) return;
        while (!ReferenceEquals(stack.Pop(), layer)) { }
        if (stack.Count == 0) left();
    }

    public void Dispose()
    {
        foreach (var remove in removers) remove();
        removers.Clear();
        running.Dispose();
    }
}
