using System.Reflection;

namespace Actipress;

/// <summary>
/// Knows which layer of a model is running on this thread, by TorchSharp's forward pre-hooks and hooks. They fire for
/// <c>call</c>, not for <c>forward</c>.
/// </summary>
sealed class LayerWatch : IDisposable
{
    readonly ThreadLocal<Stack<Layer>> running = new(() => new Stack<Layer>());
    readonly List<object> removers = [];
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
            Register(layer, "register_forward_pre_hook", _ => Enter(layer));
            Register(layer, "register_forward_hook", _ => Leave(layer));
        }
    }

    /// <summary>All layers of the model, itself first.</summary>
    public IReadOnlyList<Layer> Layers { get; }

    /// <summary>The innermost layer that runs on this thread; null for none.</summary>
    public Layer? Current => running.Value!.TryPeek(out var layer) ? layer : null;

    /// <summary>Whether the model itself has been run by <c>call</c>.</summary>
    public bool RootCalled { get; private set; }

    void Enter(Layer layer)
    {
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
        var stack = running.Value!;
        if (!stack.Contains(layer)) return;
        while (!ReferenceEquals(stack.Pop(), layer)) { }
        if (stack.Count == 0) left();
    }

    // The hooks that fit every module are members of the generic HookableModule<,>, which has no common base that offers them.
    // Containers without a forward of their own (ModuleList, ModuleDict) have none.
    void Register(Layer layer, string method, Action<torch.nn.Module> hook)
    {
        var register = layer.Module!.GetType().GetMethod(method, BindingFlags.Public | BindingFlags.Instance, [typeof(Action<torch.nn.Module>)]);
        if (register?.Invoke(layer.Module, [hook]) is { } remover) removers.Add(remover);
    }

    public void Dispose()
    {
        foreach (var remover in removers) remover.GetType().GetMethod("remove")!.Invoke(remover, null);
        removers.Clear();
        running.Dispose();
    }
}
