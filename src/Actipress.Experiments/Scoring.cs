using Actipress.Distributed;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>Scores a network on a part of its data. Several ranks share the examples.</summary>
/// <param name="model">The network.</param>
/// <param name="plan">The plan of its training.</param>
/// <param name="data">Its data.</param>
/// <param name="batches">The batches of its training, whose size and device scoring uses.</param>
/// <param name="device">The device of the network.</param>
/// <param name="ranks">The ranks that score; null for this process alone.</param>
sealed class Scoring(nn.Module<Tensor, Tensor> model, ParsedPlan plan, TrainingData data, Batches batches, Device device, Ranks? ranks)
{
    // Scoring keeps no maps, so that batches of this many times the training's size take about as much memory.
    const int Larger = 4;

    /// <summary>The scores of a part. They are null on all ranks where any rank's cancellation cut the scoring short.</summary>
    public ScoreTally? Of(TrainingData.Part part, CancellationToken cancellation)
    {
        model.eval();
        using var evaluation = no_grad();
        var scores = new ScoreTally();
        // Each rank takes every n-th example, for n ranks.
        var own = Enumerable.Range(0, part.Count).Where(index => ranks is null || index % ranks.Size == ranks.Rank);
        var isWhole = part.Scans is not null ? AddScans() : AddBatches();
        return (ranks?.Any(!isWhole) ?? !isWhole) ? null : scores.OfAll(ranks, data.Classes);

        bool AddScans()
        {
            var predictor = new Predictor(model, data.Scans!, data.Classes, device) { IsOfSlices = plan.Network.IsOfSlices };
            foreach (var index in own)
            {
                if (cancellation.IsCancellationRequested) return false;
                var scan = part.Scans.Read(index);
                scores.Add<ushort>(predictor.Predict(scan, part.Data.Read(index)), scan.Labels, data.Classes);
            }
            return true;
        }

        bool AddBatches()
        {
            foreach (var indices in own.Chunk(Larger * batches.OfRank))
            {
                if (cancellation.IsCancellationRequested) return false;
                using var scope = NewDisposeScope();
                var (input, target) = batches.OnDevice(part.Batch(indices));
                scores.Add(plan.Objective.Scores(model.call(input), target));
            }
            return true;
        }
    }
}
