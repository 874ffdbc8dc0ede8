using Actipress.Gpu;
using Actipress.Grid.Gpu;

namespace Actipress.Saving;

/// <summary>
/// A map on a GPU that is being measured. It is held raw until the host knows, without waiting, how many bytes it will take, and is then
/// packed. <see cref="ActivationStore"/> settles it.
/// </summary>
sealed class DeferredMap : Packed
{
    readonly HeldRaw raw;
    readonly GridPackOnGpu begun;
    bool ended;

    public DeferredMap(Tensor values, GpuDevice gpu, ActivationCodec codec)
    {
        (Gpu, Codec) = (gpu, codec);
        raw = new HeldRaw(values);
        try
        {
            using var detached = values.detach();
            begun = new GridPackOnGpu(gpu, detached, codec);
        }
        catch
        {
            raw.Dispose();
            throw;
        }
    }

    /// <summary>Whether maps of a codec are packed in this way.</summary>
    public static bool Suits(ActivationCodec codec) => Pipeline.Uses<GpuGrid>(codec);

    public GpuDevice Gpu { get; }
    public ActivationCodec Codec { get; }

    /// <summary>Whether <see cref="Settle"/> returns without waiting for the GPU.</summary>
    public bool IsMeasured => begun.IsMeasured;

    /// <summary>Whether the map was settled or disposed.</summary>
    public bool IsOver => ended;

    /// <summary>Packs the map and returns its lasting form, which is raw where packing saves nothing or fails.</summary>
    /// <param name="why">The reason why the map stays raw.</param>
    /// <param name="failure">The exception where packing fails, else null.</param>
    public Packed Settle(out LeftRaw why, out Exception? failure)
    {
        (ended, failure, why) = (true, null, LeftRaw.No);
        PackedMap? packed = null;
        try
        {
            using var values = raw.Unpack();
            if (begun.Finish(values, out why) is { } stored) packed = new PackedMap(new(Codec, values.shape, values.dtype), stored);
        }
        catch (Exception caught) { failure = caught; }
        finally { begun.Dispose(); }
        if (packed is null) return raw;
        raw.Dispose();
        return packed;
    }

    public override long Bytes => raw.Bytes;

    public override Tensor Unpack() => raw.Unpack();

    public override void Dispose()
    {
        if (ended) return;
        ended = true;
        begun.Dispose();
        raw.Dispose();
    }
}
