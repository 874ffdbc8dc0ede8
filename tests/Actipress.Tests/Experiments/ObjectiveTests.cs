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
        var (_, tensors) = Allocated.Level();
        Segmentation.SoftDice(output, target).Dispose();
        Assert.Equal(tensors, Tensor.TotalCount);
    }

    static ScoreTally Scores(long[] found, long[] wanted, int examples)
    {
        using var scope = NewDisposeScope();
        var logits = nn.functional.one_hot(tensor(found).view(examples, 1, -1), 3).permute(0, 3, 1, 2).to(float32);
        return new Segmentation(SegmentationLoss.Dice).Scores(logits, tensor(wanted).view(examples, 1, -1));
    }

    [Fact]
    public void A_mask_that_is_empty_is_left_out_and_counts_1_by_the_papers_formula_where_rightly_not_found()
    {
        // In the first example mask 1 has 2 of 3 and 2 voxels, and mask 2 is empty in both. In the second mask 1 is empty in both, and mask
        // 2 is missed. In the third mask 1 is empty in both, and mask 2 is found.
        var tally = Scores([0, 1, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0], 3);
        Assert.Equal(2, tally.Counted);
        Assert.Equal((2 * 2.0 / 5 + 0) / 2, tally.Mean, 1e-12);
        Assert.Equal(((2 * 2.0 / 5 + 1) / 2 + (1 + 0) / 2.0 + (1 + 0) / 2.0) / 3, tally.PaperMean, 1e-4);
        Assert.Equal([new(1, 0.8, 1, 2, 0), new(2, 0, 1, 2, 1)], tally.Classes);
        var twice = new ScoreTally();
        twice.Add(tally);
        twice.Add(tally);
        Assert.Equal((tally.Mean, tally.PaperMean, 4), (twice.Mean, twice.PaperMean, twice.Counted));
        Assert.Equal([new(1, 0.8, 2, 4, 0), new(2, 0, 2, 4, 2)], twice.Classes);
    }

    [Fact]
    public void A_class_that_is_nowhere_has_no_score_and_learning_nothing_scores_nothing()
    {
        var tally = Scores([0, 0, 0, 0], [1, 0, 1, 0], 2);
        Assert.Equal((0, 0.5), (tally.Mean, Math.Round(tally.PaperMean, 3)));
        Assert.Equal([new(1, 0, 2, 0, 0), new(2, null, 0, 2, 0)], tally.Classes);
        Assert.True(double.IsNaN(Scores([0, 0], [0, 0], 1).Mean));
    }

    [Fact]
    public void Each_loss_is_the_one_of_its_name()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var (output, target) = (randn(2, 3, 4, 4), randint(0, 3, [2, 4, 4], int64));
        var (dice, entropy) = (Segmentation.SoftDice(output, target).item<float>(),
            nn.functional.cross_entropy(output, target).item<float>());
        foreach (var (kind, wanted) in new[]
        {
            (SegmentationLoss.Dice, dice), (SegmentationLoss.CrossEntropy, entropy), (SegmentationLoss.Both, dice + entropy),
        })
            Assert.Equal(wanted, new Segmentation(kind).Loss(output, target).item<float>(), 1e-6f);
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
