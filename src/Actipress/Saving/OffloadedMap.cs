using System.Runtime.InteropServices;
using Actipress.Gpu;

namespace Actipress.Saving;

/// <summary>A packed map that has left the GPU for the host's pinned memory until it is asked for.</summary>
sealed class OffloadedMap : Packed
{
    readonly Func<Tensor[], PackedMap> rebuild;
    readonly HostMemory memory;

    OffloadedMap(PackedMap packed, CudaDevice gpu)
    {
        memory = new HostMemory(gpu, packed.Tensors);
        (rebuild, KeepsExactZeros) = (packed.Rebuild, packed.HasExactZeros);
    }

    /// <summary>Takes a packed map over; gives it back where its device has no place to go aside, or the host no memory.</summary>
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
