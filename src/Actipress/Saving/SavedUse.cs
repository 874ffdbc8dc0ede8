using Actipress.Autograd;
using Actipress.Backward;
using Actipress.Codecs;
using Actipress.Maps;

namespace Actipress.Saving;

/// <summary>One operation's use of a saved map.</summary>
sealed class SavedUse : SavedTensor, IMapPieces
{
    readonly ActivationStore store;
    Placeholder? placeholder;
    bool disposed;

    /// <param name="store">The store that holds the map.</param>
    /// <param name="map">The map.</param>
    /// <param name="by">The operation that saved the map, and its need.</param>
    /// <param name="tensor">The saved tensor; not kept.</param>
    public SavedUse(ActivationStore store, SavedMap map, SavedBy by, Tensor tensor)
    {
        (this.store, Map, By) = (store, map, by);
        (Geometry, Type, Device) = (Geometry.Of(tensor), tensor.dtype, tensor.device);
        map.Users++;
    }

    public SavedMap Map { get; }
    public SavedBy By { get; }
    public Need Need => By.Need;

    /// <summary>The geometry of the saved tensor in its storage.</summary>
    public Geometry Geometry { get; }

    /// <summary>The mean of each channel of a batch norm's input, where the batch norm used these; else null.</summary>
    public Tensor? Means { get; private set; }

    public torch.ScalarType Type { get; }
    public torch.Device Device { get; }

    /// <summary>Whether a kernel reads this map in pieces, and the map is large enough.</summary>
    public bool IsReadInPieces =>
        Pieces.LeastBytes * store.Scale <= Map.SavedBytes && HasKernel && Device.type == DeviceType.CPU && Type == torch.ScalarType.Float32
        && HasRanges && Map.Geometry.SameLayout(Geometry);

    /// <summary>Whether the operation reads the map's bits, because the map's values do not suffice.</summary>
    public bool ReadsBits => Need is Need.Inside && !Map.ValuesAnswer(Need);

    bool HasRanges => ReadsBits
        ? Map.Geometry.IsRowMajor && Map.BitsFor(Need)!.HasRanges
        : Map.HasRanges() && !Map.IsHeldRaw;

    // Whether there is a kernel for the backward pass of the operation that saved the map.
    bool HasKernel => By.Operation.ShortName switch
    {
        "convolution" => By.Need == Need.Linear && HasChannels,
        "native_batch_norm" => By.Need == Need.Normalised && HasChannels,
        var name => BackwardKernels.HasElementwise && ElementwiseFunction.IsKnown(name),
    };

    // Whether the map has an axis for channels before the axes of places.
    bool HasChannels => Geometry.Sizes.Length > 3;

    /// <summary>Makes the placeholder, a tensor without data that stands for the map; the caller disposes it.</summary>
    public Tensor StandIn() => (placeholder ??= new(this, Type)).Show();

    /// <summary>
    /// Whether a formula may depend on the layout of the saved tensor in memory. This holds for an operation whose line needs every bit,
    /// even if the user has given it another need, for an operation without a line, and for the block of a checkpoint.
    /// </summary>
    public bool MayReadLayout =>
        By.Need.Fineness == Fineness.Exact || Operations.Of(By.Operation) is not { } line || line.Arguments.All(need => need == Need.Exact);

    long[] IMapPieces.Sizes => Geometry.Sizes;

    double IMapPieces.Scale => store.Scale;

    Tensor IMapPieces.Read(MapRange range) => store.Rebuild(this, range);

    void IMapPieces.Failed(Exception failure) => store.Failed(failure, whilePacking: false);

    /// <summary>Keeps the means of the channels, which the batch norm keeps for its backward pass itself.</summary>
    public void KeepMeans(Tensor means)
    {
        if (!disposed) Means = means.alias().DetachFromDisposeScope();
    }

    public override Tensor Unpack() => store.Unpack(this);

    public override void Dispose()
    {
        if (disposed) return;
        disposed = true;
        placeholder?.Dispose();
        Means?.Dispose();
        store.Release(Map);
    }
}
