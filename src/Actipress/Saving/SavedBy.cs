using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>The operation that saves a tensor, and its need.</summary>
/// <param name="Operation">The operation of libtorch; <see cref="Operation.Unknown"/> where none was observed.</param>
/// <param name="Need">The need of its backward pass for the tensor.</param>
/// <param name="IsKnown">Whether the table has a line for the operation that covers this tensor.</param>
/// <param name="IsArgument">Whether the tensor is one of the operation's arguments rather than a result.</param>
readonly record struct SavedBy(Operation Operation, Need Need, bool IsKnown, bool IsArgument)
{
    /// <summary>Finds the role of a saved tensor in the innermost operation that runs on this thread.</summary>
    /// <param name="tensor">The saved tensor itself.</param>
    /// <param name="operations">The running operations; null where they are not observed.</param>
    /// <param name="lines">Returns the line of an operation in the table.</param>
    public static SavedBy Of(Tensor tensor, RunningOperations? operations, Func<Operation, OperationNeeds?> lines)
    {
        if (operations is null || operations.Depth == 0) return new(Operation.Unknown, Need.Exact, false, false);
        var storage = StorageReference.AddressOf(tensor);
        ref var frame = ref operations.At(0);
        var isWeight = IsWeight(storage, operations, lines);
        if (lines(frame.Operation) is not { } line)
            return new(frame.Operation, isWeight ? Need.Weight : Need.Exact, isWeight, PlaceOf(storage, frame) >= 0);

        var (need, isArgument) = ((Need?)null, false);
        var implementation = OperationObserver.Implementation(tensor);
        for (var i = 0; i < frame.ArgumentCount; i++)
        {
            if (frame.Arguments[i] != implementation) continue;
            isArgument = true;
            need = need is null ? line.OfArgument(i) : Need.Both(need, line.OfArgument(i));
        }
        if (frame.Operation.IsInPlace && (need is null || frame.Arguments[0] == implementation))
            (need, isArgument) = (OfChanged(line), false);
        if (need is null && PlaceOf(storage, frame) is >= 0 and var place) (need, isArgument) = (line.OfArgument(place), true);
        var isKnown = need is not null ? line.KnowsArguments || !isArgument : line.KnowsResult(frame.SavedResults);
        need ??= line.OfResult(frame.SavedResults++);
        if (need is Need.InsideArguments bounds) need = bounds.Of(frame);
        if (need == Need.Factor && OtherIsSpread(frame, tensor)) need = Need.Linear;
        return new(frame.Operation, isWeight ? Need.Weight : need, isKnown || isWeight, isArgument);
    }

    /// <summary>The layer of the model whose parameter the running operations use. Inner operations come first. Null for none.</summary>
    public static Layer? LayerOf(RunningOperations? operations, ModelLayers layers)
    {
        for (var level = 0; operations is not null && level < operations.Depth; level++)
        {
            ref var frame = ref operations.At(level);
            for (var i = 0; i < frame.ArgumentCount; i++)
                if (frame.Arguments[i] != 0 && layers.OfParameter(StorageReference.AddressOf(frame.Arguments[i])) is { } layer)
                    return layer;
        }
        return null;
    }

    // Whether the other factor is broadcast over whole maps, such as a scale of each channel. Its gradient is a sum over places, as in a
    // convolution.
    static bool OtherIsSpread(Frame frame, Tensor tensor)
    {
        const int LeastPlaces = 64;    // convolution kernels whose weight is computed have fewer elements
        if (frame.Operation.ShortName != "mul" || frame.Arguments[0] == 0 || frame.Arguments[1] == 0) return false;
        var other = frame.Arguments[frame.Arguments[0] == OperationObserver.Implementation(tensor) ? 1 : 0];
        using var factor = LibTorch.OfImplementation(other);
        return factor.dim() == tensor.dim() && MapShape.Of(factor.shape).MapElements == 1
            && MapShape.Of(tensor.shape).MapElements >= LeastPlaces;
    }

    // An operation in place saves its first argument before the change, in a copy, or after the change.
    static Need OfChanged(OperationNeeds line) =>
        line.Arguments.Length == 0
            ? line.OfResult(0) : line.Results.Length == 0 ? line.OfArgument(0) : Need.Both(line.OfArgument(0), line.OfResult(0));

    // A computed weight may reach the operation that saves it through operations around it, for example as a view.
    static bool IsWeight(nint storage, RunningOperations operations, Func<Operation, OperationNeeds?> lines)
    {
        for (var level = 0; level < operations.Depth; level++)
        {
            ref var frame = ref operations.At(level);
            if (lines(frame.Operation) is not { } line) continue;
            for (var i = 0; i < frame.ArgumentCount; i++)
                if (frame.Arguments[i] != 0 && line.OfArgument(i) == Need.Weight
                    && StorageReference.AddressOf(frame.Arguments[i]) == storage)
                    return true;
        }
        return false;
    }

    // The first argument that has its data in a storage; -1 for none.
    static int PlaceOf(nint storage, in Frame frame)
    {
        for (var i = 0; i < frame.ArgumentCount; i++)
            if (frame.Arguments[i] != 0 && StorageReference.AddressOf(frame.Arguments[i]) == storage) return i;
        return -1;
    }
}
