using Actipress.Maps;

namespace Actipress;

/// <summary>A tensor kept in fewer bytes until it is asked for. Whoever packed it disposes it.</summary>
public abstract class Packed : IDisposable
{
    /// <summary>Bytes kept.</summary>
    public abstract long Bytes { get; }

    /// <summary>Whether the tensor's zeros come back as zeros and everything else as positive.</summary>
    internal virtual bool KeepsExactZeros => false;

    /// <summary>The tensor again: contiguous, in its own shape and type, on its own device. The caller disposes it.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public abstract Tensor Unpack();

    /// <summary>Whether a range can be rebuilt without the rest.</summary>
    internal virtual bool HasRanges => false;

    /// <summary>A range of the tensor's maps: (maps, rows, elements of a row). The caller disposes it. Where <see cref="HasRanges"/>.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    internal virtual Tensor Unpack(MapRange range) => throw new InvalidOperationException($"{GetType().Name} has no ranges.");

    /// <inheritdoc/>
    public abstract void Dispose();
}
