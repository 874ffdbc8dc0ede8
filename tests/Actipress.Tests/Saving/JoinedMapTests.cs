using Actipress.Saving;
using static Actipress.Tests.Saving.ThroughStore;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Saving;

/// <summary>The result of a concatenation is held as the maps that it joined. The class is one list of scenarios.</summary>
[MeasuresMemory]
public sealed class JoinedMapTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    readonly Tensor weight = rand(16), bias = randn(16);
    Tensor scale = ones(1);

    public JoinedMapTests() => SavedTensors.SelfCheck();

    public void Dispose() => scope.Dispose();

    // The codec is lossless, so that a rebuilt map differs only by rounding.
    static ActivationStore Store(bool derives = true, bool handsOutOriginals = false) =>
        ThroughStore.Store(ThroughStore.Lossless, handsOutOriginals, derives);

    Tensor Norm(Tensor x)
    {
        var channels = x.shape[1];
        var (w, b) = (weight.repeat(4).narrow(0, 0, channels), bias.repeat(4).narrow(0, 0, channels));
        return batch_norm(x, zeros(channels), ones(channels), w, b, training: true);
    }

    // The kernel depends on the function's argument, so that the gradient needs the values of the convolved map.
    Tensor Convolved(Tensor x)
    {
        random.manual_seed(x.shape[1]);
        var kernel = randn([8, x.shape[1], .. Enumerable.Repeat(1L, (int)x.dim() - 2)]).mul(scale);
        return x.dim() == 5 ? conv3d(x, kernel) : conv2d(x, kernel);
    }

    // The result of a convolution, which no operation saves.
    Tensor Risen(Tensor x) => conv2d(x, full([16, 16, 1, 1], 0.1).Add(eye(16).view(16, 16, 1, 1)));

    static readonly Dictionary<string, Func<JoinedMapTests, Tensor, Tensor>> joins = new()
    {
        ["a ReLU's result and one that nothing saves"] = (t, x) => t.Convolved(cat([t.Norm(x).relu(), t.Risen(x)], 1)),
        ["one that nothing saves comes first"] = (t, x) => t.Convolved(cat([t.Risen(x), t.Norm(x).relu()], 1)),
        ["three by the last axis but two"] = (t, x) => t.Convolved(cat([x, t.Risen(x), t.Norm(x)], -3)),
        ["by examples"] = (t, x) => t.Convolved(cat([t.Norm(x).relu(), t.Risen(x)], 0)),
        ["by rows"] = (t, x) => t.Convolved(cat([t.Norm(x).relu(), t.Risen(x)], 2)),
        ["by columns, of unlike lengths"] = (t, x) => t.Convolved(cat([t.Risen(x.narrow(3, 0, 3).contiguous()), t.Norm(x)], -1)),
        ["of unlike channels"] = (t, x) => t.Convolved(cat([t.Norm(x).relu(), t.Convolved(x)], 1)),
        ["volumes"] = (t, x) =>
        {
            var volume = x.view(2, 16, 4, 4, 8).Mul(1);
            return t.Convolved(cat([t.Norm(volume).relu(), volume.tanh(), volume], 1));
        },
        ["volumes by depth"] = (t, x) => t.Convolved(cat([t.Norm(x.view(2, 16, 4, 4, 8).Mul(1)).relu(), x.view(2, 16, 4, 4, 8)], 2)),
        ["the same map twice"] = (t, x) => { var y = t.Norm(x).relu(); return t.Convolved(cat([y, y], 1)); },
        ["a concatenation of a concatenation"] = (t, x) =>
            t.Convolved(cat([cat([t.Norm(x).relu(), t.Risen(x)], 1), t.Norm(x.tanh())], 1)),
        ["two concatenations of one map that nothing saves"] = (t, x) =>
        {
            var (risen, y) = (t.Risen(x), t.Norm(x).relu());
            return t.Convolved(cat([risen, y], 1)).Add(t.Convolved(cat([y, risen, x], 1)));
        },
        ["a map that is saved by itself later"] = (t, x) =>
        {
            var risen = t.Risen(x);
            return t.Convolved(cat([t.Norm(x).relu(), risen], 1)).Add(t.Convolved(risen));
        },
        ["a map of which the exact values are wanted later"] = (t, x) =>
        {
            var risen = t.Risen(x);
            return t.Convolved(cat([t.Norm(x).relu(), risen], 1)).mul(risen.amax([1], keepdim: true));
        },
        ["a map that changes afterwards"] = (t, x) =>
        {
            var risen = t.Risen(x);
            var y = t.Convolved(cat([t.Norm(x).relu(), risen], 1));
            return y.Add(t.Convolved(risen.Mul_(2)));
        },
        ["a ReLU in place of a ReLU's argument"] = (t, x) => t.Convolved(cat([t.Norm(x).relu_(), t.Risen(x)], 1)),
        ["parts of one storage"] = (t, x) =>
        {
            var both = t.Risen(x).chunk(2, 0);
            return t.Convolved(cat([cat([both[1], both[0]], 0), x], 1));
        },
        ["a norm and a ReLU follow"] = (t, x) => t.Convolved(t.Norm(cat([x, t.Risen(x)], 1)).relu()),
        ["a SiLU follows"] = (t, x) => t.Convolved(silu(cat([t.Norm(x), t.Risen(x)], 1))),
        ["a dense block"] = (t, x) =>
        {
            var features = new List<Tensor> { x };
            for (var layer = 0; layer < 3; layer++) features.Add(t.Convolved(t.Norm(cat([.. features], 1)).relu()));
            return t.Convolved(cat([.. features], 1));
        },
        ["a checkpoint's result"] = (t, x) => t.Convolved(cat([Checkpoint.Run(z => t.Norm(z).relu(), x), x], 1)),
    };

    public static TheoryData<string> Joins => [.. joins.Keys];

    [Theory, MemberData(nameof(Joins))]
    public void Joined_maps_give_the_plain_gradient(string name)
    {
        var x = randn(4, 16, 8, 8);
        var plain = ThroughStore.Gradient(y => Of(name, y), x, null, out _);
        var found = ThroughStore.Gradient(y => Of(name, y), x, Store(), out var report);
        Assert.Contains("joined", Ways(report!));
        AssertNear(plain, found, name);
        var steps = Store(handsOutOriginals: true);
        for (var step = 0; step < 3; step++) AssertNear(plain, ThroughStore.Gradient(y => Of(name, y), x, steps, out _), $"{name}, {step}");
    }

    Tensor Of(string name, Tensor x)
    {
        scale = x.mean().Add(1);
        return joins[name](this, x.sin());    // the argument is no leaf, and nothing can be derived from it
    }

    static readonly Dictionary<string, Func<JoinedMapTests, Tensor, Tensor>> others = new()
    {
        ["nothing of it is held"] = (t, x) => t.Convolved(cat([t.Risen(x), t.Risen(x)], 1)),
        ["a part that is no contiguous map"] = (t, x) => t.Convolved(cat([t.Norm(x), t.Risen(x).transpose(2, 3)], 1)),
        ["a parameter"] = (t, x) => t.Convolved(cat([t.Norm(x), ones(4, 16, 8, 8).requires_grad_()], 1)),
        ["the result is changed"] = (t, x) => t.Convolved(cat([t.Norm(x), t.Risen(x)], 1).Mul_(2)),
        ["the result is seen as another shape"] = (t, x) => t.Convolved(cat([t.Norm(x), t.Risen(x)], 1).view(4, 32, 4, 16)),
        ["a stack"] = (t, x) => t.Convolved(stack([t.Norm(x), t.Risen(x)], 2)),
    };

    public static TheoryData<string> Others => [.. others.Keys];

    [Theory, MemberData(nameof(Others))]
    public void Other_maps_are_held_themselves(string name)
    {
        var x = randn(4, 16, 8, 8);
        Tensor Function(Tensor y)
        {
            scale = y.mean().Add(1);
            return others[name](this, y.sin());
        }
        var plain = ThroughStore.Gradient(Function, x, null, out _);
        var found = ThroughStore.Gradient(Function, x, Store(), out var report);
        Assert.DoesNotContain("joined", Ways(report!));
        AssertNear(plain, found, name);
    }

    [Fact]
    public void A_dense_block_takes_the_bytes_of_its_features()
    {
        var x = randn(4, 16, 8, 8);
        ThroughStore.Gradient(y => Of("a dense block", y), x, Store(derives: false), out var whole).Dispose();
        ThroughStore.Gradient(y => Of("a dense block", y), x, Store(), out var joined).Dispose();
        // The sine's argument has 16 channels. Then there are concatenations of 24, 32 and 40 channels beside their first 16, and a ReLU's
        // result of each but the last; against 40 channels and the zeros in doubt.
        const int Channel = 4 * 8 * 8 * sizeof(float);
        Assert.Equal(whole!.SavedBytes, joined!.SavedBytes);
        Assert.InRange(whole.KeptBytes, (16 + 16 + 24 + 32 + 40) * Channel, 1.4 * (16 + 16 + 24 + 32 + 40) * Channel);
        Assert.InRange(joined.KeptBytes, (16 + 40) * Channel, 1.07 * (16 + 40) * Channel);
    }

    [Fact]
    public void A_part_that_is_not_worth_packing_does_not_keep_the_whole_alive()
    {
        // Random values take more bytes packed than as they are, at a ratio of 1.
        var options = new CompressionOptions().SmallestBytes(0).Default(ActivationCodec.Parse("st:1,values=float32"));
        var store = new ActivationStore(new CompressingPolicy(options), run: null)
        {
            HandsOutOriginals = false,
            Derives = _ => true,
        };
        var x = randn(1, 16, 256, 256);
        for (var step = 0; step < 2; step++)    // the first one compiles
        {
            using var everything = NewDisposeScope();
            var before = Allocated.Level().Native;
            Tensor y;
            using (SavedTensorsScope.Enter(store))
            using (NewDisposeScope())
            {
                var leaf = x.clone().requires_grad_().sin();
                y = Convolved(cat([leaf, Risen(leaf)], 1)).sum().MoveToOuterDisposeScope();
            }
            Assert.Contains("joined", Ways(store.Report()));
            // Of 4 MiB each: the sine, held as it is, its argument, and the second part alone, without the concatenation of 8 MiB.
            if (step > 0) Assert.InRange(Allocated.Level().Native - before, 12 << 20, 15 << 20);
            y.backward();
            Assert.Equal(0, store.LiveBytes);
        }
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(3, 1)]
    [InlineData(2, 0)]
    public void Large_joined_maps_are_read_in_pieces(int batch, int axis)
    {
        var x = randn([batch, 16, 64, 64, 32]);
        Tensor Function(Tensor y)
        {
            var map = y.sin();
            return conv3d(cat([silu(map), conv3d(map, full([16, 16, 1, 1, 1], 0.1)).Add_(map)], axis), Kernel(axis == 1 ? 32 : 16));
        }
        static Tensor Kernel(int channels)
        {
            random.manual_seed(3);
            return randn([4, channels, 3, 3, 3], requires_grad: true).Mul(1);
        }
        static ActivationStore Of(bool inPieces)
        {
            var options = new CompressionOptions().Default(ActivationCodec.Dct(10));
            return new(new CompressingPolicy(options), run: null)
            {
                HandsOutOriginals = false,
                Derives = _ => true,
                ReadsInPieces = inPieces,
            };
        }
        var whole = ThroughStore.Gradient(Function, x, Of(inPieces: false), out var report);
        var pieces = ThroughStore.Gradient(Function, x, Of(inPieces: true), out _);
        Assert.Contains("joined", Ways(report!));
        AssertNear(whole, pieces, "pieces");
    }

    [Fact]
    public void Steps_leave_no_memory_behind()
    {
        var x = randn(4, 16, 8, 8);
        var (native, tensors) = Allocated.Growth(rounds: 25, () =>
        {
            foreach (var name in (string[])["a dense block", "volumes", "parts of one storage", "a checkpoint's result"])
                ThroughStore.Gradient(y => Of(name, y), x, Store(), out _).Dispose();
        });
        Assert.InRange(tensors, long.MinValue, 4);
        Assert.InRange(native, long.MinValue, 200 << 10);    // half a page a step would be more
    }

    [Fact]
    public void A_pass_that_no_backward_pass_ends_leaves_nothing()
    {
        var (x, store) = (randn(4, 16, 8, 8), Store());
        using (var everything = NewDisposeScope())
        using (SavedTensorsScope.Enter(store))
            Of("a dense block", x.clone().requires_grad_().Mul(1));
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal(0, store.LiveBytes);
        AssertNear(
            ThroughStore.Gradient(y => Of("a dense block", y), x, null, out _),
            ThroughStore.Gradient(y => Of("a dense block", y), x, store, out _), "the next pass");
    }
}
