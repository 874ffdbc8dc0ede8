using Actipress.Autograd;
using static Actipress.Need;

namespace Actipress;

/// <summary>What the backward pass of one operation of libtorch needs of the tensors that it saves.</summary>
/// <param name="Name">The operation's name without <c>aten::</c>, and without the underscore of its form in place.</param>
/// <param name="Arguments">
/// By the place of an argument in the operation's schema, as of <c>aten::convolution(input, weight, bias, ...)</c>. The last entry
/// stands for those that follow. An entry is ignored where the operation saves no such argument.
/// </param>
/// <param name="Results">Of its results, in the order in which they are saved. The last entry stands for those that follow.</param>
sealed record OperationNeeds(string Name, Need[] Arguments, Need[] Results)
{
    /// <summary>The types of builtin modules whose forward pass is this operation, for the names of layers without parameters.</summary>
    public string[] Modules { get; init; } = [];

    /// <summary>Of an argument; <see cref="Exact"/> beyond what the line knows.</summary>
    public Need OfArgument(int place) => At(Arguments, place);

    /// <summary>Of a result; <see cref="Exact"/> beyond what the line knows.</summary>
    public Need OfResult(int place) => At(Results, place);

    static Need At(Need[] needs, int place) => place < needs.Length ? needs[place] : Exact;
}

/// <summary>
/// The table of operations: a line each. What an operation that has no line here saves stays exact, and the report names it.
/// </summary>
/// <remarks>
/// The facts are libtorch's own derivative definitions (<c>tools/autograd/derivatives.yaml</c> of 2.10), which say what each formula uses.
/// <c>OperationLaws</c> runs every line on a case and compares the gradient with the plain one.
/// </remarks>
static class Operations
{
    /// <summary>Every line, from what needs least of its maps to what needs most.</summary>
    public static IReadOnlyList<OperationNeeds> All { get; } =
    [
        // Convolutions, matrix products and products: linear in each factor. (input, weight, bias, ...)
        Line("convolution", [Linear, Weight]),
        Line("mul", [Linear, Linear]),
        Line("mm", [Linear, Linear]),
        Line("bmm", [Linear, Linear]),
        Line("addmm", [Exact, Linear, Linear]),     // (bias, input, weight)

        // Normalisations: statistics are exact. (input, weight, bias, running mean, running variance, ...) and results
        Line("native_batch_norm", [Normalised, Exact, Exact, Exact, Exact]),
        Line("native_layer_norm", [Normalised, Exact, Exact]),

        Line("relu", [], [Sign], "ReLU"),
        Line("leaky_relu", [Sign], [Sign], "LeakyReLU"),
        Line("sigmoid", [], [Smooth], "Sigmoid"),
        Line("gelu", [Smooth], [], "GELU"),
        Line("max_pool2d_with_indices", [Need.Shape], [Exact], "MaxPool2d"),
        Line("log", [Steep]),
        Line("_log_softmax", [], [Exact], "LogSoftmax"),
    ];

    static readonly Dictionary<string, OperationNeeds> byName = All.ToDictionary(line => line.Name);

    /// <summary>The line of an operation; null where there is none.</summary>
    public static OperationNeeds? Of(Operation operation) => byName.GetValueOrDefault(operation.ShortName);

    static OperationNeeds Line(string name, Need[] arguments, Need[]? results = null, params string[] modules) =>
        new(name, arguments, results ?? []) { Modules = modules };
}
