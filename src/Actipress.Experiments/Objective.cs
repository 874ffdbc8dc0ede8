using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>The objective of a training: the loss that is minimised, and the score of the result.</summary>
public abstract record Objective
{
    /// <summary>The score's name.</summary>
    public abstract string ScoreName { get; }

    /// <summary>The loss: a scalar, which the caller disposes.</summary>
    /// <param name="output">The network's output, a batch of (n, classes, ...).</param>
    /// <param name="target">Classes, (n, ...) int64.</param>
    public abstract Tensor Loss(Tensor output, Tensor target);

    /// <summary>All examples' scores, each from 0 to 1.</summary>
    public abstract ScoreTally Scores(Tensor output, Tensor target);
}

/// <summary>One class for each image.</summary>
/// <param name="LogProbabilities">Whether the network's output is log-probabilities in place of logits.</param>
public sealed record Classification(bool LogProbabilities = false) : Objective
{
    public override string ScoreName => "accuracy";

    public override Tensor Loss(Tensor output, Tensor target) =>
        LogProbabilities ? nn.functional.nll_loss(output, target) : nn.functional.cross_entropy(output, target);

    public override ScoreTally Scores(Tensor output, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(output);
        using Tensor found = output.argmax(1), right = found.eq(target), sum = right.sum();
        return ScoreTally.OfImages(sum.item<long>(), (int)found.shape[0]);
    }
}

/// <summary>A class for each pixel or voxel. Class 0 is background, and every other class is a mask.</summary>
/// <param name="Minimised">The loss.</param>
public sealed record Segmentation(SegmentationLoss Minimised) : Objective
{
    // The constant that equation 31 adds to numerator and denominator, so that an empty mask that is predicted empty has a score of 1.
    const double Epsilon = 1e-5;

    public override string ScoreName => "DSC";

    public override Tensor Loss(Tensor output, Tensor target)
    {
        if (Minimised == SegmentationLoss.CrossEntropy) return nn.functional.cross_entropy(output, target);
        var dice = SoftDice(output, target);
        if (Minimised == SegmentationLoss.Dice) return dice;
        using (dice)
        using (var entropy = nn.functional.cross_entropy(output, target)) return dice.Add(entropy);
    }

    /// <summary>
    /// The mean over masks of equation 31, with sums over the batch's voxels: between -1 and 0.
    /// </summary>
    /// <param name="output">Logits (n, classes, ...).</param>
    /// <param name="target">(n, ...) int64.</param>
    public static Tensor SoftDice(Tensor output, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(output);
        using Tensor u = nn.functional.softmax(output, 1), v = Masks(target, output.shape[1], output.dtype);
        long[] voxels = [0, .. Enumerable.Range(2, (int)output.dim() - 2)];
        using Tensor products = u * v, common = products.sum(voxels), found = u.sum(voxels), wanted = v.sum(voxels);
        using Tensor dice = Dice(common, found, wanted), masks = dice.narrow(0, 1, dice.shape[0] - 1), mean = masks.mean();
        return mean.neg();
    }

    /// <summary>
    /// The mean DSC of each example's masks, with the most probable class of each voxel; also by the paper's formula (equations 31 and 33).
    /// </summary>
    public override ScoreTally Scores(Tensor output, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(output);
        using Tensor found = output.argmax(1), here = found.cpu(), contiguous = here.contiguous(), targetHere = target.cpu(),
            wanted = targetHere.contiguous();
        var (tally, examples, voxels) = (new ScoreTally(), (int)found.shape[0], checked((int)(found.NumberOfElements / found.shape[0])));
        ReadOnlySpan<long> u = MemoryMarshal.Cast<byte, long>(contiguous.bytes), v = MemoryMarshal.Cast<byte, long>(wanted.bytes);
        for (var example = 0; example < examples; example++)
            tally.Add(u.Slice(example * voxels, voxels), v.Slice(example * voxels, voxels), (int)output.shape[1]);
        return tally;
    }

    static Tensor Dice(Tensor common, Tensor found, Tensor wanted)
    {
        using Tensor twice = common.Mul(2), above = twice.Add(Epsilon), both = found.Add(wanted), below = both.Add(Epsilon);
        return above / below;
    }

    // The one-hot form: classes (n, ...) to ones and zeros (n, classes, ...).
    static Tensor Masks(Tensor labels, long classes, ScalarType type)
    {
        long[] shape = [1, classes, .. Enumerable.Repeat(1L, (int)labels.dim() - 1)];
        using Tensor each = HeldScalars.Arange(classes, device: labels.device), across = each.view(shape), one = labels.unsqueeze(1),
            masks = one.eq(across);
        return masks.to_type(type);
    }
}
