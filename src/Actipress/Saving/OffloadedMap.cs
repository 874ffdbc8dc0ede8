using System.Runtime.InteropServices;
using Actipress.Gpu;

namespace Actipress.Saving;

/// <summary>A packed map that was moved from the GPU to the host's pinned memory until it is unpacked.</summary>
sealed class OffloadedMap : Packed
{
    readonly Func<Tensor[], PackedMap> rebuild;
    readonly HostMemory memory;

    OffloadedMap(PackedMap packed, CudaDevice gpu)
    {
        memory = new HostMemory(gpu, packed.Tensors);
        (rebuild, KeepsExactZeros) = (packed.Rebuild, packed.HasExactZeros);
    }

    /// <summary>
    /// Moves a packed map to the host, and disposes its tensors on the GPU when they are copied. Returns the packed map itself where
    /// <paramref name="gpu"/> is null, or where the host has no memory left.
    /// </summary>
    public static Packed Of(PackedMap packed, CudaDevice? gpu)
    {
        if (gpu is null || packed.Tensors.Length == 0) return packed;
        try { return new OffloadedMap(packed, gpu); }
        catch (ExternalException) { return packed; }
    }

    public override long Bytes => memory.Bytes;

    internal override bool KeepsExactZeros { get; }

    public override Tensor Unpack()
    {
        using var packed = rebuild(memory.Bring());
        return packed.Unpack();
    }

    public override void Dispose() => memory.Dispose();
}
