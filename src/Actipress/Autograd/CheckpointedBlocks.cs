using System.Reflection;
using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>Runs parts of a model as checkpoints, by TorchSharp's forward pre-hooks and hooks: they fire around <c>forward</c> under <c>call</c>.</summary>
sealed class CheckpointedBlocks : IDisposable
{
    readonly ThreadLocal<Stack<(nn.Module Block, IDisposable? Run)>> running = new(() => new());
    readonly List<Action> removers = [];

    public CheckpointedBlocks(nn.Module model, string[] names)
    {
        var parts = model.named_modules().Where(named => !ReferenceEquals(named.module, model)).ToDictionary(named => named.name, named => named.module);
        foreach (var name in names)
            if (!parts.TryGetValue(name, out var part) || OneInput(part) is null)
                throw new ArgumentException(
                    $"Cannot make a checkpoint of '{name}': wanted a part of the model that takes one tensor, found {(part is null ? "none of this name" : $"a {part.GetType().Name}")}. " +
                    $"Those that can be: {string.Join(", ", parts.Where(other => OneInput(other.Value) is not null).Select(other => other.Key))}.");

        // A forward pass that threw has left its blocks behind: the model itself is never inside one of them.
        if (ForwardHooks.Before(model, CloseAll) is { } remover) removers.Add(remover);
        foreach (var name in names)
            GetType().GetMethod(nameof(Register), BindingFlags.NonPublic | BindingFlags.Instance)!.MakeGenericMethod(OneInput(parts[name])!).Invoke(this, [parts[name]]);
    }

    // TResult of a Module<Tensor, TResult>; null for any other.
    static Type? OneInput(nn.Module module)
    {
        for (var type = module.GetType(); type is not null; type = type.BaseType)
            if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(nn.Module<,>))
                return type.GenericTypeArguments[0] == typeof(Tensor) ? type.GenericTypeArguments[1] : null;
        return null;
    }

    void Register<TResult>(nn.Module<Tensor, TResult> block)
    {
        var before = block.register_forward_pre_hook((_, x) =>
        {
            running.Value!.Push((block, CheckpointFrame.Start(block, [block], inputs => block.forward(inputs[0]!), [x])));
            return x;
        });
        var after = block.register_forward_hook((_, _, y) =>
        {
            CloseUpTo(block);
            return y;
        });
        removers.Add(before.remove);
        removers.Add(after.remove);
    }

    void CloseUpTo(nn.Module block)
    {
        var stack = running.Value!;
        if (!stack.Any(open => ReferenceEquals(open.Block, block))) return;
        while (true)
        {
            var (closed, run) = stack.Pop();
            run?.Dispose();
            if (ReferenceEquals(closed, block)) return;
        }
    }

    void CloseAll()
    {
        while (running.Value!.TryPop(out var open)) open.Run?.Dispose();
    }

    public void Dispose()
    {
        if (removers.Count == 0) return;
        foreach (var remove in removers) remove();
        removers.Clear();
        CloseAll();
        running.Dispose();
    }
}
