using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class RobustnessTests
{
    [Fact]
    public void A_linear_maps_jacobian_is_its_matrix()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        using var linear = nn.Linear(12, 5);
        var norm = Math.Sqrt(WeightGradient.Square(linear.weight));
        Assert.Equal(norm, Robustness.JacobianNorm(linear, randn(7, 12)), 1e-4);
        Assert.Null(linear.weight.grad);
    }

    [Fact]
    public void A_networks_jacobian_is_that_of_finite_differences()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        using var model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.LogSoftmax(1)).to(ScalarType.Float64);
        var x = randn(2, 4, ScalarType.Float64);
        double squares = 0;
        for (var i = 0; i < 4; i++)
        {
            var step = zeros(2, 4, ScalarType.Float64);
            step[TensorIndex.Colon, i] = 1e-5;
            squares += WeightGradient.Square((model.call(x + step) - model.call(x - step)) / 2e-5);
        }
        Assert.Equal(Math.Sqrt(squares / 2), Robustness.JacobianNorm(model, x), 1e-6);
    }

    [Fact]
    public void Noise_is_the_same_for_the_same_seed_and_costs_accuracy()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        // A network that tells which of two elements is larger.
        using var model = nn.Identity();
        var input = randn(500, 2);
        var target = input.argmax(1);
        Assert.Equal(1, Robustness.AccuracyUnderNoise(model, input, target, 0, 1));
        var noisy = Robustness.AccuracyUnderNoise(model, input, target, 1, 1);
        Assert.InRange(noisy, 0.6, 0.9);
        Assert.Equal(noisy, Robustness.AccuracyUnderNoise(model, input, target, 1, 1));
        Assert.NotEqual(noisy, Robustness.AccuracyUnderNoise(model, input, target, 1, 2));
    }

    static readonly TrainingPlan brief =
        new() { Model = "lenet", Data = "digits", Codec = "dct:10", Epochs = 1, Batch = 64, TrainExamples = 256, TestExamples = 64 };

    [Fact]
    public void A_copy_of_a_compressed_network_is_the_network_without_compression()
    {
        using var scope = NewDisposeScope();
        var data = KnownData.Load(brief, null);
        using var learner = new Learner(brief, data);
        learner.Epoch(null, null, TestContext.Current.CancellationToken);
        using var copy = learner.Copy();
        var (input, target) = data.Test.Batch([.. Enumerable.Range(0, data.Test.Count)]);
        Assert.Equal(learner.Last.TestScore, Robustness.AccuracyUnderNoise(copy, input, target, 0, 1), 1e-9);

        // The gradients are exact: the formula gives the same gradient from a layer's input as autograd.
        var layers = LayerGradients.Of(copy, () => nn.functional.nll_loss(copy.call(input), target));
        var weight = copy.named_parameters().Single(named => named.name == "conv2.weight").parameter;
        foreach (var (layer, gradient) in layers)
            using (gradient)
                if (layer == "conv2") Assert.True(gradient.With(gradient.Input).allclose(weight.grad!.flatten(1), rtol: 1e-3, atol: 1e-6));
    }

    [Theory]
    [InlineData("theory")]
    [InlineData("robustness")]
    public void What_is_measured_is_shown(string name)
    {
        var folder = Directory.CreateTempSubdirectory("actipress-test").FullName;
        try
        {
            var results = new ResultsFile(folder);
            var (data, cancellation) = (KnownData.Load(brief, null), TestContext.Current.CancellationToken);
            if (name == "theory")
                StoredPiece.Add(
                    results, "theory of dct on digits",
                    TheoryReproduction.Measure(brief.Plain(), data, "dct", masks: 2, new ReproductionTests.Silent(), cancellation));
            else
                foreach (var plan in new[] { brief, brief.Plain() })
                    StoredPiece.Add(
                        results, $"robustness of {plan.Codec} on digits, seed 1",
                        RobustnessReproduction.Measure(plan, data, new ReproductionTests.Silent(), cancellation));
            var page = Reproduction.Page([Reproduction.All.Single(one => one.Name == name)], new(null, folder), StoredPiece.Read(results))
                .ToString();
            Assert.Contains("<svg", page);
            Assert.Contains(name == "theory" ? "<td>dct</td><td>1000</td>" : "<td>dct:10</td>", page);
        }
        finally { Directory.Delete(folder, recursive: true); }
    }
}
