using System.Collections.Concurrent;
using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Backward;

/// <summary>A held map that is read in pieces.</summary>
interface IMapPieces
{
    /// <summary>The shape of the tensor that was saved.</summary>
    long[] Sizes { get; }

    /// <summary>The size of this step relative to the real step. Pieces are smaller in the same proportion.</summary>
    double Scale { get; }

    /// <summary>Reads a range of the map: (maps, rows, elements of a row), for the caller to dispose.</summary>
    Tensor Read(MapRange range);

    /// <summary>Records that a backward pass has failed because of this map.</summary>
    void Failed(Exception failure);
}

/// <summary>
/// Represents a saved map in the backward pass of an operation that has a kernel in <see cref="BackwardKernels"/>: a tensor of the map's
/// shape and type without data.
/// </summary>
sealed class Placeholder : IDisposable
{
    // The maps by the address of the placeholder's storage, which no other tensor gets while the placeholder lives.
    static readonly ConcurrentDictionary<nint, IMapPieces> all = new();

    static long piecesRead;

    readonly Tensor tensor;

    /// <summary>The number of pieces of maps that were read in this process.</summary>
    public static long PiecesRead => Interlocked.Read(ref piecesRead);

    /// <summary>Reads a range of a map for a kernel.</summary>
    public static Tensor Read(IMapPieces map, MapRange range)
    {
        Interlocked.Increment(ref piecesRead);
        return map.Read(range);
    }

    /// <param name="pieces">The map.</param>
    /// <param name="type">The map's type.</param>
    public Placeholder(IMapPieces pieces, ScalarType type)
    {
        tensor = empty(pieces.Sizes, type, META).DetachFromDisposeScope();
        all[StorageReference.AddressOf(tensor)] = pieces;
    }

    /// <summary>The tensor that libtorch gets, for the caller to dispose.</summary>
    public Tensor Show() => tensor.alias();

    /// <summary>The map of a placeholder; null where the tensor is no placeholder.</summary>
    public static IMapPieces? PiecesOf(Tensor tensor) => all.GetValueOrDefault(StorageReference.AddressOf(tensor));

    public void Dispose()
    {
        all.TryRemove(StorageReference.AddressOf(tensor), out _);
        tensor.Dispose();
    }
}
