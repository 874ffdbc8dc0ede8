using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>The forward and backward passes over what one thread saves. A backward pass may run on another thread.</summary>
sealed class ThreadPass
{
    readonly Dictionary<(Layer, Operation), int> counts = [];

    /// <summary>Numbers the forward passes.</summary>
    public int Number { get; private set; } = 1;

    /// <summary>The number of the last pass whose step was begun.</summary>
    public int Begun { get; set; }

    /// <summary>Whether the backward pass has begun.</summary>
    public bool InBackward { get; set; }

    /// <summary>Begins another forward pass.</summary>
    public void Next()
    {
        Number++;
        InBackward = false;
        counts.Clear();
    }

    /// <summary>Nothing is held: what was counted in a pass that no backward pass followed is over.</summary>
    public void CountAnew() => counts.Clear();

    /// <summary>For the so-manieth time an operation of a layer saves a map.</summary>
    public int Count(Layer layer, Operation operation) => counts[(layer, operation)] = counts.GetValueOrDefault((layer, operation)) + 1;
}
