using Actipress.Machine;

namespace Actipress.Grid.Gpu;

/// <summary>The number of bits and bytes of some levels in each stream of a chunk.</summary>
struct GpuCounts
{
    public int Masks, Signs, LevelBits, Escapes;

    public static GpuCounts operator +(GpuCounts a, GpuCounts b) =>
        new()
        {
            Masks = a.Masks + b.Masks,
            Signs = a.Signs + b.Signs,
            LevelBits = a.LevelBits + b.LevelBits,
            Escapes = a.Escapes + b.Escapes,
        };
}

/// <summary>A grid's step and offsets, as <see cref="Magnitudes"/> has them.</summary>
struct GpuSteps(float step, float first, float other)
{
    public float Step = step, FirstOffset = first, OtherOffset = other;

    /// <summary>The value of a level from 1 on.</summary>
    public float Magnitude(int level) => (level + (level == 1 ? FirstOffset : OtherOffset)) * Step;
}
