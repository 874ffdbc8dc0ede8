using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Backward;

/// <summary>
/// A batch norm whose batch is divided over several processes. The forward pass uses the statistics of the whole batch; the backward pass
/// adds up its sums over all processes.
/// </summary>
/// <remarks>
/// The operation is libtorch's batch norm with given statistics, so that whatever compresses a batch norm's input compresses this one too.
/// The input is represented by a <see cref="Placeholder"/> in the backward pass, which brings the pass to
/// <see cref="BackwardKernels"/>.
/// </remarks>
/// <param name="Elements">The number of elements of a channel in the whole batch.</param>
/// <param name="Sum">Replaces numbers by their sums over all processes.</param>
sealed record SharedBatchNorm(long Elements, Action<double[]> Sum)
{
    /// <summary>Normalises this process's part of the batch.</summary>
    /// <param name="input">(examples, channels, ...); not disposed.</param>
    /// <param name="mean">The mean of each channel of the whole batch.</param>
    /// <param name="variance">The variance of each channel of the whole batch, with division by the number of elements.</param>
    /// <param name="weight">The weight of each channel; null for 1.</param>
    /// <param name="bias">The bias of each channel; null for 0.</param>
    /// <param name="epsilon">The number that is added to the variance.</param>
    /// <exception cref="PlatformNotSupportedException">This libtorch takes no kernel for the backward pass.</exception>
    public Tensor Normalise(Tensor input, Tensor mean, Tensor variance, Tensor? weight, Tensor? bias, double epsilon)
    {
        if (BackwardKernels.Refusal is { } refusal) throw new PlatformNotSupportedException(refusal.Message, refusal);
        var outer = SavedTensorsScope.Active;
        using var scope = SavedTensorsScope.Enter(new Hooks(this, StorageReference.AddressOf(input), outer, SavedTensorsScope.ActiveHooks));
        var result = nn.functional.batch_norm(input, mean, variance, weight, bias, training: false, eps: epsilon);
        if (outer is null) scope.ThrowIfFailed();
        return result;
    }

    // Gives all tensors to the hooks of the scope around, which keep them as they would without this scope.
    sealed class Hooks(SharedBatchNorm batch, nint input, SavedTensorsScope? outer, SavedTensorHooks? outerHooks) : SavedTensorHooks
    {
        public override SavedTensor Pack(Tensor tensor)
        {
            var kept = outer?.PackInside(tensor) ?? new PassedOn(tensor);
            return StorageReference.AddressOf(tensor) == input ? new Input(batch, kept, tensor) : kept;
        }

        public override void Ended(in Frame frame, ReadOnlySpan<nint> results) => outerHooks?.Ended(frame, results);

        public override void Failed(Exception failure, bool whilePacking) => outer?.Record(failure, whilePacking);
    }

    /// <summary>The saved input, whose values the kernel takes when it runs.</summary>
    internal sealed class Input : SavedTensor, IMapPieces
    {
        readonly SharedBatchNorm batch;
        readonly SavedTensor kept;
        readonly Placeholder placeholder;
        Exception? failure;

        public Input(SharedBatchNorm batch, SavedTensor kept, Tensor tensor)
        {
            (this.batch, this.kept, Sizes) = (batch, kept, tensor.shape);
            placeholder = new(this, tensor.dtype);
        }

        public long[] Sizes { get; }

        double IMapPieces.Scale => 1;

        Tensor IMapPieces.Read(MapRange range) => throw new NotSupportedException("The input is read whole, by its batch norm alone.");

        void IMapPieces.Failed(Exception thrown) => failure = thrown;

        public override Tensor Unpack() => !is_grad_enabled() ? placeholder.Show() : throw new NotSupportedException(
            "A batch norm that is synchronised over ranks has no second derivative: found createGraph, wanted a backward pass without it.");

        public override void Dispose()
        {
            placeholder.Dispose();
            kept.Dispose();
        }

        /// <summary>The gradients that are wanted.</summary>
        /// <param name="call">libtorch's arguments.</param>
        /// <param name="gradient">The gradient by the output.</param>
        /// <param name="mayOverwrite">Whether nobody else reads <paramref name="gradient"/> afterwards.</param>
        public (Tensor? Input, Tensor? Weight, Tensor? Bias) Run(BatchNormCall call, Tensor gradient, bool mayOverwrite)
        {
            if (failure is not null) throw failure;
            using var map = kept.Unpack();
            if (Placeholder.PiecesOf(map) is { } pieces) return PiecewiseBatchNorm.Run(call, gradient, pieces, mayOverwrite, batch);
            if (map.dtype == ScalarType.Float32 && gradient.dtype == ScalarType.Float32 && map.device_type == DeviceType.CPU)
            {
                // Pieces are of maps over planes or volumes.
                using var rowMajor = map.contiguous();
                using var maps = map.dim() > 3 ? rowMajor.alias() : rowMajor.view(Sizes[0], Sizes[1], 1, -1);
                return PiecewiseBatchNorm.Run(call, gradient, new Whole(maps), mayOverwrite, batch);
            }
            return batch.ByTensors(call, gradient, map);
        }
    }

    // A map in memory, of which a piece is a view.
    sealed class Whole(Tensor map) : IMapPieces
    {
        public long[] Sizes => map.shape;
        public double Scale => 1;

        public Tensor Read(MapRange range)
        {
            using var part = range.Of(map);
            return part.contiguous();
        }

        public void Failed(Exception failure) { }
    }

    // The gradients by operations on whole tensors, for other types and devices. The sums are in float64, or in float32 on a device that
    // lacks it.
    (Tensor?, Tensor?, Tensor?) ByTensors(BatchNormCall call, Tensor gradient, Tensor map)
    {
        using var scope = NewDisposeScope();
        var precise = map.device_type == DeviceType.MPS ? ScalarType.Float32 : ScalarType.Float64;
        var accumulated = gradient.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var centred = map.to(accumulated).Add(PerChannel(call.Mean!).neg());
        var inverse = call.Deviation!.to(precise).Add(call.Epsilon).rsqrt();
        BatchNormSums own = new(OfChannels(gradient), OfChannels(gradient.mul(centred)), OfChannels(centred));
        var all = call.Wants.Input ? own.OfWholeBatch(this) : own with { Deviations = new double[own.Deviations.Length] };
        double[] moved = [.. all.Deviations.Select(sum => sum / Elements)];
        var byWeight = Given(call.Wants.Weight, () => Vector([.. moved.Select((by, c) => own.ProductsAbout(c, by))]).mul(inverse));
        var byBias = Given(call.Wants.Bias, () => Vector(own.Gradients));
        if (!call.Wants.Input) return (null, byWeight, byBias);

        var scale = call.Weight is null ? inverse : call.Weight.to(precise).mul(inverse);
        var slope = Vector([.. moved.Select((by, c) => -all.ProductsAbout(c, by) / Elements)]).mul(inverse).mul(inverse).mul(scale);
        var constant = Vector([.. all.Gradients.Select(sum => -sum / Elements)]).mul(scale);
        centred.Add_(PerChannel(Vector(moved).neg()));
        var byInput = centred.mul_(PerChannel(slope)).Add_(PerChannel(constant)).Addcmul_(gradient.to(accumulated), PerChannel(scale), 1);
        return (byInput.to(gradient.dtype).MoveToOuterDisposeScope(), byWeight, byBias);

        Tensor? Given(bool wanted, Func<Tensor> make) => wanted ? make().to(accumulated).MoveToOuterDisposeScope() : null;
        double[] OfChannels(Tensor values) =>
            values.sum(ChannelAxis.Others(map), type: precise).to(ScalarType.Float64).cpu().data<double>().ToArray();
        Tensor Vector(double[] numbers) => tensor(numbers).to(precise).to(map.device);
        Tensor PerChannel(Tensor numbers) => ChannelAxis.Along(map, numbers.to(accumulated));
    }
}
