namespace Actipress.Distributed;

/// <summary>Ranks could not work together. The message says which rank, what was found and what was wanted.</summary>
public sealed class RanksException : Exception
{
    /// <summary>An exception without a message.</summary>
    public RanksException() { }

    /// <param name="message">Which rank, what was found, what was wanted.</param>
    public RanksException(string message) : base(message) { }

    /// <param name="message">Which rank, what was found, what was wanted.</param>
    /// <param name="cause">The exception behind it.</param>
    public RanksException(string message, Exception cause) : base(message, cause) { }

    /// <summary>Whether every rank knows of the failure at the same call, so that the ranks can continue together.</summary>
    internal bool IsShared { get; init; }
}
