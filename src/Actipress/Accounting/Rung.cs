namespace Actipress.Accounting;

/// <summary>One way of holding a map's values, as a budget may choose it.</summary>
/// <param name="Bytes">Bytes held.</param>
/// <param name="Harm">What it does to the gradient: the squared error relative to the map's energy, weighted by what the layer does with it.</param>
readonly record struct Rung(long Bytes, double Harm);
