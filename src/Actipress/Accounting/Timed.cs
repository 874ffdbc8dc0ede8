namespace Actipress.Accounting;

/// <summary>The training whose steps a timeline records.</summary>
interface ITimedTraining
{
    /// <summary>What runs now.</summary>
    Activity Activity { get; }

    /// <summary>The parameters' gradients that there are: their names, and the addresses of their data.</summary>
    IEnumerable<(string Name, nint Address)> GradientAddresses();

    /// <summary>Tells the timeline nothing more.</summary>
    void End(MemoryTimeline timeline);
}

/// <summary>A saved map, as a timeline follows it.</summary>
interface ITimedMap
{
    /// <summary>The name of the layer that saved it first.</summary>
    string LayerName { get; }

    /// <summary>Bytes of the map as it was saved.</summary>
    long SavedBytes { get; }

    /// <summary>How its values are held now; null where no operation asked for values.</summary>
    TimedValues? TimedValues { get; }

    /// <summary>Bytes of the bits that are held beside or in place of its values; null for none.</summary>
    long? BitsBytes { get; }
}

/// <summary>How the values of a map are held.</summary>
/// <param name="Bytes">Bytes held.</param>
/// <param name="IsRaw">Whether as they are.</param>
/// <param name="Rungs">What other codecs would make of the map; null where no budget asked.</param>
sealed record TimedValues(long Bytes, bool IsRaw, IReadOnlyList<Rung>? Rungs);
