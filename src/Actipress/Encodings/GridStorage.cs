namespace Actipress.Encodings;

/// <summary>
/// Tiles of 256 coefficients, each rounded to a grid that the threshold sets, stored as a bitmap of bitmaps, signs and levels: the
/// default. docs/format.md has every byte.
/// </summary>
/// <remarks>
/// The threshold T is the smallest magnitude that is kept; the ratio sets it through the coefficients of a sample of tiles, so that about
/// one in ratio is kept. A coefficient y becomes the level floor(|y| / T).
/// </remarks>
sealed record GridStorage : Encoding
{
    /// <inheritdoc/>
    public override string Name => "grid";

    internal override bool TellsError => true;

    internal override Encoding? Substitute => new Compact();
}
