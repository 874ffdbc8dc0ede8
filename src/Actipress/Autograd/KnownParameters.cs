namespace Actipress.Autograd;

/// <summary>
/// The parameters of a checkpoint's modules as the first run left them. The second run computes with the parameters as they are then, so a
/// parameter that has changed in between gives wrong gradients, also where the block saves none of it: a bias, an embedding's table, or the
/// weight of a first Linear, whose input wants no gradient.
/// </summary>
sealed class KnownParameters
{
    readonly (string Name, Tensor Parameter, nint Storage, long Version)[] parameters;

    KnownParameters((string, Tensor, nint, long)[] parameters) => this.parameters = parameters;

    /// <summary>The parameters of <paramref name="modules"/> at this moment.</summary>
    public static KnownParameters Of(IEnumerable<torch.nn.Module> modules) =>
        new([.. Named(modules).Select(named => (named.Name, named.Parameter, StorageReference.AddressOf(named.Parameter), LibTorch.Version(named.Parameter)))]);

    static IEnumerable<(string Name, Tensor Parameter)> Named(IEnumerable<torch.nn.Module> modules) =>
        modules.SelectMany(module => module.named_parameters().Where(named => !named.parameter.IsInvalid).Select(named => ($"{named.name} of a {module.GetType().Name}", (Tensor)named.parameter)));

    /// <summary>How the first parameter that has changed differs; null where none has.</summary>
    /// <param name="modules">The same modules again.</param>
    public string? Difference(IEnumerable<torch.nn.Module> modules)
    {
        var now = Named(modules).ToArray();
        if (now.Length != parameters.Length) return $"the modules have {now.Length} parameters, and had {parameters.Length} in the forward pass";
        foreach (var (then, parameter) in parameters.Zip(now, (then, now) => (then, now.Parameter)))
        {
            if (!ReferenceEquals(parameter, then.Parameter) || StorageReference.AddressOf(parameter) != then.Storage)
                return $"parameter {then.Name} has been replaced since the forward pass";
            if (LibTorch.Version(parameter) is var version && version != then.Version)
                return $"parameter {then.Name} has been changed since the forward pass, as by an optimizer.step() between forward and backward: found version {version}, wanted {then.Version}";
        }
        return null;
    }
}
