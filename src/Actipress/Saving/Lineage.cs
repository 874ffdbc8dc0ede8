using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// The derivations of the results of a forward pass. A result is identified by its storage, its geometry and its version counter, so that a
/// tensor that was changed in place is not recognised any more.
/// </summary>
sealed class Lineage
{
    // The result was derived from other maps, or joined of them.
    sealed record Entry(StorageReference Storage, Geometry Geometry, long Version, Derivation? Derivation, Concatenation? Concatenation);

    readonly Dictionary<nint, Entry> byStorage = [];
    int mostEntries = 64;

    /// <summary>Records the derivation of an operation's result, where the result can be derived.</summary>
    /// <param name="frame">The frame of the operation, which ends.</param>
    /// <param name="list">The list of tensors among its arguments; empty for none.</param>
    /// <param name="results">The results of the operation.</param>
    /// <param name="heldOf">Returns the map that is held of a tensor; null where there is none.</param>
    public void Add(in Frame frame, ReadOnlySpan<nint> list, ReadOnlySpan<nint> results, Func<Tensor, SavedMap?> heldOf)
    {
        if (results[0] == 0) return;
        using var result = LibTorch.OfImplementation(results[0]);
        if (result.dtype is not (ScalarType.Float32 or ScalarType.Float64)) return;
        var concatenation = frame.Operation.JoinsList ? Concatenation.Of(list, frame.Numbers[1], result) : null;
        var derivation = frame.Operation.JoinsList ? null : Derive(frame, results, result, heldOf);
        if (derivation is null && concatenation is null) return;
        foreach (var numbers in derivation?.Numbers ?? []) numbers.Share();
        var storage = StorageReference.Of(result);
        if (byStorage.Remove(storage.Address, out var earlier)) Drop(earlier);
        if (byStorage.Count >= mostEntries) DropDead();
        byStorage.Add(storage.Address, new(storage, Geometry.Of(result), LibTorch.Version(result), derivation, concatenation));
    }

    /// <summary>The derivation of a saved map; null where nothing is known.</summary>
    public Derivation? Of(SavedMap map) => Of(map.Address, map.Geometry, map.Version)?.Derivation;

    /// <summary>The derivation of a joined tensor; null where nothing is known.</summary>
    public Derivation? Of(MapOrigin origin) => Of(origin.Storage.Address, origin.Geometry, origin.Version)?.Derivation;

    /// <summary>The concatenation whose result a saved map is; null where it is none.</summary>
    public Concatenation? ConcatenationOf(SavedMap map) =>
        Of(map.Address, map.Geometry, map.Version) is { Concatenation: { } joined } entry && entry.Geometry.SameLayout(map.Geometry)
            ? joined : null;

    public void Clear()
    {
        foreach (var entry in byStorage.Values) Drop(entry);
        byStorage.Clear();
    }

    Derivation? Derive(in Frame frame, ReadOnlySpan<nint> results, Tensor result, Func<Tensor, SavedMap?> heldOf)
    {
        switch (frame.Operation.ShortName)
        {
            case "relu":
                return OfArgument(frame, 0, result, heldOf) is { } rectified && heldOf(result) is { } zeros
                    ? new Derivation.Relu(rectified, zeros) : null;
            case "cudnn_batch_norm":    // whose derivation no test has seen
                return null;
            case "gelu" when frame.Numbers[1] != 'n':    // the approximation by tanh
                return null;
            case "leaky_relu" or "elu" when double.IsNaN(frame.Numbers[1]):
            case "hardtanh" when double.IsNaN(frame.Numbers[1] + frame.Numbers[2]):
                return null;
            case "elu" when !(frame.Numbers[2] == 1 && frame.Numbers[3] == 1):    // a SELU or a CELU
                return null;
            case "silu" or "hardswish" or "gelu" or "elu" or "leaky_relu" or "hardtanh":
                return OfArgument(frame, 0, result, heldOf) is { } argument
                    ? new Derivation.Function(frame.Operation, argument, frame.Numbers[1], frame.Numbers[2]) : null;
            case "_prelu_kernel":
                return SlopeOf(frame.Arguments[1]) is { } slope && OfArgument(frame, 0, result, heldOf) is { } scaled
                    ? new Derivation.Function(frame.Operation, scaled, slope, double.NaN) : null;
            case "add" when frame.Numbers[2] != 1:
                return null;
            case "add" or "mul":
                return OfBoth(frame, result, heldOf);
            default:
                using (var input = LibTorch.OfImplementation(frame.Arguments[0]))
                {
                    if (input.dtype != result.dtype || heldOf(input) is not { } map) return null;
                    return new Derivation.Normalised(new Derivation.Held(map), input.shape, new(frame, results, input.shape));
                }
        }
    }

    // The slope of a PReLU that has one for all channels. The optimizer may change it before the backward pass.
    static double? SlopeOf(nint implementation)
    {
        using var weight = LibTorch.OfImplementation(implementation);
        if (weight.NumberOfElements != 1 || weight.device_type != DeviceType.CPU) return null;
        return weight.dtype switch
        {
            ScalarType.Float32 => weight.item<float>(),
            ScalarType.Float64 => weight.item<double>(),
            _ => null,
        };
    }

    // One operand has as many elements as the result, so that its shape is the result's. The other operand has as many too, or is a factor
    // for each channel.
    Derivation? OfBoth(in Frame frame, Tensor result, Func<Tensor, SavedMap?> heldOf)
    {
        if (OfArgument(frame, 0, result, heldOf) is not { } first || OfArgument(frame, 1, result, heldOf) is not { } second) return null;
        using var a = LibTorch.OfImplementation(frame.Arguments[0]);
        using var b = LibTorch.OfImplementation(frame.Arguments[1]);
        var (isFirst, isSecond) = (a.NumberOfElements == result.NumberOfElements, b.NumberOfElements == result.NumberOfElements);
        var isProduct = frame.Operation.ShortName == "mul";
        return (isFirst, isSecond) switch
        {
            (true, true) => new Derivation.Both(first, second, isProduct, result.shape, result.shape),
            (true, false) when isProduct && IsOfChannels(b, result) => new Derivation.Both(first, second, isProduct, result.shape, b.shape),
            (false, true) when isProduct && IsOfChannels(a, result) => new Derivation.Both(second, first, isProduct, result.shape, a.shape),
            _ => null,
        };

        static bool IsOfChannels(Tensor factor, Tensor map) =>
            map.dim() > 2 && factor.shape.AsSpan().SequenceEqual([.. map.shape[..2], .. Enumerable.Repeat(1L, (int)map.dim() - 2)]);
    }

    // Returns the derivation of an argument, whose version the operation may have raised in place.
    Derivation? OfArgument(in Frame frame, int place, Tensor result, Func<Tensor, SavedMap?> heldOf)
    {
        if (frame.Arguments[place] == 0) return null;
        using var argument = LibTorch.OfImplementation(frame.Arguments[place]);
        if (argument.dtype != result.dtype) return null;
        var isReplaced = frame.Operation.IsInPlace && place == 0;
        var (geometry, version) = (Geometry.Of(argument), LibTorch.Version(argument) - (isReplaced ? 1 : 0));
        if (!geometry.IsRowMajor) return null;
        // A ReLU's result whose values are held is a source itself.
        var known = Of(StorageReference.AddressOf(argument), geometry, version)?.Derivation;
        if (known is not (null or Derivation.Relu { Result.Values: not null })) return known;
        // What is held of a replaced argument is the result.
        if (isReplaced) return null;
        return heldOf(argument) is { } map ? new Derivation.Held(map) : null;
    }

    Entry? Of(nint storage, Geometry geometry, long version) =>
        byStorage.TryGetValue(storage, out var entry) && entry.Version == version
            && entry.Geometry.IsRowMajor && geometry.IsRowMajor && entry.Geometry.SameElements(geometry) ? entry : null;

    static void Drop(Entry entry)
    {
        foreach (var numbers in entry.Derivation?.Numbers ?? []) numbers.Dispose();
        entry.Concatenation?.Dispose();
        entry.Storage.Dispose();
    }

    // Drops the results of passes that no backward pass ended.
    void DropDead()
    {
        foreach (var dead in byStorage.Values.Where(entry => !entry.Storage.IsAlive).ToList())
        {
            byStorage.Remove(dead.Storage.Address);
            Drop(dead);
        }
        mostEntries = 2 * Math.Max(32, byStorage.Count);
    }
}
