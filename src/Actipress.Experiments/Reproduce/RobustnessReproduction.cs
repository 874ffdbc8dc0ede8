using System.Globalization;
using ScottPlot;

namespace Actipress.Experiments;

/// <summary>The question that the paper leaves open (Section 4.5): does training with compressed maps make a network more robust?</summary>
sealed class RobustnessReproduction : Reproduction
{
    const int JacobianExamples = 200;

    // The noise, relative to the input's own standard deviation.
    static readonly double[] deviations = [0, 0.5, 1, 1.5];

    static readonly int[] seeds = [1, 2, 3];

    // Every layer except the network's own log-softmax, which belongs to the loss and is no layer of the paper. With a lossy log-softmax no
    // training succeeds.
    const string Layers = "conv*,relu*,mp,drop*,fc*";

    // With exact zeros, the default, only weight gradients change, which is the assumption of the theory, and vectors get 8 bits. The
    // paper's storage also changes the gradients that pass a ReLU.
    static readonly string[] codecs = ["dct:{0}", "st:{0}", "dct:{0},storage=paper", "st:{0},storage=paper"];

    static readonly double[] ratios = [2.5, 10, 100, 1000];

    public override string Name => "robustness";

    public override string Meaning => "the output's Jacobian and accuracy under noise, trained plain and compressed (Section 4.5)";

    /// <summary>One trained network.</summary>
    /// <param name="TrainLoss">The training loss of the last epoch.</param>
    /// <param name="Jacobian">See <see cref="Robustness.JacobianNorm"/>.</param>
    /// <param name="Accuracies">The accuracy at each deviation of the noise.</param>
    internal sealed record Found(double TrainLoss, double Jacobian, IReadOnlyList<double> Accuracies);

    static string Key(string codec, string data, int seed) => $"robustness of {codec} on {data}, seed {seed}";

    static string Codec(string pattern, double ratio) => string.Format(CultureInfo.InvariantCulture, pattern, ratio);

    static IEnumerable<string> Codecs => ["none", .. from pattern in codecs from ratio in ratios select Codec(pattern, ratio)];

    public override IEnumerable<Piece> Pieces(Context context) =>
        from seed in seeds
        from codec in Codecs
        let plan = Plan(context, codec, seed)
        select new Piece(
            Key(codec, plan.Data, seed),
            (progress, cancellation) => Measure(plan, KnownData.Load(plan, context.DataFolder), progress, cancellation));

    static TrainingPlan Plan(Context context, string codec, int seed) =>
        Trainable.Find("lenet").Plan(realData: context.DataFolder is not null) with
        {
            Codec = codec,
            Layers = codec == "none" ? "all" : Layers,
            Seed = seed,
            Epochs = 3,
            TrainExamples = 4000,
            TestExamples = 2000,
        };

    internal static Found Measure(TrainingPlan plan, TrainingData data, IProgress<string> progress, CancellationToken cancellation)
    {
        using var learner = new Learner(plan, data);
        while (learner.Epochs < plan.Epochs)
        {
            if (!learner.Epoch(null, null, cancellation)) throw new OperationCanceledException(cancellation);
            progress.Report($"epoch {learner.Epochs} of {plan.Epochs}");
        }
        using var model = learner.Copy();
        using var scope = torch.NewDisposeScope();
        var (input, target) = data.Test.Batch([.. Enumerable.Range(0, data.Test.Count)]);
        return new(
            learner.Last.TrainLoss,
            Robustness.JacobianNorm(model, input.narrow(0, 0, Math.Min(JacobianExamples, data.Test.Count))),
            [.. deviations.Select(deviation => Robustness.AccuracyUnderNoise(model, input, target, deviation, plan.Seed))]);
    }

    public override void Show(HtmlPage page, Context context, IReadOnlyDictionary<string, StoredPiece> done)
    {
        page.Section("Section 4.5: robustness");
        page.Paragraph("Whether compression in training bounds the Jacobian of the output by the input and so makes a network more robust "
            + "is what the paper leaves to future work. LeNet, every layer compressed in training (but not the final log-softmax) and none "
            + $"in measuring; 3 epochs of 4000 examples, Adam at 1e-3, seeds {string.Join(", ", seeds)}. Jacobian: of the "
            + $"log-probabilities, the root mean square of its Frobenius norm over {JacobianExamples} test examples. Noise is normal, its "
            + "deviation in units of the input's own, on 2000 test examples, the same noise for the same seed. By default a ReLU's zeros "
            + "are exact and the vectors that fc1 and fc2 save get 8 bits, so that only the convolutions' maps have the ratio; in the "
            + "paper's storage all have it, and a ReLU's own gradient is changed too. Differences are against plain training, seed by "
            + "seed; ± is one standard error.");
        foreach (var data in new[] { "mnist", "digits" })
        {
            var plain = Of("none");
            if (plain.Length == 0) continue;
            page.Figure(
                Draw($"{data}: Jacobian norm", "Frobenius norm", found => found.Jacobian, Of, Alignment.UpperRight),
                $"robustness-{data}-jacobian", "Jacobian norm over the ratio; grey: plain training. Bars are standard errors.", 640, 360);
            page.Figure(
                Draw(
                    $"{data}: accuracy at noise {Text(deviations[^1])}", "%", found => 100 * found.Accuracies[^1], Of, Alignment.LowerLeft),
                $"robustness-{data}-accuracy", $"Accuracy under noise of {Text(deviations[^1])} deviations; grey: plain training.", 640,
                360);
            page.Table(
                [
                    "trained with", "train loss", "Jacobian", "difference",
                    .. deviations.Select(deviation => deviation == 0 ? "accuracy, %" : $"at noise {Text(deviation)}"),
                    $"difference at {Text(deviations[^1])}", "seeds",
                ],
                from codec in Codecs
                let found = Of(codec)
                where found.Length > 0
                select (string[])
                [
                    codec == "none" ? "plain" : codec,
                    Mean(found, one => one.TrainLoss, "0.000"),
                    Mean(found, one => one.Jacobian, "0.00"),
                    codec == "none" ? "" : Difference(codec, one => one.Jacobian, "+0.00;-0.00"),
                    .. deviations.Select((_, noise) => Mean(found, one => 100 * one.Accuracies[noise], "0.0")),
                    codec == "none" ? "" : Difference(codec, one => 100 * one.Accuracies[^1], "+0.0;-0.0"),
                    $"{found.Length}",
                ]);

            Found[] Of(string codec) => [.. seeds.Select(seed => At(codec, seed)).OfType<Found>()];

            Found? At(string codec, int seed) => done.GetValueOrDefault(Key(codec, data, seed))?.As<Found>();

            string Difference(string codec, Func<Found, double> part, string format) =>
                PlusMinus(
                    Statistics.Mean([.. from seed in seeds
                        let one = At(codec, seed)
                        let other = At("none", seed)
                        where one is not null && other is not null
                        select part(one) - part(other)]),
                    format);
        }
    }

    static string Mean(Found[] found, Func<Found, double> part, string format) =>
        PlusMinus(Statistics.Mean([.. found.Select(part)]), format);

    static string PlusMinus((double Mean, double StandardError) measured, string format)
    {
        var error = measured.StandardError.ToString(format.Split(';')[0].TrimStart('+'), CultureInfo.InvariantCulture);
        return measured.Mean.ToString(format, CultureInfo.InvariantCulture) + (double.IsNaN(measured.StandardError) ? "" : $" ± {error}");
    }

    static string Text(double number) => number.ToString(CultureInfo.InvariantCulture);

    static Plot Draw(string title, string unit, Func<Found, double> part, Func<string, Found[]> of, Alignment legend)
    {
        var plot = new Plot();
        plot.Title(title);
        plot.YLabel(unit);
        plot.XLabel("ratio");
        foreach (var pattern in codecs)
        {
            var points = ratios.Select(ratio => (Place: Math.Log10(ratio), Found: of(Codec(pattern, ratio))))
                .Where(point => point.Found.Length > 0)
                .Select(point => (point.Place, Measured: Statistics.Mean([.. point.Found.Select(part)]))).ToArray();
            double[] places = [.. points.Select(point => point.Place)], means = [.. points.Select(point => point.Measured.Mean)];
            var line = plot.Add.Scatter(places, means);
            line.LegendText = pattern.Replace(":{0}", "", StringComparison.Ordinal);
            if (points.All(point => double.IsFinite(point.Measured.StandardError)))
                plot.Add.ErrorBar(places, means, [.. points.Select(point => point.Measured.StandardError)]).Color = line.Color;
        }
        plot.Add.HorizontalLine(Statistics.Mean([.. of("none").Select(part)]).Mean, color: Colors.Gray);
        plot.Axes.Bottom.SetTicks([.. ratios.Select(Math.Log10)], [.. ratios.Select(Text)]);
        plot.ShowLegend(legend);
        return plot;
    }
}
