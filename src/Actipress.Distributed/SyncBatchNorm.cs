using Actipress.Backward;
using Actipress.Maps;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// A batch norm that normalises by the statistics of the whole batch over all ranks, as PyTorch's <c>SyncBatchNorm</c>. It takes the place
/// of <c>BatchNorm1d</c>, <c>BatchNorm2d</c> and <c>BatchNorm3d</c> where a rank's part of the batch is small. Its parameters and buffers
/// have their names, so that their weights can be loaded.
/// </summary>
/// <remarks>
/// In training every rank must run it the same number of times, forward and backward; parts of the batch may be unlike, and one may have no
/// example. It sends 2 numbers of 8 bytes a channel in each direction, and waits for them. In evaluation, and where there is one rank, it
/// is libtorch's batch norm. Its input is compressed as any batch norm's. It has no second derivative.
/// </remarks>
public sealed class SyncBatchNorm : nn.Module<Tensor, Tensor>
{
    readonly Ranks ranks;
    readonly long features;
    readonly double epsilon, momentum;
    readonly Parameter? weight, bias;
    readonly Tensor? running_mean, running_var, num_batches_tracked;

    /// <param name="features">The number of channels.</param>
    /// <param name="ranks">The ranks whose parts make the batch.</param>
    /// <param name="eps">The number that is added to the variance.</param>
    /// <param name="momentum">The share of a batch in the running statistics.</param>
    /// <param name="affine">Whether each channel has a weight and a bias.</param>
    /// <param name="track_running_stats">
    /// Whether running statistics are kept, which evaluation uses. Without them evaluation uses a rank's own batch.
    /// </param>
    /// <param name="device">The device of parameters and buffers; by default the CPU.</param>
    /// <param name="dtype">The type of parameters and of the running statistics; by default float32.</param>
    public SyncBatchNorm(
        long features, Ranks ranks, double eps = 1e-5, double momentum = 0.1, bool affine = true, bool track_running_stats = true,
        Device? device = null, ScalarType? dtype = null) : base(nameof(SyncBatchNorm))
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(features, 1);
        ArgumentNullException.ThrowIfNull(ranks);
        (this.ranks, this.features, epsilon, this.momentum) = (ranks, features, eps, momentum);
        // The module may outlive the scope in which it is made.
        if (affine)
        {
            weight = new Parameter(ones(features, dtype, device).DetachFromDisposeScope());
            bias = new Parameter(zeros(features, dtype, device).DetachFromDisposeScope());
        }
        if (track_running_stats)
        {
            running_mean = zeros(features, dtype, device).DetachFromDisposeScope();
            running_var = ones(features, dtype, device).DetachFromDisposeScope();
            num_batches_tracked = zeros([], ScalarType.Int64, device).DetachFromDisposeScope();
        }
        RegisterComponents();
    }

    /// <summary>(examples, channels, ...) to the same shape.</summary>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        if (input.dim() < 2)
            throw new ArgumentException($"Found an input of shape [{string.Join(", ", input.shape)}], wanted (examples, channels, ...).",
                nameof(input));
        if (input.shape[1] != features)
            throw new ArgumentException($"Found {input.shape[1]} channels in an input of shape [{string.Join(", ", input.shape)}], "
                + $"wanted {features}.", nameof(input));
        if (training) CountBatch();
        if (!training || ranks.Size == 1)
            return nn.functional.batch_norm(
                input, running_mean, running_var, weight, bias, training || running_mean is null, momentum, epsilon);

        var (elements, mean, variance) = OfWholeBatch(input);
        using (mean)
        using (variance)
        {
            Track(elements, mean, variance);
            var batch = new SharedBatchNorm(elements, ranks.HasNoExamples || input.numel() == 0 ? SumOfOthers : Sum);
            if (input.numel() > 0) return batch.Normalise(input, mean, variance, weight, bias, epsilon);
            // libtorch's batch norm of no examples has no backward pass, in which the other ranks wait for this one's sums.
            using Tensor none = zeros([1, .. input.shape[1..]], input.dtype, input.device), one = cat([input, none]);
            using var normalised = batch.Normalise(one, mean, variance, weight, bias, epsilon);
            return normalised.narrow(0, 0, 0);
        }
    }

    // Sums are float64, so that the variance, a difference of two of them, is exact enough.
    (long Elements, Tensor Mean, Tensor Variance) OfWholeBatch(Tensor input)
    {
        using var untracked = no_grad();
        using var scope = NewDisposeScope();
        var (channels, own) = ((int)input.shape[1], ranks.HasNoExamples ? 0 : input.numel() / input.shape[1]);
        var numbers = new double[2 * channels + 1];
        if (own > 0)
        {
            var wide = input.dtype is ScalarType.Float16 or ScalarType.BFloat16 ? input.to(ScalarType.Float32) : input;
            var (variances, means) = var_mean(wide, ChannelAxis.Others(wide), unbiased: false);
            double[] spreads = Numbers(variances), middles = Numbers(means);
            for (var c = 0; c < channels; c++)
                (numbers[c], numbers[channels + c]) = (own * middles[c], own * (spreads[c] + middles[c] * middles[c]));
        }
        numbers[^1] = own;
        Sum(numbers);
        var all = numbers[^1];
        if (all == 0) throw new ArgumentException("Found no examples on any rank, wanted one at least.", nameof(input));
        var mean = numbers[..channels].Select(sum => sum / all).ToArray();
        var variance = mean.Select((middle, c) => Math.Max(0, numbers[channels + c] / all - middle * middle)).ToArray();
        return ((long)all, Given(mean), Given(variance));

        static double[] Numbers(Tensor some) => some.to(ScalarType.Float64).cpu().data<double>().ToArray();

        Tensor Given(double[] some) => tensor(some)
            .to(input.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32).to(input.device).MoveToOuterDisposeScope();
    }

    void Sum(double[] numbers)
    {
        using var all = from_array(numbers);
        ranks.AllReduce(all);
        all.data<double>().CopyTo(numbers);
    }

    // What has no part in the statistics adds nothing to the sums, and has no gradient by them.
    void SumOfOthers(double[] numbers)
    {
        Array.Clear(numbers);
        Sum(numbers);
        Array.Clear(numbers);
    }

    void CountBatch()
    {
        if (num_batches_tracked is null) return;
        using var untracked = no_grad();
        using var one = ones_like(num_batches_tracked);
        num_batches_tracked.Add_(one);
    }

    void Track(long elements, Tensor mean, Tensor variance)
    {
        if (running_mean is null || running_var is null) return;
        using var untracked = no_grad();
        Mix(running_mean, mean, 1);
        Mix(running_var, variance, elements / Math.Max(1.0, elements - 1.0));

        void Mix(Tensor running, Tensor own, double factor)
        {
            using var part = own.Mul(momentum * factor);
            running.Mul_(1 - momentum).Add_(part);
        }
    }
}
