using Actipress.Cli;
using Actipress.Experiments;

namespace Actipress.Tests.Cli;

public sealed class TrainingTableTests
{
    static RunResult Run(double? accuracy, double? dsc, double stepMs, long? peakMiB) =>
        new(accuracy, dsc, null, null, 0.1, stepMs, peakMiB << 20, peakMiB << 20);

    static string Sentence(RunResult plain, RunResult packed, int tested)
    {
        var plan = new TrainingPlan { Model = "resnet20", Data = "colour-digits" };
        return TrainingTable.Sentence(
            new("resnet20", "digits", "dct:10", "all", 2, 1, plain, packed, false, plan, Provenance.Here()), tested);
    }

    const string Memory = "Compressed, resnet20 needs 25.0 MiB at the peak of a step in place of 100.0 MiB (25 %), and ";

    [Theory]
    [InlineData(
        0.95, 0.945, 1000,
        "learns as well: its test accuracy is the plain network's within 0.50 points, which 1000 examples cannot tell from chance. ")]
    [InlineData(
        0.95, 0.95, 1000,
        "learns as well: its test accuracy is the plain network's within 0.00 points, which 1000 examples cannot tell from chance. ")]
    [InlineData(0.95, 0.90, 1000, "its test accuracy is 5.00 points lower. ")]
    [InlineData(0.90, 0.95, 1000, "its test accuracy is 5.00 points higher. ")]
    [InlineData(0.90, 0.80, 10, "its test accuracy is 10.00 points lower, which 10 examples cannot tell from chance. ")]
    public void An_accuracy_is_as_good_where_the_examples_cannot_tell(double plain, double packed, int tested, string says) =>
        Assert.Equal(
            $"{Memory}{says}A step takes 1.2 times as long. Memory is what a step adds to the model and its optimizer.",
            Sentence(Run(plain, null, 100, 100), Run(packed, null, 120, 25), tested));

    [Fact]
    public void Of_a_DSC_nothing_is_said_to_be_chance() =>
        Assert.Contains(
            "and its test DSC is 0.10 points lower. ", Sentence(Run(null, 0.873, 100, 100), Run(null, 0.872, 120, 25), 50),
            StringComparison.Ordinal);

    [Fact]
    public void Memory_that_does_not_fall_is_said_and_unknown_memory_is_not()
    {
        Assert.StartsWith(
            "Compressed, resnet20 needs 110.0 MiB at the peak of a step, no less than the plain network's 100.0 MiB, and its test",
            Sentence(Run(0.9, null, 100, 100), Run(0.5, null, 100, 110), 1000), StringComparison.Ordinal);
        Assert.StartsWith(
            "Compressed, resnet20's test accuracy is 40.00 points lower.",
            Sentence(Run(0.9, null, 100, null), Run(0.5, null, 100, null), 1000), StringComparison.Ordinal);
        Assert.StartsWith(
            "Compressed, resnet20 learns as well:", Sentence(Run(0.9, null, 100, null), Run(0.9, null, 100, null), 1000),
            StringComparison.Ordinal);
    }
}
