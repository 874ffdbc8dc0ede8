namespace Actipress.Encodings;

/// <summary>Every bit of the map, in the map's own type.</summary>
sealed record Copy : Encoding
{
    public override string Name => "exact";
}
