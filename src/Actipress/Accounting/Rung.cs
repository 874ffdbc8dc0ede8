namespace Actipress.Accounting;

/// <summary>One way of holding a map's values among which a budget chooses.</summary>
/// <param name="Bytes">The bytes held.</param>
/// <param name="Harm">
/// The harm to the gradient: the squared error relative to the map's energy, weighted by the sensitivity of the layer.
/// </param>
readonly record struct Rung(long Bytes, double Harm);
