using System.Text.Json.Serialization;

namespace Actipress.Experiments;

/// <summary>One run, plain or compressed. Scores go from 0 to 1: accuracy of classifiers, mean DSC of segmentations.</summary>
/// <param name="TestAccuracy">Share of the test set.</param>
/// <param name="TestDsc">Mean over the test set of each example's masks' mean; masks that are empty are left out.</param>
/// <param name="TrainAccuracy">The same over as many examples of the training set.</param>
/// <param name="TrainDsc">Likewise.</param>
/// <param name="TrainLoss">Mean over the last epoch.</param>
/// <param name="StepMs">Median over all steps: forward, backward and optimizer.</param>
/// <param name="AfterForwardBytes">What the forward pass and the loss left in the allocator, median over steps; null where no meter works.</param>
/// <param name="PeakBytes">How far the allocator rose above its level before the step, largest over steps; null likewise.</param>
/// <param name="SavedBytes">Activation maps as autograd saved them in the last step of a whole batch; compressed run only.</param>
/// <param name="KeptBytes">What was kept in their place.</param>
/// <param name="BytesPerElement">Kept bytes by elements of the saved maps.</param>
/// <param name="GradientCosine">Of the gradient with compression to the exact one, at the trained parameters, mean over batches.</param>
/// <param name="GradientNormRatio">Likewise.</param>
/// <param name="TestDscPaper">The test set's DSC by the paper's formula, in which a mask that is empty and rightly not found counts as
/// 1.</param>
/// <param name="TestClasses">The test set's DSC class by class.</param>
/// <param name="Patch">Depth, height and width of the patches that were drawn; null where none were.</param>
/// <param name="Batch">Examples a step where a bound on memory decided.</param>
public sealed record RunResult(
    double? TestAccuracy, double? TestDsc, double? TrainAccuracy, double? TrainDsc, double TrainLoss, double StepMs, long? AfterForwardBytes, long? PeakBytes,
    long? SavedBytes = null, long? KeptBytes = null, double? BytesPerElement = null, double? GradientCosine = null,
        double? GradientNormRatio = null,
    double? TestDscPaper = null, IReadOnlyList<ClassScore>? TestClasses = null, IReadOnlyList<int>? Patch = null, int? Batch = null)
{
    /// <summary>Whichever there is.</summary>
    [JsonIgnore]
    public double TestScore => TestAccuracy ?? TestDsc ?? double.NaN;

    /// <summary>Whichever there is.</summary>
    [JsonIgnore]
    public double TrainScore => TrainAccuracy ?? TrainDsc ?? double.NaN;

    /// <summary>What the score is.</summary>
    [JsonIgnore]
    public string ScoreName => TestDsc is null ? "accuracy" : "DSC";
}

/// <summary>One whole epoch.</summary>
/// <param name="TrainLoss">Mean over its steps.</param>
/// <param name="TestAccuracy">After it.</param>
/// <param name="TestDsc">After it.</param>
public sealed record EpochResult(double TrainLoss, double? TestAccuracy, double? TestDsc)
{
    /// <summary>Whichever there is.</summary>
    [JsonIgnore]
    public double TestScore => TestAccuracy ?? TestDsc ?? double.NaN;

    internal static EpochResult Of(Objective objective, double loss, double score) => objective is Classification ? new(loss, score, null) : new(loss, null, score);
}
