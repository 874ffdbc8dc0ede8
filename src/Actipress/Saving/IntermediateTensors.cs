using System.Linq.Expressions;
using System.Reflection;
using System.Runtime.ExceptionServices;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// Disposes the tensors that each module of a model makes in its forward pass and does not return, by a dispose scope around each
/// <c>call</c>.
/// </summary>
/// <remarks>
/// TorchSharp's pre-hook opens the scope, and its hook closes it. No hook runs where a forward pass throws. Such a scope stays the
/// thread's current one, so two kinds of tensors are in it when the model runs next: those that the failed pass made, which are
/// disposed, and those that the thread has made since, which belong to the scope around it. What a scope had when an exception was
/// thrown tells them apart.
/// </remarks>
sealed class IntermediateTensors : IDisposable
{
    readonly ThreadLocal<Running> running = new(() => new Running(), trackAllValues: true);
    readonly List<Action> removers = [];
    volatile bool disposed;

    public IntermediateTensors(ModelLayers layers)
    {
        foreach (var layer in layers.All.Where(layer => layers.Of(layer.Module!) == layer))
        {
            var part = new Part(layer, layers);
            if (ForwardHooks.Before(layer.Module!, () => Enter(part)) is not { } before) continue;
            removers.Add(before);
            if (AfterWithResult(layer.Module!, result => Leave(part, result)) is { } after) removers.Add(after);
        }
        AppDomain.CurrentDomain.FirstChanceException += Thrown;
    }

    /// <summary>The open calls on one thread, the innermost last.</summary>
    sealed class Running
    {
        public List<Call> Calls { get; } = [];

        /// <summary>Whether an exception was thrown since the last hook. One of the calls may then have ended without its hook.</summary>
        public bool HasThrown { get; set; }
    }

    sealed class Call(Part part, DisposeScope scope)
    {
        public Part Part => part;
        public DisposeScope Scope => scope;
        public IReadOnlyList<IDisposable> MadeBeforeThrow { get; set; } = [];
    }

    /// <summary>A module with all modules below it.</summary>
    sealed class Part
    {
        readonly HashSet<nn.Module> modules;
        readonly (Layer Layer, FieldInfo Field)[] fields;

        public Part(Layer layer, ModelLayers layers)
        {
            Layer = layer;
            modules = new(layer.Module!.modules(), ReferenceEqualityComparer.Instance) { layer.Module };
            fields = [.. modules.Select(layers.Of).OfType<Layer>()
                .SelectMany(below => TensorsIn.FieldsOf(below.Module!).Select(field => (below, field)))];
        }

        public Layer Layer { get; }

        public bool IsModel => Layer.Name.Length == 0;

        public bool Contains(Part other) => modules.Contains(other.Layer.Module!);

        /// <summary>The module's parameters and buffers, including those that the forward pass made.</summary>
        public IEnumerable<IDisposable> Own => Layer.Module!.parameters().Concat<IDisposable>(Layer.Module.buffers());

        /// <summary>The tensors that fields of the modules hold.</summary>
        public IEnumerable<(Layer Layer, FieldInfo Field, IDisposable Held)> Held() =>
            fields.SelectMany(at => TensorsIn.Value(at.Field.GetValue(at.Layer.Module)).Found.Select(held => (at.Layer, at.Field, held)));
    }

    void Enter(Part part)
    {
        var here = running.Value!;
        if (part.IsModel) EndAll(here);    // the model itself is never inside one of its calls
        while (here.HasThrown && here.Calls.Count > 0 && !here.Calls[^1].Part.Contains(part)) HandOver(here);
        GoesOn(here);
        here.Calls.Add(new(part, NewDisposeScope()));
    }

    void Leave(Part part, object? result)
    {
        var here = running.Value!;
        var at = here.Calls.FindLastIndex(call => call.Part == part);
        if (at < 0) return;
        while (here.Calls.Count > at + 1) HandOver(here);    // calls inside this one have thrown
        var scope = here.Calls[at].Scope;
        here.Calls.RemoveAt(at);
        GoesOn(here);
        try
        {
            if (scope.DisposablesCount > 0) Keep(part, result, scope);
        }
        finally { scope.Dispose(); }
    }

    static void Keep(Part part, object? result, DisposeScope scope)
    {
        var returned = TensorsIn.Value(result);
        scope.MoveToOuter(returned.IsOpaque ? scope.DisposablesView : returned.Found);
        scope.MoveToOuter(part.Own);
        if (scope.DisposablesCount == 0) return;
        var held = part.Held().Where(at => scope.Contains(at.Held)).ToList();
        if (held.Count == 0) return;
        scope.MoveToOuter(held.Select(at => at.Held));
        var (layer, field, first) = held[0];
        var pass = layer == part.Layer ? "its own forward pass" : $"the forward pass around it, of {Name(part.Layer, capital: false)}";
        throw new InvalidOperationException(
            $"{Name(layer)} keeps a tensor that was made in {pass}: found {Shape(first)} in its field '{NameOf(field)}', wanted none. "
            + $"{nameof(CompressionOptions)}.{nameof(CompressionOptions.DisposeIntermediates)} disposes what a call makes and does not "
            + "return. Call DetachFromDisposeScope() on the tensor where it is stored, return it, or leave the option off.");
    }

    static string Name(Layer layer, bool capital = true) =>
        layer.Name.Length == 0 ? $"{(capital ? "The" : "the")} model ({layer.Type})" : $"{(capital ? "Layer" : "layer")} {layer}";

    static string Shape(IDisposable held) =>
        held is Tensor tensor ? $"one of {tensor.dtype} [{string.Join(", ", tensor.shape)}]" : $"a {held.GetType().Name}";

    // The compiler calls the field of a property <Name>k__BackingField.
    static string NameOf(FieldInfo field) => field.Name.StartsWith('<') ? field.Name[1..field.Name.IndexOf('>')] : field.Name;

    static void GoesOn(Running here)
    {
        if (!here.HasThrown) return;
        here.HasThrown = false;
        foreach (var call in here.Calls) call.MadeBeforeThrow = [];
    }

    // Ends the innermost call, and moves its tensors to the scope around it.
    static void HandOver(Running here)
    {
        var scope = here.Calls[^1].Scope;
        here.Calls.RemoveAt(here.Calls.Count - 1);
        scope.MoveToOuter(scope.DisposablesView);
        scope.Dispose();
    }

    static void EndAll(Running here)
    {
        while (here.Calls.Count > 0)
        {
            var last = here.Calls[^1];
            if (last.MadeBeforeThrow.Count > 0)
            {
                var held = last.Part.Held().Select(at => at.Held).Concat(last.Part.Own).ToHashSet(ReferenceEqualityComparer.Instance);
                foreach (var made in last.MadeBeforeThrow)
                    if (last.Scope.Contains(made) && !held.Contains(made)) made.Dispose();
            }
            HandOver(here);
        }
    }

    void Thrown(object? sender, FirstChanceExceptionEventArgs exception)
    {
        if (disposed || !running.IsValueCreated) return;
        var here = running.Value!;
        if (here.HasThrown || here.Calls.Count == 0) return;
        here.HasThrown = true;
        foreach (var call in here.Calls) call.MadeBeforeThrow = call.Scope.DisposablesView;
    }

    // A hook that has the module's own type, for any argument and result.
    static Action? AfterWithResult(nn.Module module, Action<object?> action)
    {
        for (var type = module.GetType(); type is not null; type = type.BaseType)
        {
            if (!type.IsGenericType || type.GetGenericTypeDefinition() != typeof(nn.HookableModule<,>)) continue;
            var hook = type.GenericTypeArguments[1];
            var arguments = hook.GetMethod("Invoke")!.GetParameters()
                .Select(parameter => Expression.Parameter(parameter.ParameterType)).ToArray();
            var result = arguments[^1];
            var body = Expression.Block(Expression.Invoke(Expression.Constant(action), Expression.Convert(result, typeof(object))), result);
            var remover = type.GetMethod("register_forward_hook", [hook])!
                .Invoke(module, [Expression.Lambda(hook, body, arguments).Compile()])!;
            return () => remover.GetType().GetMethod("remove")!.Invoke(remover, null);
        }
        return null;
    }

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        AppDomain.CurrentDomain.FirstChanceException -= Thrown;
        foreach (var remove in removers) remove();
        removers.Clear();
        foreach (var here in running.Values) EndAll(here);
        running.Dispose();
    }
}
