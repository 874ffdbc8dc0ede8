using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class ObjectiveTests
{
    [Fact]
    public void Soft_dice_is_equation_31_for_each_mask()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var (output, target) = (randn([2, 3, 4, 5, 6]), randint(0, 3, [2, 4, 5, 6], int64));
        var (u, classes) = (nn.functional.softmax(output, 1).data<float>().ToArray(), target.data<long>().ToArray());
        double mean = 0;
        for (var mask = 1; mask < 3; mask++)
        {
            double common = 0, found = 0, wanted = 0;
            for (var n = 0; n < 2; n++)
                for (var voxel = 0; voxel < 120; voxel++)
                {
                    var (ui, vi) = (u[(n * 3 + mask) * 120 + voxel], classes[n * 120 + voxel] == mask ? 1 : 0);
                    (common, found, wanted) = (common + ui * vi, found + ui, wanted + vi);
                }
            mean -= (2 * common + 1e-5) / (found + wanted + 1e-5) / 2;
        }
        Assert.Equal(mean, Segmentation.SoftDice(output, target).item<float>(), 1e-6);
        var tensors = Tensor.TotalCount;
        Segmentation.SoftDice(output, target).Dispose();
        Assert.Equal(tensors, Tensor.TotalCount);
    }

    [Fact]
    public void The_dice_score_is_the_mean_of_masks_and_an_empty_one_rightly_left_empty_counts_1()
    {
        using var scope = NewDisposeScope();
        var found = tensor(new long[] { 0, 1, 1, 1, 0, 0, 0, 0 }).view(2, 1, 4);
        var wanted = tensor(new long[] { 0, 1, 1, 0, 0, 0, 0, 2 }).view(2, 1, 4);
        var logits = nn.functional.one_hot(found, 3).permute(0, 3, 1, 2).to(float32);
        // First: mask 1 has 2 of 3 and 2, mask 2 is empty in both. Second: mask 1 is empty in both, mask 2 is missed.
        Assert.Equal((2 * 2.0 / 5 + 1) / 2 + (1 + 0) / 2.0, new Segmentation(SegmentationLoss.Dice).Scores(logits, wanted), 1e-4);
    }

    [Theory]
    [InlineData(SegmentationLoss.Dice)]
    [InlineData(SegmentationLoss.CrossEntropy)]
    [InlineData(SegmentationLoss.Both)]
    public void Every_loss_is_least_where_the_output_is_right(SegmentationLoss kind)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        var wanted = randint(0, 3, [2, 8, 8], int64);
        var right = nn.functional.one_hot(wanted, 3).permute(0, 3, 1, 2).to(float32) * 20;
        var objective = new Segmentation(kind);
        Assert.True(objective.Loss(right, wanted).item<float>() < objective.Loss(zeros_like(right), wanted).item<float>() - 0.1);
    }
}
