using System.Runtime.Intrinsics.X86;
using Actipress.Autograd;
using Actipress.Backward;
using Actipress.Grid;
using Actipress.Maps;
using Actipress.Saving;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Backward;

/// <summary>Backward passes that read held maps in pieces give the gradients of those that rebuild the maps whole.</summary>
[MeasuresMemory]
public sealed class PiecewiseTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    public void Dispose() => scope.Dispose();

    // A map that the caller holds is returned as it is, so each test uses a multiple of it, which nothing else holds.
    sealed class Scaled() : Module<Tensor, Tensor>("scaled")
    {
        public override Tensor forward(Tensor input) => input.Mul(1.5);
    }

    static Tensor Smooth(params long[] shape) =>
        shape.Length == 4 ? avg_pool2d(randn(shape), [5, 5], [1, 1], [2, 2]) : avg_pool3d(randn(shape), [3, 3, 3], [1, 1, 1], [1, 1, 1]);

    static Tensor[] Gradients(Module<Tensor, Tensor> model, Tensor x, bool inPieces, ActivationCodec codec)
    {
        using var compression = model.CompressActivations(options =>
        {
            options.Default(codec);
            options.ReadInPieces(inPieces);
        });
        x.grad = null;
        model.zero_grad();
        using (var y = model.call(x))
        using (var squared = y.mul(y))
        using (var loss = squared.mul(y).mean()) compression.Backward(loss);
        Assert.Equal(0, compression.LiveBytes);
        return [.. model.parameters().Append(x).Where(leaf => leaf.grad is not null).Select(leaf => leaf.grad!.clone())];
    }

    static void AssertNear(Module<Tensor, Tensor> model, Tensor x, string codec = "dct:10", long fewest = 2, double mostError = 3e-5)
    {
        x.requires_grad = true;
        var read = Pieces(() => Gradients(model, x, inPieces: true, ActivationCodec.Parse(codec)), out var ours);
        Assert.InRange(read, fewest, long.MaxValue);
        var whole = Gradients(model, x, inPieces: false, ActivationCodec.Parse(codec));
        Assert.Equal(whole.Length, ours.Length);
        // The gradients of biases are sums whose terms mostly cancel.
        foreach (var (found, expected) in ours.Zip(whole))
            Assert.True((found - expected).norm().item<float>() <= (found.dim() == 1 ? 10 : 1) * mostError * expected.norm().item<float>(),
                $"{string.Join('x', found.shape)}: {(found - expected).norm().item<float>()} of {expected.norm().item<float>()}");
    }

    static long Pieces<T>(Func<T> work, out T result)
    {
        var before = Placeholder.PiecesRead;
        result = work();
        return Placeholder.PiecesRead - before;
    }

    [Fact]
    public void There_are_kernels_here()
    {
        Assert.Null(BackwardKernels.Refusal);
        Assert.True(BackwardKernels.KnowOwnGradients);
    }

    [Theory]
    [InlineData(3, 1, 1, 1, 1)]
    [InlineData(3, 2, 1, 1, 1)]
    [InlineData(3, 1, 2, 2, 1)]
    [InlineData(3, 1, 0, 1, 1)]
    [InlineData(3, 1, 1, 1, 4)]
    [InlineData(1, 1, 0, 1, 1)]
    [InlineData(1, 3, 0, 1, 1)]
    [InlineData(4, 3, 1, 1, 2)]
    [InlineData(2, 2, 0, 1, 8)]
    public void A_convolution_of_many_examples(int kernel, int stride, int padding, int dilation, int groups)
    {
        using var model = Sequential(new Scaled(), Conv2d(16, 8, kernel, stride, padding, dilation, groups: groups));
        AssertNear(model, Smooth(37, 16, 60, 62));
    }

    [Theory]
    [InlineData(3, 1, 1, 1, 1)]
    [InlineData(3, 2, 1, 1, 1)]
    [InlineData(3, 1, 2, 2, 1)]
    [InlineData(5, 1, 0, 1, 1)]
    [InlineData(3, 3, 1, 1, 4)]
    [InlineData(1, 1, 0, 1, 1)]
    [InlineData(1, 2, 0, 1, 1)]
    [InlineData(2, 3, 0, 1, 1)]
    [InlineData(3, 1, 5, 1, 1)]    // some rows are padding alone
    public void A_convolution_of_one_large_image_or_volume(int kernel, int stride, int padding, int dilation, int groups)
    {
        using var plane = Sequential(new Scaled(), Conv2d(8, 4, kernel, stride, padding, dilation, groups: groups));
        AssertNear(plane, Smooth(1, 8, 540, 550), fewest: padding > kernel ? 1 : 2);
        using var volume = Sequential(new Scaled(), Conv3d(8, 4, kernel, stride, padding, dilation, groups: groups));
        AssertNear(volume, Smooth(2, 8, 60, 48, 50));
    }

    // Slabs have unequal heights, and each is divided by channels too.
    [Theory]
    [InlineData(3, 2, 1, 1)]
    [InlineData(3, 3, 0, 1)]
    [InlineData(2, 3, 0, 1)]
    [InlineData(7, 4, 3, 1)]
    [InlineData(5, 3, 2, 1)]
    [InlineData(3, 6, 0, 2)]
    public void A_convolution_of_slabs_of_unlike_heights(int kernel, int stride, int padding, int dilation)
    {
        using var model = Sequential(new Scaled(), Conv2d(64, 4, kernel, stride, padding, dilation));
        for (var height = 250; height <= 262; height += height % 4 == 2 ? 1 : 3) AssertNear(model, Smooth(1, 64, height, 256));
    }

    [Theory]
    [InlineData(2, 64, 256, 256)]
    [InlineData(1, 512, 64, 64)]
    [InlineData(1, 96, 320, 320)]
    [InlineData(1, 64, 16, 96, 96)]
    public void A_strided_convolution_of(params int[] extents)
    {
        using var model = Sequential(
            new Scaled(), extents.Length == 4 ? Conv2d(extents[1], 4, 3, stride: 2, padding: 1) : Conv3d(extents[1], 4, 2, stride: 3));
        AssertNear(model, Smooth([.. extents.Select(extent => (long)extent)]));
    }

    [Theory]
    [InlineData(3, 1, 1)]
    [InlineData(3, 2, 0)]
    [InlineData(1, 1, 0)]
    public void A_convolution_of_many_channels(int kernel, int stride, int padding)
    {
        using var plane = Sequential(new Scaled(), Conv2d(64, 4, kernel, stride, padding));
        AssertNear(plane, Smooth(1, 64, 40, 2900), fewest: 3);
        using var volume = Sequential(new Scaled(), Conv3d(48, 4, kernel, stride, padding, bias: false));
        AssertNear(volume, Smooth(2, 48, 24, 70, 66), fewest: 6);
    }

    [Fact]
    public void A_convolution_whose_stride_and_padding_are_one_number()
    {
        using var model = new ByFunction();
        AssertNear(model, Smooth(1, 8, 540, 550));
    }

    sealed class ByFunction : Module<Tensor, Tensor>
    {
        readonly TorchSharp.Modules.Parameter weight = Parameter(randn(4, 8, 3, 3));

        public ByFunction() : base("by function") => RegisterComponents();

        public override Tensor forward(Tensor input)
        {
            using var scaled = input.Mul(1.5);
            return conv2d(scaled, weight, null, strides: [2], padding: [1]);
        }
    }

    // libtorch has other kernels for small volumes, which take many times their memory, so no piece is so small. A piece that is the whole
    // map, as of a flat volume or a transposed convolution, is computed as in libtorch.
    [Theory]
    [InlineData(16, 3, 1, 1, 1, 16, 64, 64, 64)]
    [InlineData(16, 3, 1, 1, 5, 16, 30, 32, 96)]
    [InlineData(16, 3, 1, 1, 2, 48, 20, 16, 64)]
    [InlineData(4, 3, 2, 1, 1, 64, 3, 128, 128)]
    [InlineData(4, 3, 1, 2, 1, 32, 20, 64, 64)]
    [InlineData(16, 3, 1, 1, 1, 32, 20, 64, 64)]
    [InlineData(4, 3, 1, 1, 2, 16, 20, 64, 64)]
    [InlineData(8, 3, 2, 1, 1, 64, 256, 256)]
    public void Pieces_take_no_more_memory_than_the_whole(int channels, int kernel, int stride, int dilation, params int[] extents)
    {
        using var model = Sequential(
            new Scaled(),
            extents.Length == 4
                ? ConvTranspose2d(extents[1], channels, kernel, stride: stride, padding: 1, dilation: dilation)
                : Conv3d(extents[1], channels, kernel, stride, dilation, dilation));
        var x = Smooth([.. extents.Select(extent => (long)extent)]);
        x.requires_grad = true;
        var (pieces, whole) = (Peak(inPieces: true), Peak(inPieces: false));
        // Without AVX-512, oneDNN computes the whole map of one of these convolutions with 3 % less memory.
        var slack = Avx512F.IsSupported ? 64 << 10 : whole * 3 / 100;
        Assert.True(pieces < whole + slack, $"{pieces} bytes in pieces, {whole} of the whole");

        long Peak(bool inPieces) => Allocated.Usually(() => Allocated.Peak(() =>
        {
            foreach (var gradient in Gradients(model, x, inPieces, ActivationCodec.Dct(10))) gradient.Dispose();
            return null;
        }));
    }

    [Fact]
    public void A_transposed_convolution_and_one_along_a_line()
    {
        using var model = Sequential(new Scaled(), ConvTranspose2d(16, 8, 2, stride: 2));
        AssertNear(model, Smooth(37, 16, 60, 62));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_batch_norm(bool training)
    {
        using var model = Sequential(new Scaled(), BatchNorm2d(16));
        model.train();
        using (no_grad()) model.call(randn(8, 16, 8, 8).Mul(3).Add(2)).Dispose();
        model.train(training);
        AssertNear(model, Smooth(37, 16, 60, 62).Add(0.5));
        // Maps of an odd number of elements end with elements that fill no register, which count where the mean is large.
        AssertNear(model, Smooth(37, 16, 61, 61).Add(5));
        using var ofVolumes = Sequential(new Scaled(), BatchNorm3d(3, affine: false));
        AssertNear(ofVolumes, Smooth(2, 3, 130, 70, 65));
    }

    [Theory]
    [InlineData("dct:10")]
    [InlineData("st:5")]
    [InlineData("dct:4,block=8")]
    public void A_network(string codec)
    {
        using var model = Sequential(
            Conv2d(3, 16, 3, padding: 1, bias: false), BatchNorm2d(16), ReLU(), Conv2d(16, 16, 3, padding: 1, bias: false), BatchNorm2d(16),
            ReLU(), MaxPool2d(2), Conv2d(16, 8, 3), GELU(), Conv2d(8, 4, 1));
        AssertNear(model, Smooth(40, 3, 64, 64), codec, mostError: 3e-4);    // the sums of a batch norm's gradients cancel here
    }

    // The kernel of a ReLU reads its result, and those of a convolution and of a batch norm read their inputs.
    [Fact]
    public void A_ReLU_between_convolutions()
    {
        using var model = Sequential(Conv2d(16, 16, 1), ReLU(), Conv2d(16, 8, 1));
        var read = Pieces(() => Gradients(model, Smooth(37, 16, 60, 62), inPieces: true, ActivationCodec.Dct(10)), out _);
        using var without = Sequential(Conv2d(16, 16, 1), Conv2d(16, 8, 1));
        var fewer = Pieces(() => Gradients(without, Smooth(37, 16, 60, 62), inPieces: true, ActivationCodec.Dct(10)), out _);
        Assert.InRange(read, fewer + 1, long.MaxValue);
        AssertNear(model, Smooth(37, 16, 60, 62));
        using var volumes = Sequential(Conv3d(3, 3, 1), ReLU(inplace: true), Conv3d(3, 4, 1));
        AssertNear(volumes, Smooth(2, 3, 130, 70, 65));
    }

    public static TheoryData<string> Functions => [.. ElementwiseFunction.All.Select(function => function.Name)];

    // The gradient of a piece is libtorch's own. For some functions libtorch's vectors and its single elements differ in the last bit, and
    // treat what is no finite number differently.
    [Theory]
    [MemberData(nameof(Functions))]
    public void An_elementwise_function_at_awkward_values(string name)
    {
        Assert.Null(BackwardKernels.Refusal);
        var function = ElementwiseFunction.All.Single(function => function.Name == name);
        long[] shape = [3, 5, 260, 300];
        var random = new Random(3);
        float[] awkward = [0, -0f, 0.25f, float.Epsilon, -1, 2, 6, -3, 3, 100, -100];
        if (name is not ("elu" or "hardtanh")) awkward = [.. awkward, float.NaN, float.PositiveInfinity, float.NegativeInfinity];
        using Tensor values = Awkward(), gradients = Awkward();
        foreach (var isTransposed in new[] { false, true })
        {
            using var given = isTransposed ? gradients.transpose(2, 3).contiguous().transpose(2, 3) : gradients.alias();
            var read = Pieces(() => Gradient(new ShownInPieces(), given), out var ours);
            Assert.InRange(read, 2, long.MaxValue);
            Assert.Equal(Gradient(new ShownInPieces { IsOff = true }, given), ours, Same);
            Assert.True(given.contiguous().data<float>().ToArray().AsSpan().SequenceEqual(gradients.data<float>().ToArray()));
        }

        static bool Same(float a, float b) => a.Equals(b) || Math.Abs(a - b) <= 1e-6f * Math.Abs(a);

        Tensor Awkward() => tensor(random.GetItems(awkward, 3 * 5 * 260 * 300), shape);

        float[] Gradient(ShownInPieces hooks, Tensor given)
        {
            using var x = values.clone().requires_grad_();
            SavedTensorsScope.RunApart(hooks, () =>
            {
                using var y = function.Call(x);
                y.backward([given]);
            });
            using var found = x.grad!;
            return found.data<float>().ToArray();
        }
    }

    // Shows each saved tensor in pieces.
    sealed class ShownInPieces : SavedTensorHooks
    {
        public bool IsOff { get; init; }

        public override SavedTensor Pack(Tensor tensor) =>
            IsOff ? new PassedOn(tensor) : new Known(tensor.detach().DetachFromDisposeScope());

        sealed class Known : SavedTensor, IMapPieces
        {
            readonly Tensor map;
            readonly Placeholder placeholder;

            public Known(Tensor map)
            {
                this.map = map;
                placeholder = new(this, map.dtype);
            }

            public long[] Sizes => map.shape;
            public double Scale => 0.1;
            public Tensor Read(MapRange range) => range.Of(map);
            public void Failed(Exception failure) => throw failure;
            public override Tensor Unpack() => placeholder.Show();

            public override void Dispose()
            {
                placeholder.Dispose();
                map.Dispose();
            }
        }
    }

    // A module for each function with a kernel, and a batch norm.
    static Module<Tensor, Tensor> Module(string name) => name switch
    {
        "relu" => ReLU(),
        "leaky_relu" => LeakyReLU(0.1),
        "elu" => ELU(),
        "hardtanh" => ReLU6(),
        "hardsigmoid" => Hardsigmoid(),
        "silu" => SiLU(),
        "gelu" => GELU(),
        "tanh" => Tanh(),
        _ => BatchNorm2d(16),
    };

    public static TheoryData<string> Modules => [.. Functions.Select(row => row.Data), "batch norm"];

    // Beside its own result the backward pass of a whole map holds the gradient twice.
    [Theory]
    [MemberData(nameof(Functions))]
    public void The_gradient_that_nobody_else_reads_is_written_over(string name)
    {
        Allocated.ByUsualConvolutions();
        using var model = Sequential(new Scaled(), Module(name), Conv2d(16, 16, 1));
        var x = Smooth(64, 16, 64, 66);
        x.requires_grad = true;
        var (pieces, whole) = (Peak(inPieces: true), Peak(inPieces: false));
        Assert.InRange(whole - pieces, x.NumberOfElements * sizeof(float) * 3 / 4, long.MaxValue);

        long Peak(bool inPieces) => Allocated.Usually(() => Allocated.Peak(() =>
        {
            foreach (var gradient in Gradients(model, x, inPieces, ActivationCodec.Dct(10))) gradient.Dispose();
            return null;
        }));
    }

    [Theory]
    [MemberData(nameof(Modules))]
    public void A_gradient_that_two_operations_read_is_not_written_over(string name)
    {
        using var model = new Residual(Module(name));
        AssertNear(model, Smooth(37, 16, 60, 62));
    }

    sealed class Residual : Module<Tensor, Tensor>
    {
        readonly Module<Tensor, Tensor> branch, other;

        public Residual(Module<Tensor, Tensor> branch) : base("residual")
        {
            (this.branch, other) = (branch, Conv2d(16, 16, 1));
            RegisterComponents();
        }

        public override Tensor forward(Tensor input)
        {
            using var shortcut = other.call(input);
            using var branched = branch.call(shortcut);
            return branched.Add(shortcut);
        }
    }

    [Theory]
    [MemberData(nameof(Modules))]
    public void A_gradient_that_the_user_keeps_is_not_written_over(string name)
    {
        using var branch = Module(name);
        using var after = Conv2d(16, 4, 1);
        using var model = Sequential(new Scaled(), branch, after);
        var kept = Kept(inPieces: true);
        Assert.True((kept - Kept(inPieces: false)).norm().item<float>() <= 1e-5 * kept.norm().item<float>());

        Tensor Kept(bool inPieces)
        {
            manual_seed(2);
            using var compression = model.CompressActivations(options => options.ReadInPieces(inPieces));
            var x = Smooth(37, 16, 60, 62);
            x.requires_grad = true;
            using var scaled = x.Mul(1.5);
            using var branched = branch.call(scaled);
            branched.retain_grad();
            using var y = after.call(branched);
            using var loss = y.mul(y).sum();
            loss.backward();
            return branched.grad!.clone();
        }
    }

    [Fact]
    public void A_second_derivative_has_the_maps_themselves()
    {
        using var conv = Conv2d(16, 8, 3, padding: 1);
        using var compression = conv.CompressActivations(ActivationCodec.Dct(10));
        var x = Smooth(37, 16, 60, 62);
        x.requires_grad = true;
        using var y = conv.call(x);
        var first = SavedTensors.Grad([y.mul(y).sum()], [x], createGraph: true)[0]!;
        var second = SavedTensors.Grad([first.mul(first).sum()], [conv.weight!])[0]!;
        Assert.True(second.isfinite().all().item<bool>());
        Assert.NotEqual(0, second.norm().item<float>());
    }

    [Fact]
    public void Graphs_that_are_retained_are_read_again()
    {
        using var model = Sequential(new Scaled(), Conv2d(16, 8, 3, padding: 1), BatchNorm2d(8), ReLU());
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var x = Smooth(64, 16, 64, 66);
        using var y = model.call(x);
        using var loss = y.mul(y).sum();
        loss.backward(retain_graph: true);
        var once = model.parameters().Select(parameter => parameter.grad!.clone()).ToArray();
        loss.backward();
        foreach (var (parameter, gradient) in model.parameters().Zip(once))
            Assert.True(parameter.grad!.allclose(gradient.Mul(2), rtol: 1e-4, atol: 1e-4));
        Assert.Equal(0, compression.LiveBytes);
    }

    [Fact]
    public unsafe void A_map_that_cannot_be_read_is_named_and_the_process_lives()
    {
        using var model = Sequential(("first", Conv2d(16, 8, 3, padding: 1)), ("second", BatchNorm2d(8)));
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var x = Smooth(64, 16, 64, 66);
        Assert.Contains("layer second", Failure(damaged: true)!.Message, StringComparison.Ordinal);
        Assert.Null(Failure(damaged: false));

        Exception? Failure(bool damaged)
        {
            using var timeline = compression.StartTimeline();
            using var y = model.call(x);
            using var loss = y.mul(y).sum();
            var packed = timeline.Maps.Select(span => ((SavedMap)span.Map).Values?.Held).OfType<PackedMap>().Last();
            var grid = ((GridOnCpu)packed.Stored).Grid;
            var chunk = grid.Chunk(grid.ChunkCount / 2);
            if (damaged) chunk.Fill(0xFF);
            return Record.Exception(() => compression.Backward(loss));
        }
    }
}
