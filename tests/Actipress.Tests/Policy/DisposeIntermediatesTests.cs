using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using F = TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Policy;

/// <summary>What a call makes and does not return is disposed at its end, and nothing else.</summary>
[MeasuresMemory]
public class DisposeIntermediatesTests
{
    // Code as users write it: every intermediate result keeps its handle.
    sealed class Block : Module<Tensor, Tensor>
    {
        readonly Conv2d first, second;
        readonly BatchNorm2d norm1, norm2;

        public Block(long inputs, long outputs) : base(nameof(Block))
        {
            (first, second) = (Conv2d(inputs, outputs, 3, padding: 1), Conv2d(outputs, outputs, 3, padding: 1));
            (norm1, norm2) = (BatchNorm2d(outputs), BatchNorm2d(outputs));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            x = F.relu(norm1.call(first.call(x)));
            return F.relu(norm2.call(second.call(x)));
        }
    }

    sealed class UNet : Module<Tensor, Tensor>
    {
        readonly Block down1 = new(3, 16), down2 = new(16, 32), bottom = new(32, 64), up2 = new(96, 32), up1 = new(48, 16);
        readonly Conv2d head = Conv2d(16, 2, 1);

        public UNet() : base(nameof(UNet)) => RegisterComponents();

        public override Tensor forward(Tensor x)
        {
            var one = down1.call(x);
            var two = down2.call(F.max_pool2d(one, 2));
            var three = bottom.call(F.max_pool2d(two, 2));
            var up = F.interpolate(three, scale_factor: [2, 2], mode: InterpolationMode.Nearest);
            up = up2.call(cat([up, two], 1));
            up = F.interpolate(up, scale_factor: [2, 2], mode: InterpolationMode.Nearest);
            up = up1.call(cat([up, one], 1));
            return head.call(up);
        }
    }

    sealed record Step(CompressionReport? Report, long HeldAfterForward, long Peak, float[][] Gradients);

    static Step Train(Action<CompressionOptions>? options)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(1);
        using var model = new UNet();
        var x = Waves(8, 3, 96, 96);
        var target = Waves(8, 2, 96, 96);
        using var compression = options is null ? null : model.CompressActivations(options);
        Step? last = null;
        for (var step = 0; step < 2; step++)
        {
            model.zero_grad();
            AllocatorMeter.Settle();
            using var meter = AllocatorMeter.Start();
            var floor = meter.LevelBytes;
            using (NewDisposeScope())
            {
                var y = model.call(x);
                var held = meter.LevelBytes - floor;
                F.mse_loss(y, target).backward();
                last = new(compression?.Report(), held, meter.PeakBytes - floor, [.. model.parameters().Select(p => p.grad!.data<float>().ToArray())]);
            }
        }
        return last!;
    }

    // Smooth in both directions, a different one for each channel.
    static Tensor Waves(long n, long c, long h, long w)
    {
        using var scope = NewDisposeScope();
        var (y, x) = (linspace(0, 6, h).view(1, 1, h, 1), linspace(0, 6, w).view(1, 1, 1, w));
        var k = arange(n * c).view(n, c, 1, 1) * 0.37;
        return ((y + k).sin() * (x * 0.7 - k).cos() + 0.02 * randn(n, c, h, w)).MoveToOuterDisposeScope();
    }

    [Fact]
    public void A_unet_that_disposes_nothing_frees_nine_tenths_of_what_it_saves()
    {
        var plain = Train(null);
        var kept = Train(options => options.Default(ActivationCodec.Dct(10)));
        var freed = Train(options =>
        {
            options.Default(ActivationCodec.Dct(10));
            options.DisposeIntermediates = true;
        });
        var numbers = $"""
            plain: {plain.HeldAfterForward} held, peak {plain.Peak}
            without: {kept.HeldAfterForward} held, peak {kept.Peak}, {kept.Report!.AliveElsewhereBytes} of {kept.Report.SavedBytes} alive elsewhere
            with: {freed.HeldAfterForward} held, peak {freed.Peak}, {freed.Report!.AliveElsewhereBytes} of {freed.Report.SavedBytes} alive elsewhere, {freed.Report.KeptBytes} kept
            """;
        TestContext.Current.TestOutputHelper!.WriteLine(numbers);
        Assert.True(kept.Report.AliveElsewhereBytes > 0.5 * kept.Report.SavedBytes, numbers);
        Assert.True(freed.Report.AliveElsewhereBytes <= 0.1 * freed.Report.SavedBytes, numbers);
        Assert.True(plain.HeldAfterForward - freed.HeldAfterForward >= 0.8 * freed.Report.SavedBytes, numbers);
        Assert.True(freed.Peak <= plain.Peak && kept.Peak <= plain.Peak * 1.02, numbers);
        Assert.Equal(0, freed.Report.LiveBytes);
    }
}
