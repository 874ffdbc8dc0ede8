namespace Actipress.Distributed;

/// <summary>Ranks could not work together: the message says which rank, what was found and what was wanted.</summary>
public sealed class RanksException : Exception
{
    public RanksException() { }

    public RanksException(string message) : base(message) { }

    public RanksException(string message, Exception cause) : base(message, cause) { }

    /// <summary>Whether every rank knows of it and is at the same place, so that they can go on together.</summary>
    internal bool IsShared { get; init; }
}
