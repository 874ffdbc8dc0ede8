using System.Runtime.Intrinsics.X86;
using Actipress.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

[MeasuresMemory]
public sealed class MemoryPredictionTests : IDisposable
{
    // The runtime's compiler and the finalizers of other tests allocate and free up to this much in each of three steps. Up to 2.3 MB were
    // observed.
    const long Others = 3 << 20;

    readonly int threads = get_num_threads();
    public MemoryPredictionTests() => set_num_threads(1);
    public void Dispose() => set_num_threads(threads);

    static StepMemory Measured(Module<Tensor, Tensor> model, long[] input, ActivationCodec codec)
    {
        using var compression = model.CompressActivations(codec);
        using var x = randn(input);
        StepMemory Step()
        {
            foreach (var parameter in model.parameters()) parameter.grad = null;
            using var meter = AllocatorMeter.Start();
            var before = AllocatorMeter.CurrentBytes;
            Tensor loss;
            using (var y = model.call(x)) loss = y.sum();
            var after = AllocatorMeter.CurrentBytes - before;
            using (loss) compression.Backward(loss);
            var report = compression.Report();
            return new(report.SavedBytes, report.KeptBytes, after, meter.PeakBytes - before);
        }
        Step();
        AllocatorMeter.Settle();
        return Enumerable.Range(0, 3).Select(_ => Step()).OrderBy(step => step.PeakBytes).ElementAt(1);
    }

    [Theory]
    [InlineData("LeNet", new long[] { 256, 1, 28, 28 }, 0.06, 0.06)]
    [InlineData("ResNet18", new long[] { 32, 3, 32, 32 }, 0.06, 0.06)]
    [InlineData("UNet3D", new long[] { 1, 4, 96, 48, 48 }, 0.25, 0.3)]    // the slabs of the trials share more rows with their neighbours
    [InlineData("EfficientNetB0", new long[] { 2, 3, 192, 64 }, 0.06, 0.06)]
    public void A_step_takes_what_was_predicted(string network, long[] input, double tolerance, double withoutAvx512)
    {
        using var everything = NewDisposeScope();
        // For small maps of noise a transform suffices in one size and not in another, where a finer codec stands in.
        var ofKept = network == "EfficientNetB0" ? 0.2 : 0.1;
        using var model = Networks.Find(network).Create();
        var codec = ActivationCodec.Dct(10);
        var prediction = MemoryPrediction.Of(model, input, codec);
        Near(Measured(model, input, ActivationCodec.None), prediction.Baseline, 0.03);
        Near(Measured(model, input, codec), prediction.Compressed, Avx512F.IsSupported ? tolerance : withoutAvx512);

        void Near(StepMemory found, StepMemory predicted, double ofPeak)
        {
            var both = $"measured {Words(found)}, predicted {Words(predicted)}";
            Assert.True(Math.Abs(predicted.SavedBytes - found.SavedBytes) < 0.02 * found.SavedBytes, both);
            Assert.True(Math.Abs(predicted.KeptBytes - found.KeptBytes) < ofKept * found.KeptBytes, both);
            Assert.True(Math.Abs(predicted.PeakBytes - found.PeakBytes) < ofPeak * found.PeakBytes + Others, both);
        }

        static string Words(StepMemory step) => $"{step.SavedBytes} saved, {step.KeptBytes} kept, {step.PeakBytes} at the peak";
    }

    [Fact]
    public void Nothing_of_the_model_changes()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(3, 16, 3), BatchNorm2d(16), ReLU(), Dropout(), Flatten(), Linear(16 * 14 * 14, 10));
        var x = randn(16, 3, 16, 16);
        model.call(x).sum().backward();
        var state = model.state_dict().ToDictionary(entry => entry.Key, entry => entry.Value.clone());
        var gradients = model.parameters().Select(parameter => parameter.grad!.clone()).ToArray();
        manual_seed(3);
        using var expected = randn(4);
        manual_seed(3);
        MemoryPrediction.Of(model, [1024, 3, 16, 16], ActivationCodec.Dct(10));
        Assert.True(expected.Equals(randn(4)));
        Assert.All(model.state_dict(), entry => Assert.True(entry.Value.Equals(state[entry.Key]), entry.Key));
        Assert.All(model.parameters().Zip(gradients), pair => Assert.True(pair.First.grad!.Equals(pair.Second)));
    }

    [Theory]
    [InlineData("UNet3D", new long[] { 1, 4, 96, 32, 32 }, 0.03)]    // a quarter of 96 is not divisible by its four levels
    [InlineData("ResNet20", new long[] { 16, 3, 32, 32 }, 0.03)]
    [InlineData("EfficientNetB0", new long[] { 1, 3, 192, 64 }, 0.1)]    // its channel scales do not grow with the image
    public void Map_bytes_follow_from_a_part_of_the_input(string network, long[] input, double tolerance)
    {
        using var model = Networks.Find(network).Create();
        using var x = randn(input);
        var saved = ForwardTrace.Record(model, x).MapBytes;
        Assert.InRange(MemoryPrediction.MapBytes(model, input), (long)((1 - tolerance) * saved), (long)((1 + tolerance) * saved));
    }

    [Fact]
    public void What_does_not_fit_is_refused_before_it_starts()
    {
        using var model = Networks.Find("LeNet").Create();
        var prediction = MemoryPrediction.Of(model, [65536, 1, 28, 28], ActivationCodec.Dct(10));
        Assert.InRange(prediction.Baseline.SavedBytes, 2L << 30, 20L << 30);
        var beside = prediction.InputBytes + prediction.Compressed.PeakBytes;
        prediction.EnsureFits(compressed: true, beside);    // the prediction just fits
        Assert.Throws<InsufficientMemoryException>(() => prediction.EnsureFits(compressed: true, beside - 1));
        Assert.Equal(beside + prediction.ParameterBytes, prediction.NeededBytes(compressed: true));
        Assert.Equal(65536L * 28 * 28 * sizeof(float), prediction.InputBytes);
        var parameters = model.parameters().Concat(model.buffers()).Sum(tensor => tensor.NumberOfElements * tensor.ElementSize);
        Assert.Equal(parameters, prediction.ParameterBytes);
        Assert.Contains(
            "Compress", Assert.Throws<InsufficientMemoryException>(() => prediction.EnsureFits(compressed: false, beside)).Message);
        Assert.Contains(
            "smaller batch", Assert.Throws<InsufficientMemoryException>(() => prediction.EnsureFits(compressed: true, 1 << 20)).Message);
        Assert.InRange(MemoryPrediction.AvailableBytes, 1 << 26, 1L << 50);
    }

    [Fact]
    public void The_largest_batch_and_patch_fit_and_the_next_do_not()
    {
        using var everything = NewDisposeScope();
        using var model = Sequential(Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 16, 3, padding: 1));
        foreach (var codec in (ActivationCodec[])[ActivationCodec.None, ActivationCodec.Dct(10)])
        {
            var batch = MemoryPrediction.LargestBatch(model, [1, 3, 64, 64], 60 << 20, codec);
            Assert.InRange(Needed([batch, 3, 64, 64], codec), 56 << 20, 63 << 20);
            var times = MemoryPrediction.LargestPatch(model, [4, 3, 16, 24], 60 << 20, codec);
            Assert.InRange(Needed([4, 3, 16 * times, 24 * times], codec), 36 << 20, 62 << 20);
            Assert.InRange(Needed([4, 3, 16 * (times + 1), 24 * (times + 1)], codec), 58 << 20, 110 << 20);
        }
        Assert.Equal(0, MemoryPrediction.LargestBatch(model, [1, 3, 64, 64], 1000, ActivationCodec.None));
        Assert.Equal(0, MemoryPrediction.LargestPatch(model, [1, 3, 64, 64], 1000, ActivationCodec.None));
        var refused = Assert.Throws<ArgumentException>(() => MemoryPrediction.LargestPatch(model, [4, 3, 16], 1000, ActivationCodec.None));
        Assert.Contains("spatial", refused.Message, StringComparison.Ordinal);

        long Needed(long[] input, ActivationCodec codec) =>
            Measured(model, input, codec).PeakBytes + input.Aggregate(1L, (product, extent) => product * extent) * sizeof(float);
    }
}
