namespace Actipress.Accounting;

/// <summary>The training whose steps a timeline records.</summary>
interface ITimedTraining
{
    /// <summary>The computation that runs now.</summary>
    Activity Activity { get; }

    /// <summary>The existing gradients of parameters: their names, and the addresses of their data.</summary>
    IEnumerable<(string Name, nint Address)> GradientAddresses();

    /// <summary>Ends the reports to the timeline.</summary>
    void End(MemoryTimeline timeline);
}

/// <summary>A saved map, as a timeline records it.</summary>
interface ITimedMap
{
    /// <summary>The name of the layer that saved it first.</summary>
    string LayerName { get; }

    /// <summary>The line of the program that saved it first; null where that is not known.</summary>
    string? Site { get; }

    /// <summary>The bytes of the map as it was saved.</summary>
    long SavedBytes { get; }

    /// <summary>How its values are held now; null where no operation needs values.</summary>
    TimedValues? TimedValues { get; }

    /// <summary>The bytes of the bits that are held beside or in place of its values; null for none.</summary>
    long? BitsBytes { get; }
}

/// <summary>How the values of a map are held.</summary>
/// <param name="Bytes">The bytes held.</param>
/// <param name="IsRaw">Whether the values are held as they are.</param>
/// <param name="Rungs">The bytes and harm of the map under other codecs; null without a budget.</param>
sealed record TimedValues(long Bytes, bool IsRaw, IReadOnlyList<Rung>? Rungs);
