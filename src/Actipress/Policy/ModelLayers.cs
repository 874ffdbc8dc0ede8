using Actipress.Autograd;

namespace Actipress;

/// <summary>
/// The layers of a model, and which of them a saved tensor belongs to: a layer with parameters is known by the parameter that an
/// operation uses, however it is run.
/// </summary>
sealed class ModelLayers
{
    readonly torch.nn.Module model;
    readonly Dictionary<torch.nn.Module, Layer> byModule = new(ReferenceEqualityComparer.Instance);
    readonly Dictionary<(Layer, Operation), Layer> named = [];
    readonly HashSet<Layer> claimed = [];
    readonly HashSet<Layer> withParameters = [];
    readonly Dictionary<Layer, bool> isWithout = [];
    Dictionary<nint, Layer> byParameter = [];

    public ModelLayers(torch.nn.Module model)
    {
        this.model = model;
        All = [new Layer("", model), .. model.named_modules().Where(named => !ReferenceEquals(named.module, model)).Select(named => new Layer(named.name, named.module))];
        foreach (var layer in All) byModule.TryAdd(layer.Module!, layer);
        LearnParameters();
    }

    /// <summary>All layers of the model, itself first, in the order of registration.</summary>
    public IReadOnlyList<Layer> All { get; }

    /// <summary>How many layers have parameters of their own.</summary>
    public int WithParameters { get; private set; }

    /// <summary>The one of them that was registered last; null for none.</summary>
    public Layer? LastWithParameters { get; private set; }

    /// <summary>Learns where the parameters and buffers lie now: moving a model to a device gives them new storages.</summary>
    public void LearnParameters()
    {
        var found = new Dictionary<nint, Layer>();
        withParameters.Clear();
        isWithout.Clear();
        WithParameters = 0;
        foreach (var layer in All)
        {
            var own = false;
            foreach (var (_, parameter) in layer.Module!.named_parameters(recurse: false)) own |= Add(parameter, layer);
            foreach (var (_, buffer) in layer.Module!.named_buffers(recurse: false)) Add(buffer, layer);
            if (!own) continue;
            WithParameters++;
            withParameters.Add(layer);
        }
        byParameter = found;
        var last = model;
        while (last.named_children().Select(child => child.module).LastOrDefault(child => child.parameters().Any(parameter => parameter.requires_grad)) is { } below) last = below;
        LastWithParameters = withParameters.Contains(Of(last)!) ? Of(last) : null;

        bool Add(Tensor tensor, Layer layer) => !tensor.IsInvalid && found.TryAdd(StorageReference.AddressOf(tensor), layer) && tensor.requires_grad;
    }

    /// <summary>The layer whose parameter or buffer has its data in this storage; null where none has.</summary>
    public Layer? OfParameter(nint storage) => byParameter.GetValueOrDefault(storage);

    /// <summary>The layer that a module is; null where it is none of the model.</summary>
    public Layer? Of(torch.nn.Module module) => byModule.GetValueOrDefault(module);

    /// <summary>Whether neither the layer nor one below it has parameters.</summary>
    public bool IsWithoutParameters(Layer layer)
    {
        if (!isWithout.TryGetValue(layer, out var without))
            isWithout.Add(layer, without = !withParameters.Any(other => other == layer || layer.Name.Length == 0 || other.Name.StartsWith(layer.Name + ".", StringComparison.Ordinal)));
        return without;
    }

    /// <summary>
    /// The layer of an operation without parameters: the module whose forward pass it is, as far as the order of registration tells; else
    /// what comes after the layer before it.
    /// </summary>
    /// <param name="before">The last layer with parameters; null for none.</param>
    /// <param name="operation">What saves.</param>
    public Layer WithoutParameters(Layer? before, Operation operation)
    {
        if (before is null) return Layer.First;
        if (named.TryGetValue((before, operation), out var known)) return known;
        var modules = Operations.ModulesOf(operation);
        return named[(before, operation)] = (modules.Length == 0 ? null : Following(before, modules)) ?? Layer.After(before);
    }

    // From the layer's own parent to the model: the first module of a fitting type among the modules without parameters that were registered
    // right after it; else the only one that the parent has.
    Layer? Following(Layer before, string[] types)
    {
        for (var at = before.Name; at.Length > 0;)
        {
            var dot = at.LastIndexOf('.');
            var parent = dot < 0 ? "" : at[..dot];
            var children = All.Where(layer => layer.Name.Length > parent.Length && ParentOf(layer.Name) == parent && layer.Name.Length > 0).ToList();
            var start = children.FindIndex(child => child.Name == at);
            var fitting = children.Where(Fits).ToList();
            if (fitting.Count == 1) return fitting[0];
            var found = children.Skip(start + 1).TakeWhile(IsWithoutParameters).FirstOrDefault(layer => Fits(layer) && !claimed.Contains(layer)) ?? fitting.FirstOrDefault(layer => !claimed.Contains(layer));
            if (found is not null) claimed.Add(found);
            if (fitting.Count > 0) return found;
            // Where layers with parameters follow in the parent, it has not ended yet.
            if (children.Skip(start + 1).Any(layer => !IsWithoutParameters(layer))) return null;
            at = parent;
        }
        return null;

        bool Fits(Layer layer) => types.Contains(layer.Type);
        static string ParentOf(string name) => name.LastIndexOf('.') is >= 0 and var dot ? name[..dot] : "";
    }
}
