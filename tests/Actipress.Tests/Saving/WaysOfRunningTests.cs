using Actipress.Autograd;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Saving;

/// <summary>
/// Models run as users run them: the gradients are right and the maps are compressed, whichever code runs the model and on whichever
/// thread. The class is one list of scenarios.
/// </summary>
public class WaysOfRunningTests
{
    // A tanh stands for any function whose result a codec may hold.
    static Action<CompressionOptions> With(ActivationCodec codec) => options =>
    {
        options.Default(codec);
        options.Operation("aten::tanh", SavedNeed.Smooth);
        options.SmallestBytes(0);
    };

    /// <summary>Convolutions with batch norm, ReLU and pooling, whose children run by call or by forward.</summary>
    sealed class Net : Module<Tensor, Tensor>
    {
        readonly Conv2d conv1 = Conv2d(3, 8, 3, padding: 1), conv2 = Conv2d(8, 8, 3, padding: 1);
        readonly BatchNorm2d norm = BatchNorm2d(8);
        readonly MaxPool2d pool = MaxPool2d(2);
        readonly Conv2d head = Conv2d(8, 4, 1);
        readonly ReLU relu = ReLU();
        public ReLU Relu => relu;
        public MaxPool2d Pool => pool;
        public Conv2d First => conv1;
        public bool ByForward { get; init; }
        public bool Throws { get; set; }
        public double LogitScale { get; init; } = 1;

        public Net() : base(nameof(Net)) => RegisterComponents();

        public override Tensor forward(Tensor x)
        {
            using var scope = NewDisposeScope();
            Tensor y;
            if (ByForward)
            {
                y = relu.forward(norm.forward(conv1.forward(x)));
                if (Throws) throw new InvalidOperationException("This pass fails.");
                y = head.forward(relu.forward(conv2.forward(pool.forward(y))));
            }
            else
            {
                y = relu.call(norm.call(conv1.call(x)));
                if (Throws) throw new InvalidOperationException("This pass fails.");
                y = head.call(relu.call(conv2.call(pool.call(y))));
            }
            if (LogitScale != 1) y = y * LogitScale;
            return y.MoveToOuterDisposeScope();
        }
    }

    [Fact]
    public void A_norm_without_weights_is_known_by_its_buffers_under_forward()
    {
        using var scope = NewDisposeScope();
        using var model = new WithoutWeights();
        using var compression = model.CompressActivations(With(ActivationCodec.Dct(4)));
        model.forward(randn(2, 3, 16, 16)).sum().backward();
        Assert.Equal(["norm", "head"], compression.Report().Layers.Where(layer => layer.Maps > 0).Select(layer => layer.Name));
    }

    sealed class WithoutWeights : Module<Tensor, Tensor>
    {
        readonly Conv2d conv = Conv2d(3, 8, 3), head = Conv2d(8, 4, 1);
        readonly BatchNorm2d norm = BatchNorm2d(8, affine: false);

        public WithoutWeights() : base(nameof(WithoutWeights)) => RegisterComponents();

        public override Tensor forward(Tensor x)
        {
            using var y = conv.forward(x);
            using var z = norm.forward(y);
            return head.forward(z);
        }
    }

    static Tensor Input(int seed, params long[] shape)
    {
        random.manual_seed(seed);
        // The maps are smooth, as images are.
        using var noise = randn([shape[0], shape[1], shape[2] / 4, shape[3] / 4]);
        return functional.interpolate(noise, scale_factor: [4.0, 4.0], mode: InterpolationMode.Bilinear, align_corners: false);
    }

    static T Seeded<T>(Func<T> make)
    {
        random.manual_seed(21);
        return make();
    }

    static double[] Gradients(Module model) => [.. model.parameters().Where(p => p.grad is not null)
        .SelectMany(p => { using var g = p.grad!; return g.to(ScalarType.Float64).contiguous().data<double>().ToArray(); })];

    static double Cosine(double[] a, double[] b)
    {
        Assert.Equal(a.Length, b.Length);
        return a.Zip(b).Sum(pair => pair.First * pair.Second) / Math.Sqrt(a.Sum(x => x * x) * b.Sum(x => x * x));
    }

    static void Same(double[] plain, double[] compressed, double tolerance = 1e-5)
    {
        Assert.Equal(plain.Length, compressed.Length);
        var norm = Math.Sqrt(plain.Sum(x => x * x));
        var difference = Math.Sqrt(plain.Zip(compressed).Sum(pair => Math.Pow(pair.First - pair.Second, 2)));
        Assert.True(norm > 0 && difference <= tolerance * norm, $"relative difference {difference / norm}");
    }

    static void Run(Tensor loss)
    {
        loss.backward();
        loss.Dispose();
    }

    // The loss of a confident segmentation: cross-entropy and Dice.
    static Tensor DiceAndCrossEntropy(Tensor logits)
    {
        using var scope = NewDisposeScope();
        var target = logits.detach().argmax(1);
        // The prediction is wrong at a few places.
        target.view(-1).slice(0, 0, target.numel(), 17).fill_(1);
        var probabilities = functional.softmax(logits, 1);
        var wanted = functional.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).to(ScalarType.Float32);
        var dice = 1 - 2 * (probabilities * wanted).sum() / (probabilities.sum() + wanted.sum());
        return (dice + functional.cross_entropy(logits, target)).MoveToOuterDisposeScope();
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_users_hook_that_reckons_with_an_output_gets_the_right_gradient(bool registeredBefore)
    {
        var plain = Step(null);
        Same(plain, Step(ThroughStore.Lossless));
        Assert.InRange(Cosine(plain, Step(ActivationCodec.Dct(4))), 0.97, 1);

        double[] Step(ActivationCodec? codec)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => new Net());
            Tensor? penalty = null;
            if (registeredBefore) Register();
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            if (!registeredBefore) Register();
            Run(model.call(Input(1, 4, 3, 32, 32)).mean() + penalty!);
            return Gradients(model);

            void Register()
            {
                model.Relu.register_forward_hook((_, _, y) => { Add(y.pow(2).mean() * 3); return y; });
                model.Pool.register_forward_hook((_, _, y) => { Add(y.pow(2).mean() * 5); return y; });
            }

            void Add(Tensor one) => penalty = penalty is null ? one.MoveToOuterDisposeScope() : (penalty + one).MoveToOuterDisposeScope();
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_confident_loss_has_the_same_gradient_by_forward_as_by_call(bool childrenByForward)
    {
        for (var steps = 1; steps <= 3; steps++)
        {
            var plain = Step(null, byForward: false, steps);
            var (call, forward) =
                (Step(ActivationCodec.Dct(4), byForward: false, steps), Step(ActivationCodec.Dct(4), byForward: true, steps));
            Assert.True(Cosine(plain, call) > 0.97, $"by call {Cosine(plain, call)}");
            Assert.True(Cosine(call, forward) > 0.9999, $"by forward {Cosine(call, forward)}, to plain {Cosine(plain, forward)}");
        }

        double[] Step(ActivationCodec? codec, bool byForward, int steps)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => new Net { ByForward = childrenByForward, LogitScale = 30 });
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            for (var step = 0; step < steps; step++)
            {
                model.zero_grad();
                var x = Input(step, 4, 3, 32, 32);
                using var logits = byForward ? model.forward(x) : model.call(x);
                Run(DiceAndCrossEntropy(logits));
                if (compression is null) continue;
                Assert.Equal(0, compression.LiveBytes);
                // The maps are compressed by forward too, except maps of the first step of which nothing is known.
                if (step > 0) Assert.InRange(compression.Report().KeptBytes, 1, compression.Report().SavedBytes * 0.5);
            }
            return Gradients(model);
        }
    }

    [Theory, InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void Threads_other_than_the_one_that_compressed_train_as_well(bool byForward, bool fromPool)
    {
        using var everything = NewDisposeScope();
        using var model = Seeded(() => new Net { ByForward = byForward });
        model.eval();    // batch statistics of concurrent threads have no order
        foreach (var norm in model.modules().OfType<BatchNorm2d>()) norm.train(false);
        var inputs = Enumerable.Range(0, 4).Select(seed => Input(seed, 2, 3, 32, 32)).ToArray();
        foreach (var x in inputs) Train(x);
        var plain = Gradients(model);
        foreach (var codec in (ActivationCodec[])[ThroughStore.Lossless, ActivationCodec.Dct(4)])
        {
            using var compression = model.CompressActivations(With(codec));
            for (var step = 0; step < 3; step++)
            {
                model.zero_grad();
                // The threads train one after another, then all at once.
                if (step < 2) foreach (var x in inputs) Elsewhere([() => Train(x)]);
                else Elsewhere([.. inputs.Select(x => (Action)(() => Train(x)))]);
                if (codec == ThroughStore.Lossless) Same(plain, Gradients(model));
                else
                {
                    Assert.InRange(Cosine(plain, Gradients(model)), 0.97, 1);
                    var report = compression.Report();
                    Assert.True(report.KeptBytes < report.SavedBytes / 2, $"step {step}: {report}");
                }
                Assert.Equal(0, compression.LiveBytes);
            }
        }

        void Train(Tensor x)
        {
            using var inner = NewDisposeScope();
            Run((byForward ? model.forward(x) : model.call(x)).sin().mean());
        }

        void Elsewhere(Action[] actions)
        {
            var failures = new System.Collections.Concurrent.ConcurrentQueue<Exception>();
            if (fromPool) Task.WaitAll([.. actions.Select(action => Task.Run(action))]);
            else
            {
                var threads = Array.ConvertAll(
                    actions, action => new Thread(() => { try { action(); } catch (Exception caught) { failures.Enqueue(caught); } }));
                foreach (var thread in threads) thread.Start();
                foreach (var thread in threads) thread.Join();
            }
            Assert.Empty(failures);
        }
    }

    public static TheoryData<string, bool, bool> Rules => new(
        from rule in (string[])["except", "where", "blocks"]
        from children in (bool[])[false, true]
        from model in (bool[])[false, true]
        select (rule, children, model));

    [Theory, MemberData(nameof(Rules))]
    public void Rules_hold_for_children_that_are_run_by_forward(string rule, bool childrenByForward, bool modelByForward)
    {
        using var everything = NewDisposeScope();
        using var model = Seeded(() => new Net { ByForward = childrenByForward });
        using var compression = model.CompressActivations(options =>
        {
            With(ActivationCodec.Dct(10))(options);
            if (rule == "except") options.Except("head");
            if (rule == "where") options.Where(layer => layer.Is<Conv2d>() && layer.Name == "head", ActivationCodec.None);
            if (rule == "blocks") options.Blocks("conv1", "conv2", "norm", "pool", "relu");
        });
        for (var step = 0; step < 3; step++)
        {
            var x = Input(step, 4, 3, 32, 32);
            using (var y = modelByForward ? model.forward(x) : model.call(x)) Run(y.mean());
            var layers = compression.Report().Layers;
            var head = Assert.Single(layers, layer => layer.Name == "head");
            Assert.True(
                head.KeptAs.Contains("rule", StringComparison.Ordinal) || head is { Maps: 0, SharedMaps: 1 },
                $"step {step}\n{compression.Report()}");
            // The ReLU before the head saved the map that the head saves. It is held for both.
            Assert.Contains(layers, layer => layer.Name == "conv2" && layer.KeptAs.StartsWith("dct", StringComparison.Ordinal));
            Assert.DoesNotContain(compression.Report().Notes, note => note.Contains("met nothing", StringComparison.Ordinal));
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Two_compressed_models_take_turns(bool byForward)
    {
        var plain = Train(null, out _);
        Same(plain, Train(ThroughStore.Lossless, out _));
        Assert.InRange(Cosine(plain, Train(ActivationCodec.Dct(4), out var shares)), 0.95, 1);
        Assert.All(shares, share => Assert.InRange(share, 0.01, 0.6));

        double[] Train(ActivationCodec? codec, out double[] shares)
        {
            using var everything = NewDisposeScope();
            using var generator =
                Seeded(() => Sequential(Conv2d(3, 8, 3, padding: 1), BatchNorm2d(8), ReLU(), Conv2d(8, 3, 3, padding: 1), Tanh()));
            using var critic = Seeded(() => Sequential(
                Conv2d(3, 8, 3, padding: 1), LeakyReLU(0.2), Conv2d(8, 8, 3, padding: 1), LeakyReLU(0.2), Conv2d(8, 1, 3, padding: 1)));
            var compressions = codec is null
                ? [] : new[] { generator.CompressActivations(With(codec)), critic.CompressActivations(With(codec)) };
            for (var step = 0; step < 4; step++)
            {
                using var inner = NewDisposeScope();
                var (noise, real) = (Input(step, 2, 3, 32, 32), Input(100 + step, 2, 3, 32, 32));
                using (var fake = Of(generator, noise))
                {
                    var apart = fake.detach();
                    Run((Of(critic, apart) - Of(critic, real)).mean() + Of(critic, real).square().mean());
                    foreach (var compression in compressions) Assert.True(compression.Report().Layers.Count > 0);
                    Run(Of(critic, fake).mean().neg());
                }
                foreach (var compression in compressions) Assert.Equal(0, compression.LiveBytes);
            }
            shares = [.. compressions.Select(compression => compression.Report())
                .Select(report => report.KeptBytes / (double)report.SavedBytes)];
            foreach (var compression in compressions) compression.Dispose();
            return [.. Gradients(generator), .. Gradients(critic)];
        }

        Tensor Of(Sequential model, Tensor x) => byForward ? model.forward(x) : model.call(x);
    }

    [Fact]
    public void Taking_turns_leaves_nothing_behind()
    {
        const int Turns = 1500;
        using var everything = NewDisposeScope();
        using var a = Seeded(() => Linear(8, 8));
        using var b = Seeded(() => Linear(8, 8));
        using var ofA = a.CompressActivations(With(ActivationCodec.Dct(4)));
        using var ofB = b.CompressActivations(With(ActivationCodec.Dct(4)));
        var x = randn(4, 8);
        for (var turn = 0; turn < Turns; turn++)
        {
            using var inner = NewDisposeScope();
            Run(a.forward(x.sin()).sum());
            Run(b.forward(x.sin()).sum());
        }
        Assert.InRange(SavedTensorsScope.Depth, 0, 2);
        ofA.Dispose();
        ofB.Dispose();
        Assert.Null(OperationObserver.Running);
    }

    public static TheoryData<string, bool> Frozen => new(
        from what in (string[])["backbone", "middle", "no affine norm"]
        from byForward in (bool[])[false, true]
        select (what, byForward));

    [Theory, MemberData(nameof(Frozen))]
    public void Frozen_layers_do_not_hide_those_that_learn(string what, bool byForward)
    {
        var plain = Train(null);
        Same(plain, Train(ThroughStore.Lossless));
        Assert.InRange(Cosine(plain, Train(ActivationCodec.Dct(4))), 0.96, 1);

        double[] Train(ActivationCodec? codec)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => Sequential(
                ("conv1", Conv2d(3, 8, 3, padding: 1)), ("relu1", ReLU()), ("conv2", Conv2d(8, 8, 3, padding: 1)),
                ("norm", BatchNorm2d(8, affine: what != "no affine norm")), ("relu2", ReLU()), ("conv3", Conv2d(8, 8, 3, padding: 1)),
                ("tanh", Tanh()), ("conv4", Conv2d(8, 2, 3, padding: 1))));
            foreach (var (name, parameter) in model.named_parameters())
                if ((what == "backbone" && !name.StartsWith("conv4", StringComparison.Ordinal)
                    && !name.StartsWith("conv3", StringComparison.Ordinal))
                    || (what == "middle" && name.StartsWith("conv2", StringComparison.Ordinal)))
                    parameter.requires_grad = false;
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            for (var step = 0; step < 2; step++)
            {
                var x = Input(step, 4, 3, 32, 32);
                using (var y = byForward ? model.forward(x) : model.call(x)) Run(y.sin().mean());
                if (compression is null || codec == ThroughStore.Lossless) continue;
                var report = compression.Report();
                Assert.True(report.KeptBytes < report.SavedBytes * 0.6, $"step {step}\n{report}");
                // The tanh stands after half of the layers. Its map is compressed in the first step as in later steps.
                Assert.Contains(
                    report.Layers, layer => layer is { Name: "tanh", Maps: 1 } && layer.KeptAs.StartsWith("dct", StringComparison.Ordinal));
                Assert.Equal(0, compression.LiveBytes);
            }
            return Gradients(model);
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Under_autocast_the_weights_copies_pass_untouched(bool byForward)
    {
        var plain = Step(null, out _);
        Same(plain, Step(ThroughStore.Lossless, out _), 1e-2);    // the sums are in bfloat16
        Assert.InRange(Cosine(plain, Step(ActivationCodec.Dct(4), out var report)), 0.97, 1);
        // The maps are the inputs of three convolutions, of the norm, of two ReLUs and of the pooling. No weight is among them.
        Assert.All(
            report!.Layers,
            layer => Assert.True(layer.SavedBytes % (4 * 8 * 16 * 16) == 0 || layer.SavedBytes % (8 * 4) == 0, $"{layer}\n{report}"));
        Assert.True(report.SavedBytes < 6 * 4 * 8 * 32 * 32 * 4, $"{report}");

        double[] Step(ActivationCodec? codec, out CompressionReport? report)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => new Net());
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            var x = Input(1, 4, 3, 32, 32);
            Tensor loss;
            using (Autocast.On(DeviceType.CPU, ScalarType.BFloat16).Again())
            using (var y = byForward ? model.forward(x) : model.call(x)) loss = y.to(ScalarType.Float32).sin().mean();
            Run(loss);
            report = compression?.Report();
            return Gradients(model);
        }
    }

    /// <summary>A convolution whose weight is computed from a parameter.</summary>
    sealed class Computed : Module<Tensor, Tensor>
    {
        readonly Parameter weight1 = new(randn(8, 3, 3, 3) * 0.2), weight2 = new(randn(8, 8, 3, 3) * 0.2), row = new(randn(1, 72));
        readonly Func<Tensor, Tensor, Tensor> compute;
        public Computed(Func<Tensor, Tensor, Tensor> compute) : base(nameof(Computed))
        {
            this.compute = compute;
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            using var scope = NewDisposeScope();
            var y = functional.relu(functional.conv2d(x, compute(weight1, row.narrow(1, 0, 27)), padding: [1, 1]));
            return functional.conv2d(y, compute(weight2, row), padding: [1, 1]).MoveToOuterDisposeScope();
        }
    }

    static readonly Dictionary<string, Func<Tensor, Tensor, Tensor>> computations = new()
    {
        ["standardised"] = (w, _) =>
        {
            var flat = w.view(w.shape[0], -1);
            return ((flat - flat.mean([1], keepdim: true)) / (flat.std(1, keepdim: true) + 1e-5)).view(w.shape);
        },
        ["spectral norm by hand"] = (w, u) =>
        {
            var flat = w.view(w.shape[0], -1);
            using (no_grad()) { }
            var v = functional.normalize(flat.matmul(u.detach().t()), dim: 0);
            var sigma = v.detach().t().matmul(flat).norm();
            return w / sigma;
        },
        ["binarised"] = (w, _) => w + (w.sign() * w.abs().mean([1, 2, 3], keepdim: true) - w).detach(),
        ["weight norm"] =
            (w, u) => w * (u.narrow(1, 0, w.shape[0]).view(-1, 1, 1, 1) / w.view(w.shape[0], -1).norm(1, keepdim: true).view(-1, 1, 1, 1)),
        ["low rank"] = (w, u) => w + u.t().matmul(u).narrow(0, 0, w.shape[0]).narrow(1, 0, w[0].numel()).reshape(w.shape),
    };

    public static TheoryData<string, bool> Computations =>
        new(from name in computations.Keys from byForward in (bool[])[false, true] select (name, byForward));

    [Theory, MemberData(nameof(Computations))]
    public void A_weight_that_is_computed_is_no_map(string name, bool byForward)
    {
        var plain = Step(null);
        Same(plain, Step(ThroughStore.Lossless));
        Assert.InRange(Cosine(plain, Step(ActivationCodec.Dct(4))), 0.98, 1);

        double[] Step(ActivationCodec? codec)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => new Computed(computations[name]));
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            for (var step = 0; step < 2; step++)
            {
                model.zero_grad();
                var x = Input(step, 4, 3, 32, 32);
                using (var y = byForward ? model.forward(x) : model.call(x)) Run(y.sin().mean());
            }
            return Gradients(model);
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Parameters_that_are_moved_or_replaced_between_steps_are_known_again(bool byForward)
    {
        var plain = Train(null);
        Same(plain, Train(ThroughStore.Lossless), 1e-4);

        double[] Train(ActivationCodec? codec)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => new Net { ByForward = byForward });
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            Step(ScalarType.Float32);
            model.to(ScalarType.Float64);
            Step(ScalarType.Float64);
            model.to(ScalarType.Float32);
            Step(ScalarType.Float32);
            random.manual_seed(77);
            model.First.weight = new Parameter(randn(8, 3, 3, 3));
            Step(ScalarType.Float32);
            model.zero_grad();
            Step(ScalarType.Float32);
            return Gradients(model);

            void Step(ScalarType type)
            {
                var x = Input(1, 4, 3, 32, 32).to(type);
                using (var y = byForward ? model.forward(x) : model.call(x)) Run(y.sin().mean());
                if (compression is null) return;
                Assert.Equal(0, compression.LiveBytes);
                var report = compression.Report();
                // No weight is treated as a map, because no layer's maps have the size of a weight.
                Assert.True(
                    report.Layers.Count(layer => layer.Maps > 0) >= 4 && report.Layers.All(layer =>
                        layer.SavedBytes is not (8 * 3 * 9 * 4 or 8 * 3 * 9 * 8 or 8 * 8 * 9 * 4 or 8 * 8 * 9 * 8)),
                    $"{type}\n{report}");
            }
        }
    }

    /// <summary>A cell that runs for each step of a sequence, and an output that shares its weight with the input.</summary>
    sealed class Recurrent : Module<Tensor, Tensor>
    {
        readonly Linear input = Linear(16, 16, hasBias: false), state = Linear(16, 16), output = Linear(16, 16);
        public bool ByForward { get; init; }

        public Recurrent() : base(nameof(Recurrent))
        {
            output.weight = input.weight;
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            using var scope = NewDisposeScope();
            var h = zeros(x.shape[0], 16);
            for (var step = 0; step < 20; step++)
                h = tanh(ByForward ? input.forward(x.select(1, step)) + state.forward(h) : input.call(x.select(1, step)) + state.call(h));
            return (ByForward ? output.forward(h) : output.call(h)).MoveToOuterDisposeScope();
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_cell_that_runs_twenty_times_and_tied_weights(bool byForward)
    {
        var plain = Train(null);
        Same(plain, Train(ThroughStore.Lossless));
        Assert.InRange(Cosine(plain, Train(ActivationCodec.Dct(10))), 0.99, 1);

        double[] Train(ActivationCodec? codec)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => new Recurrent { ByForward = byForward });
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            for (var step = 0; step < 3; step++)
            {
                random.manual_seed(step);
                var x = randn(64, 20, 16);
                using (var y = byForward ? model.forward(x) : model.call(x)) Run(y.sin().mean());
                if (compression is null || codec == ThroughStore.Lossless) continue;
                var report = compression.Report();
                Assert.True(
                    report.KeptBytes < report.SavedBytes * 0.5 && report.Layers.Sum(layer => layer.Maps) >= 20, $"step {step}\n{report}");
                Assert.Equal(0, compression.LiveBytes);
            }
            return Gradients(model);
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Accumulation_evaluation_and_passes_that_fail_come_in_between(bool byForward)
    {
        var plain = Train(null);
        Same(plain, Train(ThroughStore.Lossless));
        Assert.InRange(Cosine(plain, Train(ActivationCodec.Dct(4))), 0.96, 1);

        double[] Train(ActivationCodec? codec)
        {
            using var everything = NewDisposeScope();
            using var model = Seeded(() => new Net { ByForward = byForward, LogitScale = 10 });
            using var compression = codec is null ? null : model.CompressActivations(With(codec));
            using var optimizer = optim.SGD(model.parameters(), 1e-3);
            for (var step = 0; step < 4; step++)
            {
                optimizer.zero_grad();
                for (var part = 0; part < 3; part++)
                {
                    using (var logits = Of(Input(10 * step + part, 2, 3, 32, 32))) Run(DiceAndCrossEntropy(logits) / 3);
                    Compressed();
                }
                // These are two forward passes for one backward pass.
                using (var one = Of(Input(10 * step + 5, 2, 3, 32, 32)))
                using (var two = Of(Input(10 * step + 6, 2, 3, 32, 32))) Run(DiceAndCrossEntropy(one) + DiceAndCrossEntropy(two));
                Compressed();
                model.eval();
                using (no_grad()) Of(Input(99, 2, 3, 32, 32)).Dispose();
                using (inference_mode()) Of(Input(98, 2, 3, 32, 32)).Dispose();
                model.train();
                // A pass throws, and the next pass runs by forward, whichever way the others run.
                model.Throws = true;
                Assert.Throws<InvalidOperationException>(() => Of(Input(97, 2, 3, 32, 32)));
                model.Throws = false;
                using (var logits = model.forward(Input(96, 2, 3, 32, 32))) Run(DiceAndCrossEntropy(logits));
                Compressed();
                if (step < 3) optimizer.step();
            }
            return Gradients(model);

            Tensor Of(Tensor x) => byForward ? model.forward(x) : model.call(x);

            void Compressed()
            {
                if (compression is null) return;
                Assert.Equal(0, compression.LiveBytes);
                if (codec == ThroughStore.Lossless) return;
                var report = compression.Report();
                Assert.True(report.KeptBytes < report.SavedBytes * 0.6, $"{report}");
            }
        }
    }
}
