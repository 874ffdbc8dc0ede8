using Actipress.Machine;

namespace Actipress.Grid.Wavelets;

/// <summary>Pieces of memory, each aligned to 64 bytes, that are allocated and freed together.</summary>
sealed unsafe class GridMemory : IDisposable
{
    readonly float* memory;
    readonly long[] starts;

    /// <param name="sizes">The sizes of the pieces in floats; a pointer takes two floats.</param>
    public GridMemory(params ReadOnlySpan<long> sizes)
    {
        starts = new long[sizes.Length + 1];
        for (var i = 0; i < sizes.Length; i++) starts[i + 1] = starts[i] + (sizes[i] + 15) / 16 * 16;
        memory = (float*)CodecMemory.AllocateAligned(Bytes);
        HugePages.Advise(memory, Bytes);
    }

    long Bytes => checked(starts[^1] * sizeof(float));

    public float* this[int piece] => memory + starts[piece];

    public void Dispose()
    {
        AllocatorMeter.LookIn();
        CodecMemory.FreeAligned(memory, Bytes);
    }
}
