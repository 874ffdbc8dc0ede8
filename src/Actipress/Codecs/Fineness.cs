namespace Actipress.Codecs;

/// <summary>The precision with which a map's values must be held, from the coarsest.</summary>
enum Fineness
{
    /// <summary>The precision of the layer's codec.</summary>
    Codec,

    /// <summary>Values rounded to 16 bits.</summary>
    Sixteen,

    /// <summary>Values bit for bit.</summary>
    Exact,
}
