using System.Linq.Expressions;
using System.Reflection;
using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// Runs parts of a model as checkpoints by TorchSharp's forward pre-hooks and hooks, which fire around <c>forward</c> under <c>call</c>.
/// </summary>
sealed class CheckpointedBlocks : IDisposable
{
    // The generic types of TorchSharp's modules that have a forward function, by the number of their inputs.
    static readonly Type[] moduleTypes =
    [
        typeof(nn.Module<,>), typeof(nn.Module<,,>), typeof(nn.Module<,,,>), typeof(nn.Module<,,,,>), typeof(nn.Module<,,,,,>),
        typeof(nn.Module<,,,,,,>),
    ];

    readonly ThreadLocal<Stack<(nn.Module Block, IDisposable? Run)>> running = new(() => new());
    readonly List<Action> removers = [];

    public CheckpointedBlocks(nn.Module model, string[] names)
    {
        var parts = model.named_modules().Where(named => !ReferenceEquals(named.module, model))
            .ToDictionary(named => named.name, named => named.module);
        foreach (var name in names)
            if (!parts.TryGetValue(name, out var part) || Forward.Of(part) is null)
                throw new ArgumentException(
                    $"Cannot make a checkpoint of '{name}': wanted a part of the model that takes tensors, beside numbers and the like, "
                        + $"found {(part is null ? "none of this name" : $"a {part.GetType().Name}")}. Those that can be: "
                        + $"{string.Join(", ", parts.Where(other => Forward.Of(other.Value) is not null).Select(other => other.Key))}.");

        // A forward pass that threw has left its blocks open. The model itself is never inside a block, so they end when it is called
        // again.
        if (ForwardHooks.Before(model, CloseAll) is { } remover) removers.Add(remover);
        foreach (var name in names)
        {
            var (block, forward) = (parts[name], Forward.Of(parts[name])!);
            removers.Add(forward.Before(block, arguments => running.Value!.Push((block, forward.Start(block, arguments)))));
            removers.Add(ForwardHooks.After(block, () => CloseUpTo(block))!);
        }
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

    /// <summary>The forward function of a module of any number of inputs, of which at least one is a tensor.</summary>
    sealed class Forward
    {
        readonly MethodInfo forward;
        readonly Type[] inputTypes;
        readonly int[] tensors;

        Forward(Type moduleType)
        {
            forward = moduleType.GetMethod("forward")!;
            inputTypes = moduleType.GenericTypeArguments[..^1];
            tensors = [.. Enumerable.Range(0, inputTypes.Length).Where(input => inputTypes[input] == typeof(Tensor))];
        }

        /// <summary>
        /// Null where the module has no forward function, or where an input may hold tensors inside, which could not be kept.
        /// </summary>
        public static Forward? Of(nn.Module module)
        {
            for (var type = module.GetType(); type is not null; type = type.BaseType)
                if (type.IsGenericType && moduleTypes.Contains(type.GetGenericTypeDefinition()))
                    return new Forward(type) is { tensors.Length: > 0 } found
                        && found.inputTypes.All(input => input == typeof(Tensor) || IsPlain(input))
                        ? found : null;
            return null;
        }

        static bool IsPlain(Type type) =>
            type.IsPrimitive || type.IsEnum || type == typeof(string) || (Nullable.GetUnderlyingType(type) is { } value && IsPlain(value));

        /// <summary>
        /// Starts a checkpoint's first run of the module on <paramref name="arguments"/>. Arguments that are no tensors are the same in the
        /// second run.
        /// </summary>
        public IDisposable? Start(nn.Module block, object?[] arguments)
        {
            Tensor?[] inputs = [.. tensors.Select(input => (Tensor?)arguments[input])];
            foreach (var input in tensors) arguments[input] = null;    // the checkpoint itself keeps the tensors
            return CheckpointFrame.Start(block, [block], again =>
            {
                var argumentsAgain = (object?[])arguments.Clone();
                foreach (var (input, tensor) in tensors.Zip(again)) argumentsAgain[input] = tensor;
                forward.Invoke(block, BindingFlags.DoNotWrapExceptions, null, argumentsAgain, null);
            }, inputs);
        }

        /// <summary>Calls <paramref name="action"/> with the module's arguments before each forward pass by <c>call</c>.</summary>
        /// <returns>Disposing this removes the hook.</returns>
        public Action Before(nn.Module block, Action<object?[]> action)
        {
            // (module, x1, x2, ...) => { action([x1, x2, ...]); return a value that leaves the inputs unchanged; }
            var register = forward.DeclaringType!.GetMethods().Single(method =>
                method.Name == "register_forward_pre_hook" && method.GetParameters()[0].ParameterType != typeof(Action<nn.Module>));
            var hookType = register.GetParameters()[0].ParameterType;
            var parameters = hookType.GenericTypeArguments[..^1].Select(type => Expression.Parameter(type)).ToArray();
            var call = Expression.Invoke(
                Expression.Constant(action),
                Expression.NewArrayInit(typeof(object), parameters[1..].Select(x => Expression.Convert(x, typeof(object)))));
            var unchanged = inputTypes.Length == 1 ? (Expression)parameters[1] : Expression.Default(hookType.GenericTypeArguments[^1]);
            var remover = register.Invoke(block, [Expression.Lambda(hookType, Expression.Block(call, unchanged), parameters).Compile()])!;
            return () => remover.GetType().GetMethod("remove")!.Invoke(remover, null);
        }
    }
}
