using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>What a network is trained for: the loss that it minimises, and the score by which it is judged.</summary>
public abstract record Objective
{
    /// <summary>The score's name.</summary>
    public abstract string ScoreName { get; }

    /// <summary>A scalar, which the caller disposes.</summary>
    /// <param name="output">Of the network, a batch of (n, classes, ...).</param>
    /// <param name="target">Classes, (n, ...) int64.</param>
    public abstract Tensor Loss(Tensor output, Tensor target);

    /// <summary>The sum of all examples' scores, each from 0 to 1.</summary>
    public abstract double Scores(Tensor output, Tensor target);
}

/// <summary>One class for each image.</summary>
/// <param name="LogProbabilities">Whether the network gives these in place of logits.</param>
public sealed record Classification(bool LogProbabilities) : Objective
{
    public override string ScoreName => "accuracy";

    public override Tensor Loss(Tensor output, Tensor target) => LogProbabilities ? nn.functional.nll_loss(output, target) : nn.functional.cross_entropy(output, target);

    public override double Scores(Tensor output, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(output);
        using Tensor found = output.argmax(1), right = found.eq(target), sum = right.sum();
        return sum.item<long>();
    }
}

/// <summary>A class for each pixel or voxel; class 0 is background, every other one a mask.</summary>
/// <param name="Minimised">What is minimised.</param>
public sealed record Segmentation(SegmentationLoss Minimised) : Objective
{
    // Equation 31: added above and below, so that a mask that is empty and predicted empty has a score of 1.
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
    /// Equation 31 for each mask, its sums over the batch's voxels; the mean over masks: between -1 and 0.
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

    /// <summary>The mean DSC of each example's masks (equations 31 and 33, with the most probable class of each voxel), summed over examples.</summary>
    public override double Scores(Tensor output, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(output);
        long[] voxels = [.. Enumerable.Range(2, (int)output.dim() - 2)];
        using Tensor classes = output.argmax(1), u = Masks(classes, output.shape[1], output.dtype), v = Masks(target, output.shape[1], output.dtype);
        using Tensor products = u * v, common = products.sum(voxels), found = u.sum(voxels), wanted = v.sum(voxels);
        using Tensor dice = Dice(common, found, wanted), masks = dice.narrow(1, 1, dice.shape[1] - 1), means = masks.mean([1L]), sum = means.sum();
        return sum.item<float>();
    }

    static Tensor Dice(Tensor common, Tensor found, Tensor wanted)
    {
        using Tensor twice = common.Mul(2), above = twice.Add(Epsilon), both = found.Add(wanted), below = both.Add(Epsilon);
        return above / below;
    }

    // (n, ...) classes to (n, classes, ...) ones and zeros.
    static Tensor Masks(Tensor labels, long classes, ScalarType type)
    {
        long[] shape = [1, classes, .. Enumerable.Repeat(1L, (int)labels.dim() - 1)];
        using Tensor each = HeldScalars.Arange(classes, device: labels.device), across = each.view(shape), one = labels.unsqueeze(1), masks = one.eq(across);
        return masks.to_type(type);
    }
}
