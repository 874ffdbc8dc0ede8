using System.Collections.Frozen;
using Actipress.Autograd;

namespace Actipress.Backward;

/// <summary>
/// An elementwise function of libtorch whose backward pass is one operation of the gradient by the output, of one saved map, and of
/// numbers.
/// </summary>
/// <param name="Name">The short name of the function.</param>
/// <param name="Arguments">The number of the backward operation's arguments. The first is the gradient by the output.</param>
/// <param name="Call">Calls the function, for the trial at start-up.</param>
sealed record ElementwiseFunction(string Name, int Arguments, Func<Tensor, Tensor> Call)
{
    // A threshold's backward pass is that of a ReLU, whose threshold is 0.
    const string Relu = "relu", Threshold = "threshold";

    // The backward operation of log-sigmoid reads two maps, and that of a PReLU also returns a gradient of the size of the map.
    // libtorch's operations for mish and hardswish cannot write their result to a given place. A sigmoid's result is held in 16 bits a
    // value, a form without ranges.
    static readonly ElementwiseFunction[] all =
    [
        new(Relu, 3, x => x.relu()),
        new("leaky_relu", 4, x => x.LeakyRelu(0.25)),
        new("elu", 6, x => x.Elu(0.5)) { Saved = 5 },
        new("hardtanh", 4, x => x.relu6()),
        new("hardsigmoid", 2, x => x.hardsigmoid()),
        new("silu", 2, x => x.silu()),
        new("gelu", 3, x => x.gelu()),
        new("tanh", 2, x => x.tanh()),
    ];

    static readonly FrozenSet<string> names = [.. all.Select(function => function.Name), Threshold];

    /// <summary>The functions.</summary>
    public static IReadOnlyList<ElementwiseFunction> All => all;

    /// <summary>The place of the saved map among the backward operation's arguments.</summary>
    public int Saved { get; init; } = 1;

    /// <summary>The name of the backward operation. Its overload <c>grad_input</c> writes the result to a given place.</summary>
    public string Backward { get; } = $"aten::{(Name == Relu ? Threshold : Name)}_backward";

    /// <summary>Whether a function of this short name has a kernel, where kernels can be registered.</summary>
    public static bool IsKnown(string name) => names.Contains(name);
}
