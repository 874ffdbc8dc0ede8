namespace Actipress;

/// <summary>Why a map was left as it is.</summary>
public enum LeftRaw
{
    /// <summary>The map was packed.</summary>
    No,

    /// <summary>The map has no elements.</summary>
    Empty,

    /// <summary>The map has NaN, infinities, or numbers so large that their transform would overflow.</summary>
    NotFinite,

    /// <summary>The packed map would not be smaller.</summary>
    NotSmaller,

    /// <summary>The transform gathers little of the map's energy, so that the error would be too large.</summary>
    LittleGathered,
}
