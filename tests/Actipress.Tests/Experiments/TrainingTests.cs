using System.Text.Json;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class TrainingTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static TrainingPlan Plan(string codec = "dct:10", string layers = "all") => new() { Data = GeneratedDigits.Make(600, 200), Codec = ActivationCodec.Parse(codec), Layers = layers, Epochs = 1, Batch = 64 };

    [Fact]
    public void The_same_seed_gives_the_same_run()
    {
        using var results = new ResultsFile(folder);
        var (first, second) = (Training.Run(Plan(), results, null, TestContext.Current.CancellationToken)!.Value.Result, Training.Run(Plan(), results, null, TestContext.Current.CancellationToken)!.Value.Result);
        Assert.Equal((first.Baseline.TrainLoss, first.Baseline.TestAccuracy), (second.Baseline.TrainLoss, second.Baseline.TestAccuracy));
        Assert.Equal((first.Compressed.TrainLoss, first.Compressed.TestAccuracy, first.Compressed.KeptBytes), (second.Compressed.TrainLoss, second.Compressed.TestAccuracy, second.Compressed.KeptBytes));
        Assert.NotEqual(first.Baseline.TrainLoss, first.Compressed.TrainLoss);
        Assert.InRange(first.Compressed.GradientCosine!.Value, 0.9, 0.99999);
        Assert.True(first.Compressed.AfterForwardBytes < first.Baseline.AfterForwardBytes / 5);
    }

    [Fact]
    public void Only_the_named_layers_are_compressed()
    {
        using var results = new ResultsFile(folder);
        var (_, report) = Training.Run(Plan(layers: "relu1,conv2"), results, null, TestContext.Current.CancellationToken)!.Value;
        Assert.Equal("dct:10, signs", report.Layers.Single(layer => layer.Name == "relu1").KeptAs);
        Assert.Equal("rule", report.Layers.Single(layer => layer.Name == "fc1").KeptAs);
        Assert.Throws<ArgumentException>(() => Training.Run(Plan(layers: "conv7"), results, null, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void A_results_file_with_a_broken_last_line_goes_on()
    {
        File.WriteAllText(Path.Combine(folder, "results.jsonl"), "{\"a\":1}\n{\"broken");
        using (var results = new ResultsFile(folder)) results.Add(new { B = 2 });
        var lines = File.ReadAllLines(Path.Combine(folder, "results.jsonl"));
        Assert.Equal(3, lines.Length);
        Assert.Equal(2, JsonDocument.Parse(lines[2]).RootElement.GetProperty("b").GetInt32());
    }
}
