using Actipress.Maps;

namespace Actipress;

/// <summary>A tensor that is kept in fewer bytes until it is unpacked. The code that packed it disposes it.</summary>
public abstract class Packed : IDisposable
{
    /// <summary>The bytes kept.</summary>
    public abstract long Bytes { get; }

    /// <summary>Whether the tensor's zeros are rebuilt as zeros, and all other values as positive.</summary>
    internal virtual bool KeepsExactZeros => false;

    /// <summary>Rebuilds the tensor: contiguous, in its own shape and type, on its own device. The caller disposes it.</summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    public abstract Tensor Unpack();

    /// <summary>Whether a range can be rebuilt alone.</summary>
    internal virtual bool HasRanges => false;

    /// <summary>
    /// Rebuilds a range of the tensor's maps, if <see cref="HasRanges"/>: (maps, rows, elements of a row). The caller disposes it.
    /// </summary>
    /// <exception cref="InvalidDataException">The bytes are damaged.</exception>
    internal virtual Tensor Unpack(MapRange range) => throw new InvalidOperationException($"{GetType().Name} has no ranges.");

    /// <inheritdoc/>
    public abstract void Dispose();
}
