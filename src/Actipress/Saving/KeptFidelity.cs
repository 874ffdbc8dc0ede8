using System.Globalization;
using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Saving;

namespace Actipress;

/// <summary>
/// A cosine that the whole gradient keeps to the exact gradient. The first steps are measured; from then on each map has the coarsest codec
/// with which the gradient keeps the cosine. Made by <see cref="CompressionOptions.KeepFidelity"/>; the counterpart of
/// <see cref="MemoryBudget"/>.
/// </summary>
/// <remarks>
/// <para><see cref="ActivationCompression.Backward"/> measures a step. The maps of the step are held as they are. The backward pass runs
/// once exactly, and a few times on maps that were packed and unpacked by codecs. So the step takes the memory of a plain step and three
/// copies of the parameters' gradients. It leaves exact gradients. Under a plain <c>loss.backward()</c> nothing can be measured, and maps
/// stay as they are.</para>
/// <para>All maps get the same relative error, halved for a normalisation's input and for tokens, as nearly as the ratios
/// of the default codec allow. Bisection finds the largest error that keeps the cosine, with room for other batches: half of the difference
/// between 1 and the target. Further batches confirm the error. It is lowered where their cosine is too low, or the bias over all of them
/// too large.</para>
/// <para>Layers that a rule names keep the codec of the rule.</para>
/// </remarks>
public sealed class KeptFidelity
{
    // The relative errors that are tried, from the coarsest, which half of all maps have at a ratio of 100, to that of 8 bits.
    static ReadOnlySpan<double> Levels =>
        [1, 0.85, 0.7, 0.6, 0.5, 0.4, 0.33, 0.27, 0.22, 0.18, 0.14, 0.11, 0.08, 0.06, 0.04, 0.025, 0.015, 0];

    // The share of the difference between 1 and the target that is used, because other batches may be worse.
    const double Room = 0.5;

    readonly int batches;
    readonly ActivationCodec[] ladder;
    readonly Dictionary<(Layer, Operation, int), Trial> maps = [];
    GradientComparison? comparison;
    int measured, level;
    bool trying;

    internal KeptFidelity(double target, int batches, ActivationCodec codec)
    {
        if (codec == ActivationCodec.None)
            throw new ArgumentException("A fidelity chooses among ratios of the default codec: found 'none', wanted one such as 'dct:10'.");
        (Target, this.batches, ladder) = (target, batches, Ladder.Of(codec));
    }

    /// <summary>The cosine that the gradient keeps.</summary>
    public double Target { get; }

    /// <summary>The lowest cosine of the measured batches under the chosen codecs; null before codecs are chosen.</summary>
    public double? Cosine { get; private set; }

    /// <summary>
    /// The bias over the measured batches, as <see cref="GradientFidelity.Bias"/>; null before codecs are chosen, and where the batches are
    /// too few.
    /// </summary>
    public double? Bias { get; private set; }

    /// <summary>The relative error that the maps may have; null before it is known.</summary>
    public double? RelativeError { get; private set; }

    /// <summary>Whether the next steps are measured.</summary>
    public bool IsMeasuring { get; private set; } = true;

    /// <summary>The chosen codecs, by layer and operation; empty before codecs are chosen.</summary>
    public IReadOnlyDictionary<string, ActivationCodec> Codecs { get; private set; } = new Dictionary<string, ActivationCodec>();

    /// <summary>The fidelity in a sentence.</summary>
    public override string ToString() => IsMeasuring
        ? $"a cosine of {Figure(Target)} is to be kept: {measured} of {batches} steps are measured. Maps stay as they are until then; a "
            + $"step is measured by compression.{nameof(ActivationCompression.Backward)}(loss), not by loss.backward()"
        : $"a cosine of {Figure(Target)} is kept: {Figure(Cosine!.Value)} in the worst of {measured} measured "
            + $"batches{(Bias is { } bias ? $", bias {Figure(bias)}" : "")}, with relative errors of up to {Figure(RelativeError!.Value)}";

    static string Figure(double figure) => figure.ToString("0.###", CultureInfo.InvariantCulture);

    // The bias that a gradient at the target's angle would have if all of its error were systematic.
    double MostBias => Math.Sqrt(1 - Target * Target);

    /// <summary>Measures the next steps again.</summary>
    internal void Again()
    {
        maps.Clear();
        (measured, level, IsMeasuring) = (0, 0, true);
    }

    /// <summary>Holds a map as it is, and tries codecs on it when it is unpacked.</summary>
    internal TrialMap Try(Tensor values, (Layer, Operation, int) identity, Func<ActivationCodec, ActivationCodec> adapt, Need need)
    {
        var codecs = Array.ConvertAll(ladder, codec => codec == ActivationCodec.None ? codec : adapt(codec));
        var rungs = Ladder.Measure(values, need, codecs, used: null, usedBytes: 0);
        if (!maps.TryGetValue(identity, out var trial) || trial.Rungs.Length != rungs.Length)
            maps[identity] = trial = new Trial(codecs, rungs);
        else trial.Add(rungs);
        return new TrialMap(
            values, whole => trying && trial.Within(Levels[level]) is var codec && codec != ActivationCodec.None
                ? Pipeline.Pack(whole, codec, out _) : null);
    }

    /// <summary>Holds a map as it is that has one form under every codec.</summary>
    internal TrialMap Try(Tensor values, Func<Tensor, Packed?> form) => new(values, whole => trying ? form(whole) : null);

    /// <summary>The chosen codec of a map; <see cref="ActivationCodec.None"/> where the map was never measured.</summary>
    internal ActivationCodec CodecOf((Layer, Operation, int) identity) =>
        maps.TryGetValue(identity, out var trial) ? trial.Within(Levels[level]) : ActivationCodec.None;

    /// <summary>Measures one step, whose forward pass has held its maps for a trial. The graph is retained.</summary>
    internal void Measure(Tensor loss, IReadOnlyList<(string Name, Tensor Parameter)> parameters)
    {
        using var scope = torch.NewDisposeScope();
        if (measured == 0)
        {
            comparison?.Dispose();
            comparison = new([.. parameters.Select(named => named.Name)]);
        }
        var exact = Gradients(trying: false);
        var (fine, coarse) = measured == 0 ? (Levels.Length - 1, 0) : (level, level);
        Tensor?[] compressed;
        double cosine;
        // The coarsest level that keeps the target. The finest level is exact, and always keeps it.
        while (coarse < fine)
        {
            level = (coarse + fine) / 2;
            if (Keeps(out compressed, out _)) fine = level;
            else coarse = level + 1;
            foreach (var gradient in compressed) gradient?.Dispose();
        }
        level = fine;
        while (!Keeps(out compressed, out cosine) && level < Levels.Length - 1)
        {
            foreach (var gradient in compressed) gradient?.Dispose();
            level++;
            // Measurements at coarser errors do not hold for these codecs.
            comparison!.Dispose();
            comparison = new([.. parameters.Select(named => named.Name)]);
            Cosine = null;
        }
        comparison!.Add(exact, compressed);
        measured++;
        Cosine = Math.Min(measured == 1 ? 1 : Cosine ?? 1, cosine);
        Bias = comparison.Fidelity().Bias;
        if (measured < batches) return;
        if (Bias > MostBias && level < Levels.Length - 1) level++;
        Choose();

        bool Keeps(out Tensor?[] compressed, out double cosine)
        {
            compressed = Gradients(trying: true);
            using var alone = new GradientComparison([.. parameters.Select(named => named.Name)]);
            alone.Add(exact, compressed);
            cosine = alone.Fidelity().Cosine;
            return cosine >= 1 - (1 - Target) * Room;
        }

        Tensor?[] Gradients(bool trying)
        {
            this.trying = trying;
            try
            {
                return BackwardPass.Grad(
                    [loss], [.. parameters.Select(named => named.Parameter)], null, nameof(loss), retainGraph: true, createGraph: false,
                    allowUnused: true);
            }
            finally { this.trying = false; }
        }
    }

    void Choose()
    {
        IsMeasuring = false;
        RelativeError = Levels[level];
        Codecs = maps.GroupBy(map => $"{map.Key.Item1.Name} {map.Key.Item2}")
            .ToDictionary(group => group.Key, group => group.First().Value.Within(Levels[level]));
        comparison!.Dispose();
        comparison = null;
    }

    /// <summary>One map's codecs, with their bytes and errors in the worst of the measured batches.</summary>
    sealed class Trial(ActivationCodec[] codecs, Rung[] rungs)
    {
        public Rung[] Rungs => rungs;

        public void Add(Rung[] more)
        {
            for (var i = 0; i < rungs.Length; i++)
                rungs[i] = new(Math.Max(rungs[i].Bytes, more[i].Bytes), Math.Max(rungs[i].Harm, more[i].Harm));
        }

        /// <summary>The codec of the fewest bytes that stays below a relative error.</summary>
        public ActivationCodec Within(double error)
        {
            var best = 0;
            for (var i = 1; i < rungs.Length; i++)
                if (rungs[i].Harm <= error * error && rungs[i].Bytes < rungs[best].Bytes) best = i;
            return codecs[best];
        }
    }
}
