using System.IO.Enumeration;

namespace Actipress;

/// <summary>One layer of a model: a module and its name in the model, as in its state dictionary.</summary>
/// <param name="Name">The dotted path, such as <c>layer1.0.conv1</c>; empty for the model itself.</param>
/// <param name="Module">The module; null where autograd saved something outside any layer that was run by <c>call</c>.</param>
public sealed record Layer(string Name, torch.nn.Module? Module)
{
    /// <summary>What saved tensors belong to when no layer is known, as under <c>forward</c> instead of <c>call</c>.</summary>
    internal static readonly Layer Unknown = new("(no layer known)", null);

    /// <summary>The module's type as TorchSharp names it, such as <c>Conv2d</c>; empty where no layer is known.</summary>
    public string Type => Module?.GetType().Name ?? "";

    /// <summary>Whether the layer's module is a <typeparamref name="T"/>.</summary>
    public bool Is<T>() where T : torch.nn.Module => Module is T;

    /// <summary>Whether the name is <paramref name="pattern"/>, lies below it, or matches it with <c>*</c> and <c>?</c> as wildcards.</summary>
    public bool Matches(string pattern) =>
        Name == pattern || Name.StartsWith(pattern + ".", StringComparison.Ordinal) || FileSystemName.MatchesSimpleExpression(pattern, Name, ignoreCase: false);

    /// <inheritdoc/>
    public override string ToString() => Type.Length == 0 ? Name : $"{Name} ({Type})";
}
