using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>The elements that a tensor had at one moment: identified, but not kept alive.</summary>
sealed class MapOrigin : IDisposable
{
    readonly WeakTensor tensor;

    /// <param name="tensor">The tensor; not kept.</param>
    /// <param name="geometry">The geometry of its map in its storage.</param>
    public MapOrigin(Tensor tensor, Geometry geometry)
    {
        (Geometry, Storage) = (geometry, StorageReference.Of(tensor));
        (Version, ElementSize, IsInput) = (LibTorch.Version(tensor), tensor.ElementSize, LibTorch.IsLeaf(tensor));
        this.tensor = new WeakTensor(tensor, Storage);
    }

    /// <summary>The storage. As long as this lives, its address belongs to no other storage.</summary>
    public StorageReference Storage { get; }

    /// <summary>The layout of the elements in the storage.</summary>
    public Geometry Geometry { get; }

    /// <summary>The version counter of the storage at that moment.</summary>
    public long Version { get; }

    /// <summary>The bytes of one element.</summary>
    public long ElementSize { get; }

    /// <summary>Whether no differentiable operation made the elements.</summary>
    public bool IsInput { get; }

    /// <summary>Whether a tensor of this storage has these elements, unchanged since.</summary>
    public bool Is(Geometry other, long version) => Version == version && Geometry.SameElements(other);

    /// <summary>
    /// The elements themselves in their layout, for the caller to dispose, if something else keeps them alive and has not changed them;
    /// else null.
    /// </summary>
    public Tensor? Again()
    {
        using var again = tensor.Again();
        return again is null ? null : Geometry.View(again);
    }

    /// <summary>Whether nothing identifies the elements any more.</summary>
    public bool IsDisposed => Storage.Address == 0;

    public void Dispose()
    {
        tensor.Dispose();
        Storage.Dispose();
    }
}
