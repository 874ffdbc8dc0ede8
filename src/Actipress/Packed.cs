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

    /// <inheritdoc/>
    public abstract void Dispose();
}
