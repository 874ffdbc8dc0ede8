namespace Actipress;

/// <summary>A budget is below what a step can take.</summary>
public sealed class BudgetException(string message, long leastBytes) : ActipressException(message)
{
    /// <summary>The least bytes that a step of this model and batch can take.</summary>
    public long LeastBytes { get; } = leastBytes;
}
