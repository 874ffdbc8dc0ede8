using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Forward;
using CsCheck;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Forward;

/// <summary>Convolutions that are computed in pieces give libtorch's results, and all others are libtorch's own.</summary>
[MeasuresMemory]
public sealed class ForwardKernelTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    public void Dispose() => scope.Dispose();

    public ForwardKernelTests() => Assert.Null(ForwardKernel.Refusal);

    // A scope that divides convolutions, at a scale of 0 of every size.
    sealed class Dividing(double scale) : SavedTensorHooks
    {
        public override double? ConvolutionPieces => scale;
        public override SavedTensor Pack(Tensor tensor) => new PassedOn(tensor);
    }

    static (Tensor Result, long Divided) Divided(Func<Tensor> convolution, double scale = 0)
    {
        var before = ForwardKernel.Computed;
        using (SavedTensorsScope.Enter(new Dividing(scale)))
            return (convolution(), ForwardKernel.Computed - before);
    }

    static void AssertSame(Tensor expected, Tensor found)
    {
        Assert.Equal(expected.shape, found.shape);
        Assert.True((expected - found).abs().max().item<float>() <= 1e-6 * expected.abs().max().item<float>());
    }

    // Groups keep libtorch's kernels the same whatever the size.
    [Fact]
    public void A_convolution_of_any_geometry()
    {
        var divided = 0L;
        Gen.Select(Gen.Int[2, 3], Gen.Int[1, 9], Gen.Int[1, 3], Gen.Int[1, 3], Gen.Int[0, 3], Gen.Int[1, 2], Gen.Bool, Gen.Bool)
            .Sample((axes, examples, kernel, stride, padding, dilation, isTransposed, hasBias) =>
            {
                using var each = NewDisposeScope();
                long[] lengths = [23, 9, 8];
                var x = randn([examples, 4, .. lengths[..axes]]);
                var filters = randn([isTransposed ? 4 : 6, isTransposed ? 3 : 2, .. Enumerable.Repeat((long)kernel, axes)]);
                var bias = hasBias ? randn(6) : null;
                long[] strides = Each(stride), paddings = Each(padding), dilations = Each(dilation);
                if (isTransposed && padding > dilation * (kernel - 1)) return;
                Func<Tensor> convolution = (axes, isTransposed) switch
                {
                    (2, false) => () => conv2d(x, filters, bias, strides, paddings, dilations, groups: 2),
                    (3, false) => () => conv3d(x, filters, bias, strides, paddings, dilations, groups: 2),
                    (2, true) => () => conv_transpose2d(x, filters, bias, strides, padding: paddings, dilation: dilations, groups: 2),
                    _ => () => conv_transpose3d(x, filters, bias, strides, padding: paddings, dilation: dilations, groups: 2),
                };
                var (result, ours) = Divided(convolution);
                AssertSame(convolution(), result);
                divided += ours;

                long[] Each(long number) => [.. Enumerable.Repeat(number, axes)];
            }, iter: 300, threads: 1);
        Assert.InRange(divided, 120, 299);
    }

    public static TheoryData<string, long[]> Large => new()
    {
        { "conv2d", [32, 32, 80, 80] }, { "conv2d", [1, 32, 800, 410] }, { "conv3d", [1, 32, 80, 64, 64] }, { "rise", [1, 64, 24, 64, 64] },
    };

    [Theory]
    [MemberData(nameof(Large))]
    public void A_large_convolution_and_its_gradients_in_less_memory(string kind, long[] lengths)
    {
        using Module<Tensor, Tensor> model = kind switch
        {
            "conv2d" => Conv2d(32, 32, 3, padding: 1),
            "conv3d" => Conv3d(32, 32, 3, padding: 1),
            _ => ConvTranspose3d(64, 32, 2, stride: 2),
        };
        using var x = randn(lengths).requires_grad_();
        using var whole = model.call(x);
        var (pieces, divided) = Divided(() => model.call(x), scale: 1);
        Assert.Equal(1, divided);
        AssertSame(whole, pieces);
        AssertSame(Gradient(whole), Gradient(pieces));
        var saved = Allocated.Usually(() => Allocated.Peak(() => model.call(x)))
            - Allocated.Usually(() => Allocated.Peak(() => Divided(() => model.call(x), scale: 1).Result));
        Assert.InRange(saved, whole.NumberOfElements * sizeof(float) / 3, long.MaxValue);

        Tensor Gradient(Tensor result)
        {
            x.grad = null;
            using var squared = result.mul(result);
            using var sum = squared.sum();
            sum.backward();
            return x.grad!.clone();
        }
    }

    [Fact]
    public void A_compressed_network_gives_the_plain_result()
    {
        using var model = Sequential(Conv2d(8, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 16, 3, padding: 1));
        using var x = randn(80, 8, 64, 64);
        using var plain = model.call(x);
        foreach (var inPieces in new[] { true, false })
        {
            var before = ForwardKernel.Computed;
            using var compression = model.CompressActivations(options => options.ReadInPieces(inPieces));
            using var compressed = model.call(x);
            AssertSame(plain, compressed);
            Assert.Equal(inPieces ? 2 : 0, ForwardKernel.Computed - before);
        }
    }

    [Fact]
    public void Inside_a_checkpoint_convolutions_are_divided_too()
    {
        using var conv = Conv2d(8, 16, 3, padding: 1);
        using var x = randn(80, 8, 64, 64).requires_grad_();
        using var whole = conv.call(x);
        var (pieces, divided) = Divided(() => Checkpoint.Run(conv, x), scale: 1);
        Assert.Equal(1, divided);
        AssertSame(whole, pieces);
    }

    [Fact]
    public void What_is_small_or_another_type_or_layout_is_libtorchs_own()
    {
        using var filters = randn(16, 8, 3, 3);
        using var x = randn(80, 8, 64, 64);
        Assert.Equal(0, Divided(() => conv2d(x.narrow(0, 0, 2), filters), scale: 1).Divided);
        Assert.Equal(0, Divided(() => conv2d(x.to(ScalarType.Float64), filters.to(ScalarType.Float64))).Divided);
        Assert.Equal(0, Divided(() => conv2d(x.to(ScalarType.BFloat16), filters.to(ScalarType.BFloat16))).Divided);
        Assert.Equal(0, Divided(() => conv2d(x.transpose(2, 3), filters)).Divided);
        Assert.Equal(0, Divided(() => conv1d(x.flatten(2), randn(16, 8, 3))).Divided);
        Assert.Equal(0, Divided(() => conv_transpose3d(randn([1, 4, 20, 20, 20]), randn([4, 4, 3, 3, 3]), strides: [2, 2, 2])).Divided);
    }

    // The exception passes through the kernel as if there were none.
    [Fact]
    public void A_wrong_shape_is_refused_by_libtorch_as_ever()
    {
        using var x = randn(80, 8, 64, 64);
        var plain = Assert.Throws<ExternalException>(() => conv2d(x, randn(16, 7, 3, 3)));
        var inside = Assert.Throws<ExternalException>(() => Divided(() => conv2d(x, randn(16, 7, 3, 3))));
        Assert.Equal(FirstLine(plain), FirstLine(inside));
        Assert.Throws<ExternalException>(() => Divided(() => conv2d(x, randn(16, 8, 90, 90))));
        Assert.Throws<ExternalException>(() => Divided(() => conv2d(x.to_sparse(), randn(16, 8, 3, 3))));
        Assert.Throws<ExternalException>(() => Divided(() => conv2d(x, randn(16, 8, 3, 3), randn(15))));
        Assert.Equal(1, Divided(() => conv2d(x, randn(16, 8, 3, 3)), scale: 1).Divided);

        static string FirstLine(Exception failure) => failure.Message.Split('\n')[0];
    }

    [Fact]
    public void Under_inference_mode_a_convolution_is_libtorchs_own()
    {
        using var x = randn(80, 8, 64, 64);
        using var filters = randn(16, 8, 3, 3);
        using var whole = conv2d(x, filters);
        using (inference_mode())
        {
            var (result, divided) = Divided(() => conv2d(x, filters), scale: 1);
            AssertSame(whole, result);
            Assert.Equal(0, divided);
        }
        using (SavedTensorsScope.Enter(new Dividing(1)))
        using (inference_mode())
        using (var result = conv2d(x, filters)) AssertSame(whole, result);
        Assert.Equal(1, Divided(() => conv2d(x, filters), scale: 1).Divided);
    }

    [Fact]
    public void After_its_scope_and_on_another_thread_a_convolution_is_libtorchs_own()
    {
        using var x = randn(80, 8, 64, 64);
        using var filters = randn(16, 8, 3, 3);
        Assert.Equal(1, Divided(() => conv2d(x, filters), scale: 1).Divided);
        var before = ForwardKernel.Computed;
        using (conv2d(x, filters)) Assert.Equal(before, ForwardKernel.Computed);
        using (SavedTensorsScope.Enter(new Dividing(1)))
        {
            var elsewhere = -1L;
            var thread = new Thread(() =>
            {
                using (conv2d(x, filters)) elsewhere = ForwardKernel.Computed;
            });
            thread.Start();
            thread.Join();
            Assert.Equal(0, elsewhere);
            using (SavedTensorsScope.Enter(new Dividing(1))) { }
            using (conv2d(x, filters)) Assert.Equal(before + 1, ForwardKernel.Computed);
        }
    }
}
