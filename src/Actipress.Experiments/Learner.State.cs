using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Experiments;

// What a training is gone on with from: everything that decides what comes next, and what was measured.
public sealed partial class Learner
{
    // Of the last break; null where there was none since the epoch began.
    Tensor? randomState;

    /// <summary>Writes everything that decides what comes next, and what was measured.</summary>
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
        optimizer.save_state_dict(writer);
        using var now = RandomState.Get(CPU);
        (randomState ?? now).Save(writer);
        writer.Write(compression is not null && knowsSources);
        if (knowsSources) compression?.Store.SaveSources(writer);
    }

    /// <summary>Goes on where <see cref="Save"/> left off, for the same plan and data.</summary>
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
        optimizer.load_state_dict(reader);
        // Into one of the same size: Tensor.Load would make whatever size the bytes ask for.
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
