using System.Text.Json.Serialization;

namespace Actipress.Experiments;

/// <summary>One run, plain or compressed. Scores go from 0 to 1: accuracy of classifiers, mean DSC of segmentations.</summary>
/// <param name="TestAccuracy">The share of the test set that is classified correctly.</param>
/// <param name="TestDsc">The mean over the test set of the mean over an example's masks, without empty masks.</param>
/// <param name="TrainAccuracy">The accuracy on as many examples of the training set.</param>
/// <param name="TrainDsc">The DSC on as many examples of the training set.</param>
/// <param name="TrainLoss">The mean loss over the last epoch.</param>
/// <param name="StepMs">The median time of a step: forward, backward and optimizer.</param>
/// <param name="AfterForwardBytes">
/// The rise of the allocator's level over the forward pass and the loss, as the median over steps; null where no meter works.
/// </param>
/// <param name="PeakBytes">The largest rise of the allocator's level above that before a step; null where no meter works.</param>
/// <param name="SavedBytes">
/// The bytes of activation maps as autograd saved them in the last step of a whole batch; compressed run only.
/// </param>
/// <param name="KeptBytes">The bytes kept in their place.</param>
/// <param name="BytesPerElement">The kept bytes, divided by the elements of the saved maps.</param>
/// <param name="GradientCosine">
/// The cosine of the gradient with compression to the exact gradient, at the trained parameters, as the mean over batches.
/// </param>
/// <param name="GradientNormRatio">
/// The norm of the gradient with compression, divided by that of the exact gradient, as the mean over batches.
/// </param>
/// <param name="TestDscPaper">The test set's DSC by the paper's formula, in which an empty mask that is not found scores 1.</param>
/// <param name="TestClasses">The test set's DSC class by class.</param>
/// <param name="Patch">The depth, height and width of the drawn patches; null where no patches were drawn.</param>
/// <param name="Batch">The number of examples of a step where a bound on memory chose it.</param>
public sealed record RunResult(
    double? TestAccuracy, double? TestDsc, double? TrainAccuracy, double? TrainDsc, double TrainLoss, double StepMs,
    long? AfterForwardBytes, long? PeakBytes, long? SavedBytes = null, long? KeptBytes = null, double? BytesPerElement = null,
    double? GradientCosine = null, double? GradientNormRatio = null, double? TestDscPaper = null,
    IReadOnlyList<ClassScore>? TestClasses = null, IReadOnlyList<int>? Patch = null, int? Batch = null)
{
    /// <summary>Whichever there is.</summary>
    [JsonIgnore]
    public double TestScore => TestAccuracy ?? TestDsc ?? double.NaN;

    /// <summary>Whichever there is.</summary>
    [JsonIgnore]
    public double TrainScore => TrainAccuracy ?? TrainDsc ?? double.NaN;

    /// <summary>The name of the score.</summary>
    [JsonIgnore]
    public string ScoreName => TestDsc is null ? "accuracy" : "DSC";
}

/// <summary>The result of one whole epoch.</summary>
/// <param name="TrainLoss">The mean loss over its steps.</param>
/// <param name="TestAccuracy">After it.</param>
/// <param name="TestDsc">After it.</param>
public sealed record EpochResult(double TrainLoss, double? TestAccuracy, double? TestDsc)
{
    /// <summary>Whichever there is.</summary>
    [JsonIgnore]
    public double TestScore => TestAccuracy ?? TestDsc ?? double.NaN;

    internal static EpochResult Of(Objective objective, double loss, double score) =>
        objective is Classification ? new(loss, score, null) : new(loss, null, score);
}
