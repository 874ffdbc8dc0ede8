using TorchSharp.Modules;

namespace Actipress.Experiments;

/// <summary>Logs a training for TensorBoard: a folder for each run, with the loss of each step and the test score of each epoch.</summary>
/// <param name="folder">The folder, which is made where it does not exist.</param>
public sealed class TensorBoardLog(string folder) : IProgress<TrainingProgress>
{
    readonly Dictionary<string, SummaryWriter> writers = [];

    /// <inheritdoc/>
    public void Report(TrainingProgress value)
    {
        ArgumentNullException.ThrowIfNull(value);
        if (!writers.TryGetValue(value.Run, out var writer))
            writers[value.Run] = writer = torch.utils.tensorboard.SummaryWriter(Path.Combine(folder, value.Run));
        var step = (value.Epoch - 1) * value.Steps + value.Step;
        if (value.TestScore is { } score) writer.add_scalar($"{value.ScoreName}/test", (float)score, step);
        else writer.add_scalar("loss/train", (float)value.StepLoss, step);
    }
}
