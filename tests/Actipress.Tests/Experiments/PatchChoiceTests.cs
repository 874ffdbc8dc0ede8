using Actipress.Experiments;
using Actipress.Models;

namespace Actipress.Tests.Experiments;

public sealed class PatchChoiceTests
{
    // The scenarios run in a process of their own. Other tests fragment the allocator's memory, so that reading its level takes longer, and
    // a choice reads it many thousand times.
    [Theory]
    [InlineData(nameof(Scenario.The_largest_that_fits_is_chosen_for_either_way_of_training))]
    [InlineData(nameof(Scenario.What_does_not_fit_at_all_is_told))]
    public void A_choice_by_predictions(string scenario) => ChildProcess.RunScenario(typeof(Scenario), scenario);

    [Fact]
    public void Patches_grow_where_they_cover_least_and_then_the_batch_doubles()
    {
        Assert.Equal(
            ["2 of 32x32x32", "2 of 32x48x32", "2 of 32x64x32", "2 of 48x64x32", "2 of 48x80x32", "4 of 48x80x32", "8 of 48x80x32"],
            PatchChoice.Steps([40, 70, 20], 2, 8).Select(step => $"{step.Batch} of {string.Join('x', step.Patch)}"));
        Assert.Equal(["1 of 32x32x32"], PatchChoice.Steps([5, 32, 20], 1, 1)
            .Select(step => $"{step.Batch} of {string.Join('x', step.Patch)}"));
    }

    public sealed class Scenario
    {
        static PatchChoice Of(long bytes) => PatchChoice.Of(
            () => new UNet3D(1, 3, 2), 1, [64, 64, 48], 2, 8, ActivationCodec.Parse("dct:10"),
            new Segmentation(SegmentationLoss.CrossEntropy), bytes);

        [Fact(Explicit = true)]
        public void The_largest_that_fits_is_chosen_for_either_way_of_training()
        {
            const long Bound = 24L << 20;
            var choice = Of(Bound);
            Assert.InRange(choice.Compressed.Bytes, 1, Bound);
            Assert.InRange(choice.Plain.Bytes, 1, Bound);
            Assert.True(Voxels(choice.Compressed) > Voxels(choice.Plain), $"{choice}");
            // The bound is too small for the next larger patch, as the prediction for that patch shows.
            var steps = PatchChoice.Steps([64, 64, 48], 2, 8);
            var next = steps[steps.ToList().FindIndex(step => step.Batch == choice.Compressed.Batch
                && step.Patch.SequenceEqual(choice.Compressed.Patch)) + 1];
            Assert.True(Needed(next.Patch, next.Batch).Compressed > Bound * 0.95, $"{next} fits too");

            static long Voxels(PatchStep step) => step.Batch * step.Patch.Aggregate(1L, (product, extent) => product * extent);
        }

        [Fact(Explicit = true)]
        public void What_does_not_fit_at_all_is_told()
        {
            var message = Assert.Throws<InsufficientMemoryException>(() => Of(1 << 20)).Message;
            Assert.Contains("No patch fits in 1024.0 KiB: the smallest, 2 of 32 x 32 x 32, ", message, StringComparison.Ordinal);
            // The patch fits only compressed, and the choice says that plain training does not fit. How much either takes depends on the
            // processor.
            var (compressed, plain) = Needed([32, 32, 32], 2);
            Assert.InRange(compressed, 1, 0.9 * plain);
            var choice = Of((compressed + plain) / 2);
            Assert.Equal((true, false), (choice.Compressed.Fits, choice.Plain.Fits));
        }

        // The bytes of a training with a patch, with two numbers a parameter for the optimizer.
        static (long Compressed, long Plain) Needed(IReadOnlyList<int> patch, int batch)
        {
            using var model = new UNet3D(1, 3, 2);
            var prediction = MemoryPrediction.Of(
                model, [batch, 1, .. patch.Select(extent => (long)extent)], ActivationCodec.Parse("dct:10"));
            var optimizer = 2 * model.parameters().Sum(parameter => parameter.Bytes());
            return (prediction.NeededBytes(compressed: true) + optimizer, prediction.NeededBytes(compressed: false) + optimizer);
        }
    }
}
