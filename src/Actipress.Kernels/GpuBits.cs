using Actipress.Grid.Gpu;
using ILGPU;

namespace Actipress;

/// <summary>
/// Reads and writes bits at any offset of a buffer of words that ends with <see cref="KernelSizes.Slack"/>. Many threads may write at the
/// same time.
/// </summary>
static class GpuBits
{
    /// <summary>Writes bits where the buffer holds zeros.</summary>
    public static void Write(ArrayView<uint> words, long at, ulong bits)
    {
        if (bits == 0) return;
        var (word, shift) = (at >> 5, (int)(at & 31));
        Set(words, word, (uint)(bits << shift));
        var rest = bits >> 32 - shift;
        Set(words, word + 1, (uint)rest);
        Set(words, word + 2, (uint)(rest >> 32));
    }

    static void Set(ArrayView<uint> words, long at, uint bits)
    {
        if (bits != 0) Atomic.Or(ref words[at], bits);
    }

    /// <summary>The 64 bits from an offset on.</summary>
    public static ulong Read(ArrayView<uint> words, long at)
    {
        var (word, shift) = (at >> 5, (int)(at & 31));
        var low = words[word] | (ulong)words[word + 1] << 32;
        return low >> shift | (ulong)words[word + 2] << 1 << 63 - shift;
    }
}
