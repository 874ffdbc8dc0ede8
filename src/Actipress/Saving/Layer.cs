using System.IO.Enumeration;

namespace Actipress;

/// <summary>One layer of a model: a module and its name in the model, as in its state dictionary.</summary>
/// <param name="Name">
/// The dotted path, such as <c>layer1.0.conv1</c>; empty for the model itself; <c>after layer1.0.conv1</c> for operations without
/// parameters that save after that layer and whose module is not known.
/// </param>
/// <param name="Module">The module; null where none is known.</param>
public sealed record Layer(string Name, torch.nn.Module? Module)
{
    /// <summary>The layer of saved tensors where no layer is known, as in <see cref="SavedTensors.Compress(ActivationCodec)"/>.</summary>
    internal static readonly Layer Unknown = new("(no layer known)", null);

    /// <summary>The layer of tensors that operations save in a model before any of its layers with parameters has run.</summary>
    internal static readonly Layer First = new("(before the first layer)", null);

    /// <summary>
    /// The layer of tensors that operations without parameters save after <paramref name="layer"/>, where no module of theirs is known.
    /// </summary>
    internal static Layer After(Layer layer) => new($"after {layer.Name}", null) { Path = layer.Name };

    /// <summary>The layer's place in the model, which patterns are compared with.</summary>
    internal string Path { get; private init; } = Name;

    /// <summary>The module's type as TorchSharp names it, such as <c>Conv2d</c>; empty where no module is known.</summary>
    public string Type => Module?.GetType().Name ?? "";

    /// <summary>Whether the layer's module is a <typeparamref name="T"/>.</summary>
    public bool Is<T>() where T : torch.nn.Module => Module is T;

    /// <summary>
    /// Whether the name is <paramref name="pattern"/>, lies below it, or matches it with <c>*</c> and <c>?</c> as wildcards. Tensors that
    /// are saved after a layer belong to the layer.
    /// </summary>
    public bool Matches(string pattern)
    {
        ArgumentNullException.ThrowIfNull(pattern);
        return Path == pattern || Path.StartsWith(pattern + ".", StringComparison.Ordinal)
            || FileSystemName.MatchesSimpleExpression(pattern, Path, ignoreCase: false);
    }

    /// <inheritdoc/>
    public override string ToString() => (Name, Type) switch
    {
        (_, "") => Name,
        ("", _) => Type,
        _ => $"{Name} ({Type})",
    };
}
