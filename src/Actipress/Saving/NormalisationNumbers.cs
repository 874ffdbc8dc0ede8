using Actipress.Autograd;
using Actipress.Machine;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// The factors a and summands b of a normalisation x a + b. For a batch norm or group norm, a = weight / deviation and b = bias - mean a
/// for each channel. A layer norm has the statistics of each token, and then the weights and biases of the features.
/// </summary>
/// <remarks>The callers of <see cref="Share"/> share the numbers, which are disposed with the last share.</remarks>
sealed class NormalisationNumbers
{
    readonly long[] shape;
    readonly Operation operation;
    readonly double epsilon;
    readonly (Tensor Tensor, long Version)? mean, deviation, weight, bias;
    readonly bool isOfVariance;

    // Each number applies to this many neighbouring elements.
    (Tensor Factor, Tensor Shift, long Place)[] steps = [];
    int shares;

    /// <param name="frame">The frame of the normalisation, which ends.</param>
    /// <param name="results">
    /// The results: the normalised map, and the statistics where the normalisation computed them from the batch.
    /// </param>
    /// <param name="shape">The input's shape.</param>
    public NormalisationNumbers(in Frame frame, ReadOnlySpan<nint> results, long[] shape)
    {
        (this.shape, operation) = (shape, frame.Operation);
        var isOfLayer = operation.ShortName == "native_layer_norm";
        (weight, bias) = (Of(frame.Arguments[isOfLayer ? 2 : 1]), Of(frame.Arguments[isOfLayer ? 3 : 2]));
        (mean, deviation) = results.Length > 2 ? (Of(results[1]), Of(results[2])) : (null, null);
        if (mean is { Tensor.NumberOfElements: > 0 } || operation.ShortName != "native_batch_norm") return;
        mean?.Tensor.Dispose();
        deviation?.Tensor.Dispose();
        (mean, deviation, isOfVariance, epsilon) = (Of(frame.Arguments[3]), Of(frame.Arguments[4]), true, frame.Numbers[7]);
    }

    /// <summary>The bytes of the numbers, once they are settled.</summary>
    public long Bytes => steps.Sum(step => step.Factor.Bytes() + step.Shift.Bytes());

    public void Share() => shares++;

    /// <summary>
    /// Computes the numbers from the tensors that the normalisation used. Returns false where one of them has changed since, or is not
    /// known.
    /// </summary>
    public bool TrySettle()
    {
        if (steps.Length > 0) return true;
        if (mean is null || deviation is null) return false;
        if (!IsUnchanged(mean) || !IsUnchanged(deviation) || !IsUnchanged(weight) || !IsUnchanged(bias)) return false;
        using var scope = NewDisposeScope();
        var inverse = deviation.Value.Tensor;
        if (isOfVariance) inverse = inverse.Add(epsilon).rsqrt();
        var middle = mean.Value.Tensor;
        if (operation.ShortName == "native_layer_norm")
        {
            var ofTokens = (inverse, middle.mul(inverse).neg(), Elements(shape) / inverse.NumberOfElements);
            steps = weight is null ? [ofTokens] : [ofTokens, (weight.Value.Tensor, bias?.Tensor ?? zeros_like(weight.Value.Tensor), 1)];
        }
        else
        {
            var (examples, channels) = (1L, shape[1]);
            if (operation.ShortName == "native_group_norm")
            {
                examples = shape[0];
                var inGroup = channels / (inverse.NumberOfElements / examples);
                inverse = inverse.view(examples, -1).repeat_interleave(inGroup, 1);
                middle = middle.view(examples, -1).repeat_interleave(inGroup, 1);
            }
            var factor = weight is null ? inverse : inverse.mul(weight.Value.Tensor);
            var shift = middle.mul(factor).neg();
            if (bias is not null) shift = shift.Add(bias.Value.Tensor);
            long[] spread = [examples, channels, .. Enumerable.Repeat(1L, shape.Length - 2)];
            steps = [(factor.reshape(spread), shift.reshape(spread), Elements(shape.AsSpan(2)))];
        }
        steps = [.. steps.Select(step => (Own(step.Factor), Own(step.Shift), step.Place))];
        return true;

        static Tensor Own(Tensor numbers) => numbers.clone().DetachFromDisposeScope();
    }

    /// <summary>Normalises the values of an input in place.</summary>
    public void Apply(Tensor values)
    {
        foreach (var (factor, shift, place) in steps)
        {
            if (place >= ChannelScale.FewestPlaces && values.device_type == DeviceType.CPU && values.dtype == ScalarType.Float32)
            {
                ChannelScale.Apply(values, factor, shift, place);
                continue;
            }
            values.mul_(factor);
            values.Add_(shift);
        }
    }

    /// <summary>Whether each map has two numbers.</summary>
    public bool AreOfMaps =>
        steps is [{ Place: >= ChannelScale.FewestPlaces and var place, Factor: { dtype: ScalarType.Float32, device_type: DeviceType.CPU } }]
        && place == MapShape.Of(shape).MapElements;

    /// <summary>Normalises a range of an input in place. It needs <see cref="AreOfMaps"/>.</summary>
    /// <param name="values">Contiguous float32 numbers on the CPU.</param>
    /// <param name="range">The range of the input that the values are.</param>
    public void Apply(Tensor values, MapRange range)
    {
        var (factor, shift, _) = steps[0];
        ChannelScale.Apply(values, factor, shift, range.Rows * MapRange.RowElements(MapShape.Of(shape)), range.First);
    }

    /// <summary>Releases one share.</summary>
    public void Dispose()
    {
        if (--shares > 0) return;
        foreach (var part in ((Tensor Tensor, long Version)?[])[mean, deviation, weight, bias]) part?.Tensor.Dispose();
        foreach (var (factor, shift, _) in steps)
        {
            factor.Dispose();
            shift.Dispose();
        }
        steps = [];
    }

    static (Tensor, long)? Of(nint implementation)
    {
        if (implementation == 0 || StorageReference.AddressOf(implementation) == 0) return null;    // none, or an undefined tensor
        var tensor = LibTorch.OfImplementation(implementation).DetachFromDisposeScope();
        return (tensor, LibTorch.Version(tensor));
    }

    static long Elements(ReadOnlySpan<long> extents)
    {
        var elements = 1L;
        foreach (var extent in extents) elements *= extent;
        return elements;
    }

    static bool IsUnchanged((Tensor Tensor, long Version)? part) =>
        part is not var (tensor, version) || LibTorch.Version(tensor) == version;
}
