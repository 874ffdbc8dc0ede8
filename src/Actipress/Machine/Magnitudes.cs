namespace Actipress.Machine;

/// <summary>The magnitudes of levels: 0, then (level + offset) step, with one offset for level 1 and one for all others.</summary>
unsafe struct Magnitudes
{
    const int Listed = 16;

    fixed float lowest[Listed], few[8];
    readonly float other, step;

    public Magnitudes(float step, float first, float other)
    {
        (this.step, this.other) = (step, other);
        for (var level = 1; level < Listed; level++) lowest[level] = (level + (level == 1 ? first : other)) * step;
        // The values of levels 1 and 2, then those of -1 and -2.
        (few[1], few[3]) = (lowest[1], lowest[2]);
        (few[5], few[7]) = (-lowest[1], -lowest[2]);
    }

    public readonly float this[int level] => level < Listed ? lowest[level] : (level + other) * step;

    /// <summary>The offset and the step of every level but 0 and 1.</summary>
    public readonly (float Offset, float Step) Others => (other, step);

    /// <summary>The magnitudes of the sixteen lowest levels. The pointer is valid while this struct does not move.</summary>
    public float* Lowest => (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref lowest[0]);

    /// <summary>
    /// The values of levels up to 2, at index 1 (not zero) + 2 (level 2) + 4 (negative). The pointer is valid while this struct does not
    /// move.
    /// </summary>
    public float* Few => (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref few[0]);
}
