using System.Collections.Concurrent;
using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>
/// The layers of a model, and the layer that a saved tensor belongs to. A layer with parameters is identified by the parameter that an
/// operation uses, however the layer is run.
/// </summary>
sealed class ModelLayers
{
    readonly torch.nn.Module model;
    readonly Dictionary<torch.nn.Module, Layer> byModule = new(ReferenceEqualityComparer.Instance);
    readonly Dictionary<(Layer, Operation), Layer> named = [];
    readonly HashSet<Layer> claimed = [];
    volatile Parameters parameters = new();

    // The table is exchanged as a whole, because a thread may begin a forward pass while other threads are within theirs.
    sealed class Parameters
    {
        public Dictionary<nint, Layer> ByStorage { get; } = [];
        public HashSet<Layer> Learning { get; } = [];
        public ConcurrentDictionary<Layer, bool> IsWithout { get; } = [];
    }

    public ModelLayers(torch.nn.Module model)
    {
        this.model = model;
        All =
        [
            new Layer("", model),
            .. model.named_modules().Where(named => !ReferenceEquals(named.module, model))
                .Select(named => new Layer(named.name, named.module)),
        ];
        foreach (var layer in All) byModule.TryAdd(layer.Module!, layer);
        LearnParameters();
    }

    /// <summary>All layers of the model in the order of registration. The first is the model itself.</summary>
    public IReadOnlyList<Layer> All { get; }

    /// <summary>The number of layers that have parameters of their own that learn.</summary>
    public int WithParameters => parameters.Learning.Count;

    /// <summary>Whether a layer has parameters of its own that learn.</summary>
    public bool Learns(Layer layer) => parameters.Learning.Contains(layer);

    /// <summary>The last registered layer with parameters that learn; null for none.</summary>
    public Layer? LastWithParameters { get; private set; }

    /// <summary>Updates the storages of the parameters and buffers. Moving a model to a device gives them new storages.</summary>
    public void LearnParameters()
    {
        var found = new Parameters();
        foreach (var one in All)
        {
            foreach (var (_, parameter) in one.Module!.named_parameters(recurse: false))
                if (Add(parameter, one)) found.Learning.Add(one);
            foreach (var (_, buffer) in one.Module!.named_buffers(recurse: false)) Add(buffer, one);
        }
        parameters = found;
        var last = model;
        while (last.named_children().Select(child => child.module)
            .LastOrDefault(child => child.parameters().Any(parameter => parameter.requires_grad)) is { } below)
            last = below;
        LastWithParameters = Of(last) is { } layer && found.Learning.Contains(layer) ? layer : null;

        bool Add(Tensor tensor, Layer layer) =>
            !tensor.IsInvalid && found.ByStorage.TryAdd(StorageReference.AddressOf(tensor), layer) && tensor.requires_grad;
    }

    /// <summary>The layer whose parameter or buffer has its data in this storage; null for none.</summary>
    public Layer? OfParameter(nint storage) => parameters.ByStorage.GetValueOrDefault(storage);

    /// <summary>The layer of a module; null where the module is not part of the model.</summary>
    public Layer? Of(torch.nn.Module module) => byModule.GetValueOrDefault(module);

    /// <summary>Whether neither the layer nor one below it has parameters.</summary>
    public bool IsWithoutParameters(Layer layer)
    {
        var known = parameters;
        return known.IsWithout.GetOrAdd(layer, _ => !known.Learning.Any(other =>
            other == layer || layer.Name.Length == 0 || other.Name.StartsWith(layer.Name + ".", StringComparison.Ordinal)));
    }

    /// <summary>
    /// The layer of an operation without parameters. It is the module whose forward pass is the operation, as far as the order of
    /// registration tells; else the place after the preceding layer.
    /// </summary>
    /// <param name="before">The last layer with parameters; null for none.</param>
    /// <param name="operation">The operation that saves.</param>
    public Layer WithoutParameters(Layer? before, Operation operation)
    {
        if (before is null) return Layer.First;
        if (named.TryGetValue((before, operation), out var known)) return known;
        var modules = Operations.ModulesOf(operation);
        return named[(before, operation)] = (modules.Length == 0 ? null : Following(before, modules)) ?? Layer.After(before);
    }

    // The search goes from the layer's own parent up to the model. It takes the first module of a fitting type among the modules without
    // parameters that were registered right after the layer; else the only one that the parent has.
    Layer? Following(Layer before, string[] types)
    {
        for (var at = before.Name; at.Length > 0;)
        {
            var dot = at.LastIndexOf('.');
            var parent = dot < 0 ? "" : at[..dot];
            var children =
                All.Where(layer => layer.Name.Length > parent.Length && ParentOf(layer.Name) == parent && layer.Name.Length > 0).ToList();
            var start = children.FindIndex(child => child.Name == at);
            var fitting = children.Where(Fits).ToList();
            if (fitting.Count == 1) return fitting[0];
            var found =
                children.Skip(start + 1).TakeWhile(IsWithoutParameters).FirstOrDefault(layer => Fits(layer) && !claimed.Contains(layer))
                    ?? fitting.FirstOrDefault(layer => !claimed.Contains(layer));
            if (found is not null) claimed.Add(found);
            if (fitting.Count > 0) return found;
            // Where layers with parameters follow in the parent, the parent has not ended yet.
            if (children.Skip(start + 1).Any(layer => !IsWithoutParameters(layer))) return null;
            at = parent;
        }
        return null;

        bool Fits(Layer layer) => types.Contains(layer.Type);
        static string ParentOf(string name) => name.LastIndexOf('.') is >= 0 and var dot ? name[..dot] : "";
    }
}
