namespace Actipress;

/// <summary>Why a map was left as it is.</summary>
public enum LeftRaw
{
    /// <summary>It was not.</summary>
    No,

    /// <summary>It has no elements.</summary>
    Empty,

    /// <summary>It holds NaN, infinities, or numbers so large that their transform would overflow.</summary>
    NotFinite,

    /// <summary>It would not have become smaller.</summary>
    NotSmaller,

    /// <summary>The transform gathers little of its energy, and much would have been lost.</summary>
    LittleGathered,
}
