namespace Actipress.Machine;

/// <summary>What levels stand for: 0, and (level + offset) step with one offset for level 1 and one for all others.</summary>
unsafe struct Magnitudes
{
    const int Listed = 16;

    fixed float lowest[Listed], few[8];
    readonly float other, step;

    public Magnitudes(float step, float first, float other)
    {
        (this.step, this.other) = (step, other);
        for (var level = 1; level < Listed; level++) lowest[level] = (level + (level == 1 ? first : other)) * step;
        // Of 1 and 2, and of these below zero.
        (few[1], few[3]) = (lowest[1], lowest[2]);
        (few[5], few[7]) = (-lowest[1], -lowest[2]);
    }

    public readonly float this[int level] => level < Listed ? lowest[level] : (level + other) * step;

    /// <summary>Of every level but 0 and 1.</summary>
    public readonly (float Offset, float Step) Others => (other, step);

    /// <summary>Of the sixteen lowest levels. Valid while this does not move.</summary>
    public float* Lowest => (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref lowest[0]);

    /// <summary>Of levels up to 2 at the place 1 + 2 (where it is 2) + 4 (where it is below zero). Valid while this does not move.</summary>
    public float* Few => (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref few[0]);
}
