namespace Actipress.Codecs;

/// <summary>How finely a map's values must be held, from the coarsest.</summary>
enum Fineness
{
    /// <summary>As the layer's codec gives them.</summary>
    Codec,

    /// <summary>Rounded to 16 bits.</summary>
    Sixteen,

    /// <summary>Bit for bit.</summary>
    Exact,
}
