using Actipress.Data;
using Actipress.Distributed;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>
/// The batches of a training, on its device: the examples of a step, their random changes, and this rank's part of them.
/// </summary>
sealed class Batches
{
    // nnU-Net's share of patches with a voxel of a class other than background.
    const double ForegroundShare = 1.0 / 3;

    readonly TrainingPlan plan;
    readonly TrainingData data;
    readonly Device device;
    readonly Ranks? ranks;
    readonly Patches? patches;

    /// <param name="plan">The plan, which gives the size of a batch and the augmentation.</param>
    /// <param name="data">The examples.</param>
    /// <param name="device">The device of the batches.</param>
    /// <param name="ranks">The ranks that share each batch; null for this process alone.</param>
    /// <exception cref="ArgumentException">A batch is larger than the training set, or does not divide among ranks.</exception>
    public Batches(TrainingPlan plan, TrainingData data, Device device, Ranks? ranks)
    {
        (this.plan, this.data, this.device, this.ranks) = (plan, data, device, ranks);
        Whole = data.Batch ?? plan.Batch;
        if (Whole > data.Train.Count)
            throw new ArgumentException($"No batch of {Whole}: {data.Name} has {data.Train.Count} examples to train on.");
        plan.CheckAmong(RankCount);
        if (data.Patch is null) return;
        // Patches are drawn larger than needed, so that a rotation brings no air into the corners.
        var isTurned = plan.Augmentation is Augmenting.Spleen or Augmenting.Brats;
        patches = new([.. data.Patch.Select(extent => isTurned ? extent + extent / 4 : extent)]) { Foreground = ForegroundShare };
    }

    /// <summary>The number of examples of a batch, over all ranks.</summary>
    public int Whole { get; }

    /// <summary>The number of examples of this rank's part.</summary>
    public int OfRank => Whole / RankCount;

    /// <summary>The number of steps of an epoch.</summary>
    public int Steps => (data.Train.Count + Whole - 1) / Whole;

    int RankCount => ranks?.Size ?? 1;

    /// <summary>The order in which an epoch takes the training set.</summary>
    public int[] Order(int epoch)
    {
        var order = Enumerable.Range(0, data.Train.Count).ToArray();
        new Random(plan.Seed * 1000 + epoch).Shuffle(order);
        return order;
    }

    /// <summary>
    /// This rank's part of a step's batch, and the part's weight among the ranks' parts; the caller disposes the tensors.
    /// </summary>
    /// <param name="whole">The number of examples of the batch; the last step of an epoch may have fewer.</param>
    /// <param name="epoch">From 1.</param>
    /// <param name="step">From 0.</param>
    public (Tensor Input, Tensor Target, double Weight) Of(int[] whole, int epoch, int step)
    {
        var (indices, first, weight) = Part(whole);
        var varies = plan.Augmentation is not null || patches is not null;
        Example Varied(Example example, int place) => Vary(example, Chance(epoch, step, first + place));
        var (input, target) = OnDevice(data.Train.Batch(indices, varies ? Varied : null));
        return (input, target, weight);
    }

    // The begin of this rank's part, and its weight, because the last batch of an epoch may not divide. A rank without examples of its own
    // computes with weight 0.
    (int[] Indices, int First, double Weight) Part(int[] whole)
    {
        if (ranks is null) return (whole, 0, 1);
        var (from, to) = ((int)((long)whole.Length * ranks.Rank / RankCount), (int)((long)whole.Length * (ranks.Rank + 1) / RankCount));
        return from == to ? ([whole[0]], 0, 0) : (whole[from..to], from, (double)(to - from) * RankCount / whole.Length);
    }

    Random Chance(int epoch, int step, int place) => new(unchecked((plan.Seed * 1000 + epoch) * 1_000_003 + step * Whole + place));

    Example Vary(Example example, Random random)
    {
        if (patches is not null) example = patches.Take(example, random);
        if (plan.Augmentation is { } augmentation) example = augmentation.Steps().Apply(example, random);
        return patches is null ? example : example.Fit(data.Patch!);
    }

    /// <summary>
    /// One example without augmentation, of the size of a patch where patches are drawn. It uses no random number of the training.
    /// </summary>
    public (Tensor Input, Tensor Target) One() =>
        OnDevice(data.Train.Batch([0], patches is null ? null : (example, _) => example.Fit(data.Patch!)));

    /// <summary>One of several batches of a rank's size, which is the same at each call.</summary>
    /// <param name="which">From 0.</param>
    /// <param name="count">The number of batches.</param>
    public (Tensor Input, Tensor Target) Sample(int which, int count)
    {
        var some = data.Train.Take(count * Whole);
        int[] indices = [.. Enumerable.Range(0, OfRank).Select(i => (i * count + which) % some.Count)];
        return OnDevice(some.Batch(indices, patches is null ? null : (example, place) => Vary(example, new Random(which * Whole + place))));
    }

    /// <summary>Moves examples to the training's device, and disposes the originals.</summary>
    public (Tensor Input, Tensor Target) OnDevice((Tensor Input, Tensor Target) examples)
    {
        if (device.type == DeviceType.CPU) return examples;
        using (examples.Input)
        using (examples.Target)
            return (examples.Input.to(device), examples.Target.to(device));
    }
}
