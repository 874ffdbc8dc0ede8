using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// The parameters of a checkpoint's modules after the first run. The second run computes with the current parameters. A parameter that has
/// changed between the runs would give wrong gradients, also where the block does not save it: a bias, an embedding's table, or the weight
/// of a first Linear, whose input wants no gradient.
/// </summary>
sealed class KnownParameters
{
    readonly (Tensor Parameter, nint Storage, long Version)[] parameters;

    KnownParameters((Tensor, nint, long)[] parameters) => this.parameters = parameters;

    /// <summary>The current parameters of <paramref name="modules"/>.</summary>
    public static KnownParameters Of(IEnumerable<nn.Module> modules) =>
        new([.. Living(modules).Select(parameter => (parameter, StorageReference.AddressOf(parameter), LibTorch.Version(parameter)))]);

    static IEnumerable<Tensor> Living(IEnumerable<nn.Module> modules) =>
        modules.SelectMany(module => module.parameters()).Where(parameter => !parameter.IsInvalid);

    /// <summary>How the first changed parameter differs; null where no parameter has changed.</summary>
    /// <param name="modules">The same modules again.</param>
    public string? Difference(IReadOnlyList<nn.Module> modules)
    {
        var now = Living(modules).ToArray();
        if (now.Length != parameters.Length)
            return $"the modules have {now.Length} parameters, and had {parameters.Length} in the forward pass";
        foreach (var ((then, storage, version), parameter) in parameters.Zip(now))
        {
            // The parameter of the first run is held here, so that no other parameter can have its storage.
            if (!ReferenceEquals(parameter, then) || StorageReference.AddressOf(parameter) != storage)
                return $"{Name(parameter)} has been replaced since the forward pass";
            if (LibTorch.Version(parameter) is var found && found != version)
                return $"{Name(parameter)} has been changed since the forward pass, as by an optimizer.step() between forward and "
                    + $"backward: found version {found}, wanted {version}";
        }
        return null;

        string Name(Tensor parameter)
        {
            var module = modules.First(module => module.parameters().Any(own => ReferenceEquals(own, parameter)));
            return $"parameter {module.named_parameters().First(own => ReferenceEquals(own.parameter, parameter)).name} of a "
                + $"{module.GetType().Name}";
        }
    }
}
