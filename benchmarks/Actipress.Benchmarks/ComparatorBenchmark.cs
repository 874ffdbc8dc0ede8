using System.Diagnostics;
using System.Text.RegularExpressions;
using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>The memory and the time of a training step in one of the ways to need less memory.</summary>
/// <param name="Network">The network.</param>
/// <param name="Way">The way, one of <see cref="ComparatorBenchmark.Ways"/>.</param>
/// <param name="AfterForwardBytes">The level of the allocator above its level before the step, once the loss is computed.</param>
/// <param name="PeakBytes">The highest level of the allocator above its level before the step, gradients included.</param>
/// <param name="Ratio">The median time of forward and backward pass, divided by that of the plain way in the same run.</param>
/// <param name="Cosine">The cosine of the whole gradient to that of the plain way.</param>
public sealed record ComparatorStep(string Network, string Way, long AfterForwardBytes, long PeakBytes, double Ratio, double Cosine);

/// <summary>Compression beside its alternatives: recomputation, 16-bit maps, 16-bit training.</summary>
public static partial class ComparatorBenchmark
{
    const string SixteenBits = "bfloat16 training";

    static readonly (string Way, Func<nn.Module, IDisposable> Enter)[] ways =
    [
        ("plain", _ => NewDisposeScope()),
        ("half", model => model.CompressActivations(ActivationCodec.Half)),
        ("quant:2", model => model.CompressActivations(ActivationCodec.Quantized(2))),
        ("dct:10", model => model.CompressActivations(ActivationCodec.Dct(10))),
        ("checkpoint", Checkpointed),
        ("checkpoint, half", model => new Both(model.CompressActivations(ActivationCodec.Half), Checkpointed(model))),
        ("checkpoint, dct:10", model => new Both(model.CompressActivations(ActivationCodec.Dct(10)), Checkpointed(model))),
    ];

    /// <summary>The ways, plain first.</summary>
    public static IReadOnlyList<string> Ways { get; } = [.. ways.Select(way => way.Way), SixteenBits];

    // Each residual block is a checkpoint.
    static IDisposable Checkpointed(nn.Module model) =>
        Checkpoint.Blocks(model, [.. model.named_modules().Select(named => named.name).Where(name => ResidualBlock().IsMatch(name))]);

    [GeneratedRegex(@"^layer\d\.\d+$")]
    private static partial Regex ResidualBlock();

    sealed class Both(IDisposable first, IDisposable second) : IDisposable
    {
        public void Dispose()
        {
            second.Dispose();
            first.Dispose();
        }
    }

    /// <summary>Measures all ways in turn.</summary>
    /// <param name="subject">A trained residual network. Its parameters are rounded to bfloat16 at the end.</param>
    /// <param name="rounds">The number of rounds. A further round before them warms up.</param>
    /// <param name="cancellation">Ends the benchmark between steps.</param>
    public static IReadOnlyList<ComparatorStep> Run(Subject subject, int rounds, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(subject);
        subject.Model.train();
        using var everything = NewDisposeScope();
        using var meter = AllocatorMeter.Start();
        var (input, target) = subject.Examples(0);
        var steps = Ways.ToDictionary(way => way, _ => new List<Step>());
        for (var round = -1; round < rounds; round++)
            foreach (var (way, enter) in ways)
                using (enter(subject.Model))
                    Measure(way, input, round);
        subject.Model.to(ScalarType.BFloat16);
        var rounded = input.to(ScalarType.BFloat16);
        for (var round = -1; round < rounds; round++) Measure(SixteenBits, rounded, round);

        var plain = steps[Ways[0]];
        return [.. Ways.Select(way => new ComparatorStep(
            subject.Name, way, steps[way].Max(step => step.AfterForward), steps[way].Max(step => step.Peak),
            CodecBenchmark.Median(steps[way].Select(step => step.Milliseconds))
                / CodecBenchmark.Median(plain.Select(step => step.Milliseconds)),
            Cosine(steps[way][0].Gradient, plain[0].Gradient)))];

        void Measure(string way, Tensor x, int round)
        {
            cancellation.ThrowIfCancellationRequested();
            foreach (var parameter in subject.Model.parameters()) parameter.grad = null;
            manual_seed(1);
            AllocatorMeter.Settle();
            var before = AllocatorMeter.CurrentBytes;
            meter.ResetPeak();
            var watch = Stopwatch.StartNew();
            using var loss = subject.Loss(x, target);
            var afterForward = AllocatorMeter.CurrentBytes - before;
            SavedTensors.Backward(loss);
            var milliseconds = watch.Elapsed.TotalMilliseconds;
            if (round >= 0) steps[way].Add(new(milliseconds, afterForward, meter.PeakBytes - before, Gradient(subject.Model)));
        }
    }

    sealed record Step(double Milliseconds, long AfterForward, long Peak, float[] Gradient);

    static float[] Gradient(nn.Module model)
    {
        using var scope = NewDisposeScope();
        return [.. model.parameters().SelectMany(parameter => parameter.grad!.to(float32).reshape(-1).data<float>().ToArray())];
    }

    static double Cosine(float[] a, float[] b)
    {
        double dot = 0, aa = 0, bb = 0;
        for (var i = 0; i < a.Length; i++) (dot, aa, bb) = (dot + (double)a[i] * b[i], aa + (double)a[i] * a[i], bb + (double)b[i] * b[i]);
        return dot / Math.Sqrt(aa * bb);
    }
}
