using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Experiments;

// Saves and restores a training: everything that decides its next steps, and its measurements.
public sealed partial class Learner
{
    // The state at the last interruption; null where there was none since the epoch began.
    Tensor? randomState;

    /// <summary>Writes everything that decides the next steps, and the measurements.</summary>
    public void Save(BinaryWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Write(step);
        writer.Write(losses);
        measured.SavePeak(writer);
        writer.Write([.. curve.Select(epoch => epoch.TrainLoss)]);
        writer.Write([.. curve.Select(epoch => epoch.TestScore)]);
        measured.Save(writer);
        writer.Write(Json.Line(Report));
        model.save(writer);
        optimizer.SaveMoments(writer);
        using var now = RandomState.Get(CPU);
        (randomState ?? now).Save(writer);
        writer.Write(compression is not null && knowsSources);
        if (knowsSources) compression?.Store.SaveSources(writer);
    }

    /// <summary>Restores the state of <see cref="Save"/>, for the same plan and data.</summary>
    public void Load(BinaryReader reader)
    {
        ArgumentNullException.ThrowIfNull(reader);
        step = reader.ReadInt32();
        losses = reader.ReadDouble();
        measured.LoadPeak(reader);
        var (trainLosses, scores) = (reader.ReadDoubles(), reader.ReadDoubles());
        curve.Clear();
        curve.AddRange(trainLosses.Zip(scores, (loss, score) => EpochResult.Of(plan.Objective, loss, score)));
        measured.Load(reader);
        Report = Json.Read<CompressionReport>(reader.ReadString());
        model.load(reader);
        optimizer.LoadMoments(reader);
        // The random state, too, is read into a tensor of the same size.
        KeepRandomState();
        randomState!.Load(reader);
        knowsSources = reader.ReadBoolean();
        if (knowsSources) compression?.Store.LoadSources(reader);
    }

    void KeepRandomState()
    {
        randomState?.Dispose();
        randomState = RandomState.Get(CPU);
    }

    void RestoreRandomState()
    {
        if (randomState is not null) RandomState.Set(CPU, randomState);
    }
}
