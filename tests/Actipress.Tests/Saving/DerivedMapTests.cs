using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Saving;
using static Actipress.Tests.Saving.ThroughStore;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Saving;

/// <summary>
/// A map that follows from a held map is not held, and no map is derived from a wrong source. The class is one list of scenarios.
/// </summary>
[MeasuresMemory]
public sealed class DerivedMapTests : IDisposable
{
    readonly DisposeScope scope = NewDisposeScope();
    readonly Tensor weight = randn(16), bias = randn(16), kernel = randn(8, 16, 1, 1), ones16 = ones(16), zeros16 = zeros(16);

    // TorchSharp's functions with numbers make scalars that the collector may free too early.
    static readonly Scalar slope = 0.2, low = -0.5, high = 0.7, one = 1;

    public DerivedMapTests() => SavedTensors.SelfCheck();

    public void Dispose() => scope.Dispose();

    // The source is lossless, so that a derived map differs only by rounding.
    static ActivationStore Store(bool handsOutOriginals = false) =>
        ThroughStore.Store(ThroughStore.Lossless, handsOutOriginals, derives: true);

    Tensor Norm(Tensor x) => batch_norm(x, zeros16.clone(), ones16.clone(), weight, bias, training: true);

    // The kernel depends on the function's argument, so that the gradient needs the values of the convolved map.
    Tensor Convolved(Tensor x) => conv2d(x, kernel.mul(scale));

    Tensor scale = ones(1);

    // Each case ends in a convolution, which saves the values of its argument.
    static Dictionary<string, Func<DerivedMapTests, Tensor, Tensor>> Derivable { get; } = new()
    {
        ["batch norm"] = (t, x) => t.Convolved(t.Norm(x)),
        ["batch norm that evaluates"] = (t, x) =>
            t.Convolved(batch_norm(x, t.bias.clone(), t.weight.abs(), t.weight, t.bias, training: false)),
        ["batch norm of few places"] = (t, x) => t.Convolved(t.Norm(x.view(64, 16, 2, 2)).relu()),
        ["batch norm without weights"] = (t, x) => t.Convolved(batch_norm(x, t.zeros16.clone(), t.ones16.clone(), training: true)),
        ["group norm"] = (t, x) => t.Convolved(group_norm(x, 4, t.weight, t.bias)),
        ["layer norm"] = (t, x) => t.Convolved(layer_norm(x, [8, 8], randn(8, 8).exp(), randn(8, 8))),
        ["layer norm without weights"] = (t, x) => t.Convolved(layer_norm(x, [16, 8, 8])),
        ["instance norm"] = (t, x) => t.Convolved(instance_norm(x, weight: t.weight, bias: t.bias)),
        ["ReLU"] = (t, x) => t.Convolved(t.Norm(x).relu()),
        ["ReLU of a SiLU"] = (t, x) => t.Convolved(silu(t.Norm(x)).relu()),
        ["ReLU in place"] = (t, x) => t.Convolved(t.Norm(x).relu_()),
        ["SiLU"] = (t, x) => t.Convolved(silu(t.Norm(x))),
        ["LeakyReLU"] = (t, x) => t.Convolved(t.Norm(x).leaky_relu(slope)),
        ["LeakyReLU in place"] = (t, x) => t.Convolved(t.Norm(x).leaky_relu_(slope)),
        ["a function behind a LeakyReLU in place"] = (t, x) => t.Convolved(hardswish(x.Mul(1).leaky_relu_(slope))),
        ["a function behind an ELU in place"] = (t, x) => t.Convolved(silu(x.Mul(1).elu_(slope, one, one))),
        ["LeakyReLU of an instance norm"] = (t, x) => t.Convolved(instance_norm(x, weight: t.weight, bias: t.bias).leaky_relu(slope)),
        ["ReLU6"] = (t, x) => t.Convolved(relu6(t.Norm(x))),
        ["Hardtanh in place"] = (t, x) => t.Convolved(t.Norm(x).hardtanh_(low, high)),
        ["ELU"] = (t, x) => t.Convolved(t.Norm(x).elu(slope, one, one)),
        ["SELU, of which the argument follows"] = (t, x) => t.Convolved(selu(t.Norm(x))),
        ["CELU, of which the argument follows"] = (t, x) => t.Convolved(t.Norm(x).celu(slope)),
        ["PReLU"] = (t, x) => t.Convolved(prelu(t.Norm(x), t.bias.narrow(0, 0, 1))),
        ["PReLU of a slope for each channel, of which the argument follows"] = (t, x) => t.Convolved(prelu(t.Norm(x), t.bias)),
        ["Hardswish"] = (t, x) => t.Convolved(hardswish(t.Norm(x))),
        ["GELU"] = (t, x) => t.Convolved(gelu(t.Norm(x))),
        ["GELU of a held map"] = (t, x) => t.Convolved(gelu(x)),
        ["dropout"] = (t, x) => t.Convolved(dropout(t.Norm(x), 0.3, training: true)),
        ["dropout of a GELU"] = (t, x) => t.Convolved(dropout(gelu(x), 0.3, training: true)),
        ["a product"] = (t, x) => t.Convolved(silu(t.Norm(x)).mul(x.tanh())),
        ["a factor for each channel"] = (t, x) => t.Convolved(silu(t.Norm(x)).mul(x.mean([2, 3], keepdim: true).sigmoid())),
        ["a factor for each channel, which comes first"] = (t, x) =>
            t.Convolved(x.mean([2, 3], keepdim: true).sigmoid().mul(silu(t.Norm(x)))),
        ["SiLU of a held map"] = (t, x) => t.Convolved(silu(x)),
        ["ReLU of a group norm"] = (t, x) => t.Convolved(group_norm(x, 2, t.weight, t.bias).relu()),
        ["ReLU of an instance norm"] = (t, x) => t.Convolved(instance_norm(x, weight: t.weight, bias: t.bias).relu()),
        ["a residual sum"] = (t, x) => t.Convolved(t.Norm(t.Skipped(x, out var skip)).Add(skip).relu()),
        ["a residual sum in place"] = (t, x) => t.Convolved(t.Norm(t.Skipped(x, out var skip)).Add_(skip).relu_()),
        ["a sum of unlike ranks"] = (t, x) => t.Convolved(t.Norm(x).Add(t.Norm(x.tanh()).unsqueeze(0)).view(4, 16, 8, 8)),
        ["a product of unlike ranks"] = (t, x) => t.Convolved(t.Norm(x).mul(t.Norm(x.tanh()).unsqueeze(0)).relu().view(4, 16, 8, 8)),
        ["a sum of two norms"] = (t, x) => t.Convolved(t.Norm(x).Add(t.Norm(x.tanh())).relu()),
        ["a source that another operation wants exactly later"] = (t, x) =>
        {
            var y = t.Convolved(t.Norm(x).relu());
            return y.mul(x.amax([1], keepdim: true));
        },
        ["a source that another operation wants exactly"] = (t, x) =>
        {
            var most = x.amax([1], keepdim: true);
            return t.Convolved(t.Norm(x).relu()).mul(most);
        },
        ["seen as another shape"] = (t, x) => t.Convolved(t.Norm(x).relu().view(4, 16, 4, 16)),
    };

    // Returns the convolutions of relu(norm(x)), which they have saved.
    Tensor Skipped(Tensor x, out Tensor skip)
    {
        skip = Norm(x).relu();
        return cat([Convolved(skip), Convolved(skip)], 1);
    }

    public static TheoryData<string> Names => [.. Derivable.Keys];

    [Theory, MemberData(nameof(Names))]
    public void What_follows_from_a_held_map_is_derived_and_gives_the_plain_gradient(string name)
    {
        var x = randn(4, 16, 8, 8);
        Tensor Function(Tensor y)
        {
            random.manual_seed(3);
            scale = y.mean().Add(1);
            return Derivable[name](this, y.sin());    // the argument is no leaf, and nothing can be derived from it
        }
        var plain = ThroughStore.Gradient(Function, x, null, out _);
        var derived = ThroughStore.Gradient(Function, x, Store(), out var report);
        Assert.Contains("derived from", Ways(report!), StringComparison.Ordinal);
        AssertNear(plain, derived, name);
    }

    static Dictionary<string, Func<DerivedMapTests, Tensor, Tensor>> Underivable { get; } = new()
    {
        ["changed at one place after the norm"] = (t, x) => t.Convolved(Changed(t.Norm(x)).relu()),
        ["changed at one place after the SiLU"] = (t, x) => t.Convolved(Changed(silu(t.Norm(x).Mul(1)))),
        ["changed through a view"] = (t, x) => t.Convolved(ChangedThroughView(t.Norm(x)).relu()),
        ["scaled"] = (t, x) => t.Convolved(t.Norm(x).Mul(2)),
        ["scaled in place"] = (t, x) => t.Convolved(t.Norm(x).Mul_(2)),
        ["a sum with a factor"] = (t, x) => { using Scalar two = 2; return t.Convolved(t.Norm(x).add(t.Norm(x.tanh()), two)); },
        ["a sum with a number"] = (t, x) => t.Convolved(t.Norm(x).Add(1)),
        ["a sum with one row for all"] = (t, x) => t.Convolved(t.Norm(x).Add(t.Norm(x).narrow(0, 0, 1))),
        ["a part"] = (t, x) => t.Convolved(t.Norm(x).narrow(0, 1, 2)),
        ["transposed"] = (t, x) => t.Convolved(t.Norm(x).transpose(2, 3)),
        ["exchanged at one place"] = (t, x) => t.Convolved(where(arange(4096).view(4, 16, 8, 8).Eq(77), zeros(1), t.Norm(x))),
        ["a function that is not known"] = (t, x) => t.Convolved(t.Norm(x).tanh()),
    };

    static Tensor Changed(Tensor map)
    {
        using (var place = map.view(-1).narrow(0, 77, 1)) place.fill_(3);
        return map;
    }

    static Tensor ChangedThroughView(Tensor map)
    {
        using (var view = map.view(64, 64)) using (var row = view.narrow(0, 5, 1)) row.Mul_(0);
        return map;
    }

    public static TheoryData<string> OtherNames => [.. Underivable.Keys];

    [Theory, MemberData(nameof(OtherNames))]
    public void What_is_not_just_that_is_held_itself(string name)
    {
        var x = randn(4, 16, 8, 8);
        Tensor Function(Tensor y)
        {
            scale = y.mean().Add(1);
            return Underivable[name](this, y.sin());
        }
        var plain = ThroughStore.Gradient(Function, x, null, out _);
        var held = ThroughStore.Gradient(Function, x, Store(), out var report);
        Assert.DoesNotContain("derived from", Ways(report!), StringComparison.Ordinal);
        AssertNear(plain, held, name);
    }

    [Fact]
    public void Weights_that_change_before_the_backward_pass_change_nothing()
    {
        var x = randn(4, 16, 8, 8);
        var (plain, changed) = (Gradient(null, () => { }), Gradient(Store(), () => { weight.Mul_(3); bias.fill_(7); }));
        AssertNear(plain, changed, "weights");

        Tensor Gradient(ActivationStore? store, Action between)
        {
            var leaf = x.clone().requires_grad_();
            var k = kernel.clone().requires_grad_();
            Tensor loss;
            using (store is null ? null : SavedTensorsScope.Enter(store))
                loss = conv2d(Norm(leaf.sin()).relu(), k).sum();
            between();
            return autograd.grad([loss], [k])[0];    // the gradient of the convolution alone; libtorch checks what the norm itself saved
        }
    }

    [Theory]
    [InlineData(1, true)]
    [InlineData(16, false)]
    public void A_PReLU_of_one_slope_is_no_map_of_its_own_and_its_slope_may_change(long slopes, bool isDerived)
    {
        using var model = Sequential(Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), PReLU(slopes, 0.3), Conv2d(16, 4, 3));
        Tensor Of(string name) => model.named_parameters().Single(one => one.name == name).parameter;
        var (x, slope, last) = (avg_pool2d(randn(8, 3, 32, 32), 5, 1, 2).Mul(4), Of("2.weight"), Of("3.weight"));
        var plain = Gradient();
        using var compression = model.CompressActivations(ActivationCodec.Dct(4));
        var (packed, again) = (Gradient(), Gradient());
        Assert.Equal(isDerived, compression.Report().Layers.Single(layer => layer.Name == "3").KeptAs == "derived from 1");
        foreach (var found in (Tensor[])[packed, again])
            Assert.InRange((found - plain).norm().item<float>() / plain.norm().item<float>(), 0, 0.1);

        // The last convolution's gradient alone, since libtorch checks what the PReLU itself saved.
        Tensor Gradient()
        {
            using (no_grad()) slope.fill_(0.3);
            using var y = model.call(x);
            using var loss = y.square().mean();
            using (no_grad()) slope.fill_(-3);
            return autograd.grad([loss], [last])[0];
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.Float64)]
    public void Maps_of_either_width_are_derived(ScalarType type)
    {
        using var model = Sequential(Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 4, 3)).to(type);
        using var x = avg_pool2d(randn(8, 3, 32, 32), 5, 1, 2).Mul(4).to(type);
        var first = model.parameters().First();
        var plain = Gradient();
        using var compression = model.CompressActivations(ActivationCodec.Dct(4));
        Gradient();
        var packed = Gradient();
        var relu = compression.Report().Layers.Single(layer => layer.Name == "2");
        Assert.EndsWith("derived from 1", relu.KeptAs, StringComparison.Ordinal);
        Assert.InRange((packed - plain).norm().to(float32).item<float>() / plain.norm().to(float32).item<float>(), 0, 0.15);

        Tensor Gradient()
        {
            using var y = model.call(x);
            using var loss = y.square().mean();
            return autograd.grad([loss], [first])[0];
        }
    }

    [Fact]
    public void Steps_leave_no_memory_behind()
    {
        var x = randn(4, 16, 8, 8);
        var (native, tensors) = Allocated.Growth(rounds: 35, () =>
        {
            foreach (var name in (string[])["ReLU", "layer norm", "batch norm that evaluates", "a residual sum", "SiLU"])
                ThroughStore.Gradient(y => Derivable[name](this, y.sin()), x, Store(), out _).Dispose();
        });
        Assert.InRange(tensors, long.MinValue, 4);
        Assert.InRange(native, long.MinValue, 350 << 10);    // half a page a step would be more
    }

    [Fact]
    public void Values_that_are_disposed_twice_release_their_source_once()
    {
        var released = new List<SavedMap>();
        var map = Held(randn(2, 3, 8, 8));
        var values = new DerivedValues(Held(randn(2, 3, 8, 8)), new Derivation.Held(map), signs: null, released.Add);
        Assert.Equal(1, map.Users);
        values.Dispose();
        values.Dispose();
        Assert.Equal([map], released);

        static SavedMap Held(Tensor tensor) => new(tensor, Geometry.OfMap(tensor), new Ledger().Of("", ""))
        {
            Pass = new ThreadPass(),
            Identity = (Layer.Unknown, Operation.Unknown, 0),
        };
    }

    [Fact]
    public void A_pass_that_throws_leaves_nothing_and_the_next_one_is_right()
    {
        var x = randn(4, 16, 8, 8);
        var store = Store();
        Tensor Function(Tensor y) => Convolved(Norm(y.sin()).relu());
        Assert.Throws<InvalidTimeZoneException>(() => ThroughStore.Gradient(y =>
        {
            using var part = Function(y);
            throw new InvalidTimeZoneException();
        }, x, store, out _));
        AssertNear(ThroughStore.Gradient(Function, x, null, out _), ThroughStore.Gradient(Function, x, store, out _), "the next pass");
    }

    [Fact]
    public void A_map_with_NaN_stays_as_it_is_and_so_does_what_is_derived_of_it()
    {
        var x = randn(4, 16, 8, 8);
        using (var place = x.view(-1).narrow(0, 77, 1)) place.fill_(double.NaN);
        var mean = rand(16);
        Tensor Function(Tensor y) => Convolved(batch_norm(y.Mul(1), mean, ones16, weight, bias, training: false).relu());
        var plain = ThroughStore.Gradient(Function, x, null, out _);
        var derived = ThroughStore.Gradient(Function, x, Store(), out var report);
        Assert.Contains("derived from", Ways(report!), StringComparison.Ordinal);
        AssertNear(plain.nan_to_num(), derived.nan_to_num(), "but for NaN");
        Assert.True(plain.isnan().Equals(derived.isnan()));
    }

    [Fact]
    public void A_gradients_gradient_is_the_plain_one()
    {
        var x = randn(2, 16, 4, 4);
        AssertNear(Second(null), Second(Store()), "second derivative");

        Tensor Second(ActivationStore? store)
        {
            var leaf = x.clone().requires_grad_();
            Tensor loss;
            using (store is null ? null : SavedTensorsScope.Enter(store)) loss = Convolved(silu(Norm(leaf.sin()))).pow(3).sum();
            var first = autograd.grad([loss], [leaf], retain_graph: true, create_graph: true)[0];
            using (var energy = first.square().sum()) energy.backward();
            return leaf.grad!;
        }
    }

    [Fact]
    public void A_backward_pass_on_another_thread_and_checkpoints_inside_give_the_plain_gradient()
    {
        var x = randn(4, 16, 8, 8);
        Tensor Function(Tensor y) => Checkpoint.Run(z => Convolved(Norm(z.cos()).relu()), Skipped(Norm(y.sin()).relu(), out _));
        var (plain, derived) = (ThroughStore.Gradient(Function, x, null, out _), default(Tensor));
        var store = Store();
        using var leaf = x.clone().requires_grad_();
        Tensor loss;
        using (SavedTensorsScope.Enter(store)) loss = Function(leaf.clone()).sum();
        var thread = new Thread(() => loss.backward());
        thread.Start();
        thread.Join();
        derived = leaf.grad!;
        Assert.Contains("derived from", Ways(store.Report()), StringComparison.Ordinal);
        AssertNear(plain, derived, "another thread");
        Assert.Equal(0, store.LiveBytes);
    }

    [Fact]
    public void A_forward_pass_of_a_few_examples_tells_what_the_next_one_holds_finely()
    {
        using var model = Sequential(Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 4, 1));
        using var x = randn(8, 3, 32, 32);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var (mean, state) = (model.buffers().First().clone(), random.get_rng_state());
        using (var few = x.narrow(0, 0, 2)) compression.LearnSources(() => model.call(few));
        Assert.Equal(0, compression.LiveBytes);
        Assert.True(mean.Equals(model.buffers().First()) && state.Equals(random.get_rng_state()));
        using var y = model.call(x);
        Assert.Equal("dct:3, small", compression.Report().Layers.Single(layer => layer.Name == "1").KeptAs);
    }

    // A normalisation divides the error of its input by the deviation, which is almost zero beside a large mean or in a dead channel.
    [Theory]
    [InlineData("a large mean", "relu")]
    [InlineData("a large mean", "gelu")]
    [InlineData("a dead channel", "gelu")]
    [InlineData("a dead channel", "silu")]
    [InlineData("a channel that is nearly dead", "gelu")]
    public void Where_the_source_tells_too_little_the_map_is_held_itself(string what, string function)
    {
        var act = function == "relu" ? ReLU() : function == "gelu" ? (Module<Tensor, Tensor>)GELU() : SiLU();
        using var model = Sequential(Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), act, Conv2d(16, 8, 3));
        var (weight, bias) = (model.named_parameters().First().parameter, model.named_parameters().Skip(1).First().parameter);
        using (no_grad())
        {
            if (what == "a large mean") bias.Add_(1000);
            else using (var channel = weight.narrow(0, 0, 1)) channel.Mul_(what == "a dead channel" ? 0 : 0.003);
        }
        using var x = avg_pool2d(randn(8, 3, 32, 32), 5, 1, 2).Mul(4);
        var (plain, derived, held) = (Gradients(null), Gradients(true), Gradients(false));
        for (var i = 0; i < plain.Length; i++)
        {
            if (i == 1) continue;    // the bias before a norm has a gradient of rounding errors
            Assert.True(Off(derived[i]) <= 2 * Off(held[i]), $"parameter {i}: {Off(derived[i])}, where held itself {Off(held[i])}");

            double Off(Tensor found) => ((found - plain[i]).norm() / plain[i].norm()).item<float>();
        }

        Tensor[] Gradients(bool? derives)
        {
            using var compression = derives is null ? null : model.CompressActivations(options =>
            {
                options.Default(ActivationCodec.Dct(10));
                options.DeriveMaps(derives.Value);
            });
            for (var step = 0; step < 3; step++)
            {
                model.zero_grad();
                using var y = model.call(x);
                y.square().mean().backward();
            }
            return [.. model.parameters().Select(parameter => parameter.grad!.clone())];
        }
    }

    [Fact]
    public void A_source_of_which_nothing_is_derived_takes_no_more_bytes()
    {
        using var model = Sequential(Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 8, 3));
        using (no_grad()) model.named_parameters().Skip(1).First().parameter.Add_(100);
        using var x = avg_pool2d(randn(8, 3, 32, 32), 5, 1, 2).Mul(4);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        for (var step = 0; step < 5; step++)
        {
            using (var y = model.call(x)) using (var loss = y.square().mean()) compression.Backward(loss);
            var norm = compression.Report().Layers.Single(layer => layer.Name == "1").KeptAs;
            if (step != 1) Assert.StartsWith("dct:10", norm, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_smooth_functions_map_is_derived_once_its_source_is_as_fine_as_it_wants_it()
    {
        using var model = Sequential(Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), SiLU(), Conv2d(16, 4, 1));
        using var x = randn(8, 3, 32, 32);    // for noise a tenth of the coefficients is far too few
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var reports = new List<CompressionReport>();
        for (var step = 0; step < 3; step++)
        {
            using (var y = model.call(x)) using (var loss = y.square().mean()) compression.Backward(loss);
            reports.Add(compression.Report());
        }
        var (before, after) = (reports[0].Layers.ToDictionary(layer => layer.Name), reports[2].Layers.ToDictionary(layer => layer.Name));
        Assert.StartsWith("dct:10", before["1"].KeptAs, StringComparison.Ordinal);
        Assert.DoesNotContain("derived", before["2"].KeptAs, StringComparison.Ordinal);
        Assert.False(after["1"].RelativeError > 0.2);
        Assert.Equal("derived from 1", after["2"].KeptAs);
        Assert.True(reports[2].KeptBytes < reports[0].KeptBytes);
    }

    [Fact]
    public void A_derived_map_takes_its_bits_and_a_few_numbers_and_its_source_gets_the_bytes()
    {
        using var model = Sequential(
            Conv2d(3, 16, 3, padding: 1), BatchNorm2d(16), ReLU(),
            Conv2d(16, 16, 3, padding: 1), BatchNorm2d(16), ReLU(), Conv2d(16, 4, 1));
        using var x = randn(8, 3, 32, 32);
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var reports = new List<CompressionReport>();
        for (var step = 0; step < 3; step++)
        {
            using (var y = model.call(x)) using (var loss = y.square().mean()) compression.Backward(loss);
            Assert.Equal(0, compression.LiveBytes);
            reports.Add(compression.Report());
        }
        var (norm, relu) = (Line(reports[2], "4"), Line(reports[2], "5"));
        Assert.Equal("derived from 4", relu.KeptAs);
        Assert.InRange(relu.KeptBytes, 2 * 16 * sizeof(float), 0.8 * 8 * 16 * 32 * 32 / 8);    // less than a bit an element
        Assert.StartsWith("dct:3", norm.KeptAs, StringComparison.Ordinal);
        // the first step does not know yet which maps follow
        Assert.StartsWith("dct:10", Line(reports[0], "4").KeptAs, StringComparison.Ordinal);
        Assert.True(norm.KeptBytes > 1.3 * Line(reports[0], "4").KeptBytes);
        static LayerReport Line(CompressionReport report, string name) => report.Layers.Single(layer => layer.Name == name);
    }

    [Fact]
    public void Random_graphs_have_the_plain_gradients() =>
        Hammer(300, 35391, 40425);    // a finer form lost a ReLU's signs; rounding alone

    [LongFact]
    public void A_hundred_thousand_random_graphs_have_the_plain_gradients() => Hammer(100_000);

    // The graphs have about ten operations each, of which some can be derived. Tensors are freed, changed and reused all the time. No
    // derivative jumps but those whose signs are kept: in so many graphs rounding would reach the other side of a jump. Norms make rounding
    // large in a few graphs; there the plain gradient changes as much with the last bits of the input.
    void Hammer(int graphs, params int[] once)
    {
        var (compared, derived) = (0, 0);
        foreach (var graph in once.Concat(Enumerable.Range(0, graphs)))
        {
            var plain = RandomGraph(graph, null);
            var store = Store(handsOutOriginals: graph % 2 == 0);
            var found = RandomGraph(graph, store);
            if (plain is null) continue;    // libtorch has found a change in place
            Assert.True(found is not null, $"graph {graph}: {string.Join(' ', store.Failures)}");
            compared++;
            Assert.Empty(store.Failures);
            Assert.True(store.LiveBytes == 0, $"graph {graph}: {store.LiveBytes} bytes are left");
            if (Ways(store.Report()).Contains("derived from", StringComparison.Ordinal)) derived++;
            for (var pass = 0; pass < plain.Length; pass++)
            {
                if (!IsNear(plain[pass], found[pass]))
                {
                    var difference = Difference(plain[pass], found[pass]);
                    var ofRounding = Difference(plain[pass], RandomGraph(graph, null, nudge: 2e-7)![pass]);
                    Assert.True(
                        difference <= 2 * ofRounding, $"graph {graph}, pass {pass}: off by {difference}, by rounding {ofRounding}");
                }
                plain[pass].Dispose();
                found[pass].Dispose();
            }
        }
        Assert.InRange(compared, graphs / 2, graphs + once.Length);
        Assert.InRange(derived, graphs / 4, graphs + once.Length);
    }

    // Returns the gradients of one or two backward passes; null where libtorch refuses the backward pass.
    Tensor[]? RandomGraph(int seed, ActivationStore? store, double nudge = 0)
    {
        var draw = new Random(seed);
        using var everything = NewDisposeScope();
        random.manual_seed(seed);
        var leaf = randn([2, 16, 4, 4]).Mul(1 + nudge).requires_grad_();
        var (living, kept) = (new List<Tensor> { leaf.Mul(1) }, new List<Tensor>());
        var steps = new (Tensor Weight, Tensor Bias)[3];
        for (var i = 0; i < steps.Length; i++) steps[i] = (rand(16).Add_(0.5), randn(16));
        var (square, joining) = (randn(16, 16, 1, 1), randn(16, 32, 1, 1));
        Tensor loss;
        using (store is null ? null : SavedTensorsScope.Enter(store))
        {
            square = square.mul(leaf.mean().Add(1));    // the gradient then needs the values of the convolved map
            for (var operations = draw.Next(6, 18); operations > 0; operations--)
            {
                var (a, b) = (living[draw.Next(living.Count)], living[draw.Next(living.Count)]);
                var (w, s) = steps[draw.Next(steps.Length)];
                using Scalar two = 2;
                var made = draw.Next(seed % 2 == 0 ? 26 : 23) switch    // every other graph joins maps
                {
                    0 or 1 => batch_norm(a, zeros16.clone(), ones16.clone(), w, s, training: true),
                    2 => batch_norm(a, s.clone(), w.clone(), w, s, training: false),
                    3 => group_norm(a, 4, w, s),
                    4 => layer_norm(a, [4, 4]),
                    5 or 6 => a.relu(),
                    7 => a.relu_(),
                    8 => silu(a),
                    9 => gelu(a),
                    10 => a.Add(b),
                    11 => a.Add_(b),
                    12 => a.add(b, two),
                    13 or 14 => conv2d(a, square),
                    15 => Changed(a),
                    16 => a.view(2, 16, 2, 8).view(2, 16, 4, 4),
                    17 => a.leaky_relu(slope),
                    18 => a.leaky_relu_(slope),
                    19 => relu6(a),
                    20 => a.elu(one, one, one),    // with another slope its derivative would jump at zero
                    21 => Checkpoint.Run(z => silu(Norm(z.sin())), a),
                    23 => conv2d(cat([a, b], 1), joining),
                    24 => group_norm(cat([a, b, a], 1), 4).narrow(1, 8, 16).contiguous(),
                    25 => silu(cat([a, b], 0)).narrow(0, 1, 2).contiguous(),
                    _ => a.sin(),    // a sigmoid leaves channels that hardly vary, whose rounding two norms in a row make large
                };
                if (!living.Contains(made)) living.Add(made);
                if (draw.Next(8) == 0) kept.Add(made.detach());
                if (living.Count <= 3 || draw.Next(2) == 0) continue;
                var gone = draw.Next(living.Count - 1);    // only its handle is disposed; tensors made from it may hold its data
                if (!ReferenceEquals(living[gone], leaf)) living[gone].Dispose();
                living.RemoveAt(gone);
            }
            var last = conv2d(living[^1], square);
            loss = last.mul(last).mean();
            foreach (var tensor in living) if (draw.Next(2) == 0) tensor.Dispose();
        }
        var passes = draw.Next(1, 3);
        var gradients = new Tensor[passes];
        try
        {
            for (var pass = 0; pass < passes; pass++)
            {
                loss.backward(retain_graph: pass + 1 < passes);
                gradients[pass] = leaf.grad!.clone().DetachFromDisposeScope();
            }
        }
        catch (System.Runtime.InteropServices.ExternalException) { return null; }
        return gradients;
    }
}
