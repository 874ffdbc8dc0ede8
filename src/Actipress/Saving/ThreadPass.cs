using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>The forward and backward passes over the tensors that one thread saves. A backward pass may run on another thread.</summary>
sealed class ThreadPass
{
    readonly Dictionary<(Layer, Operation), int> counts = [];

    /// <summary>The number of the forward pass, from 1.</summary>
    public int Number { get; private set; } = 1;

    /// <summary>The number of the last pass whose step was begun.</summary>
    public int Begun { get; set; }

    /// <summary>Whether the backward pass has begun.</summary>
    public bool InBackward { get; set; }

    /// <summary>The input that the batch norm which runs has saved; null for none.</summary>
    public SavedUse? BatchNormInput { get; set; }

    /// <summary>Begins another forward pass.</summary>
    public void Next()
    {
        Number++;
        InBackward = false;
        counts.Clear();
    }

    /// <summary>Called when nothing is held. Resets the counts of a pass that no backward pass followed.</summary>
    public void CountAnew() => counts.Clear();

    /// <summary>Counts the saves of an operation of a layer, and returns the number of this one.</summary>
    public int Count(Layer layer, Operation operation) => counts[(layer, operation)] = counts.GetValueOrDefault((layer, operation)) + 1;
}
