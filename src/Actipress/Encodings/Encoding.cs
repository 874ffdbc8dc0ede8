namespace Actipress;

/// <summary>The third stage: how kept coefficients become bytes and come back (paper, Section 3.3, equations 12 and 13).</summary>
public abstract record Encoding
{
    /// <summary>The name in a codec's specification, such as <c>paper</c> or <c>compact</c>.</summary>
    public abstract string Name { get; }
}
