using Actipress.Saving;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Saving;

/// <summary>A map that something else keeps alive until the backward pass is returned as it is, and no other map is.</summary>
[MeasuresMemory]
public class AliveElsewhereTests
{
    const string AsItIs = "as it is: alive elsewhere";
    static readonly ActivationCodec Coarse = ActivationCodec.Dct(30);

    static AliveElsewhereTests() => SavedTensors.SelfCheck();

    /// <summary>
    /// Returns the gradient of sum(tanh(x)), with the result of tanh passed to <paramref name="afterwards"/> before the backward pass.
    /// </summary>
    static (float[] Gradient, string KeptAs) OfTanh(ActivationCodec? codec, Func<Tensor, Tensor?> afterwards, Action<Tensor>? run = null)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(5);
        var x = randn([4, 4, 32, 32], requires_grad: true);
        var store = new ActivationStore(
            codec is null ? new OffloadingPolicy(CPU) : new CompressingPolicy(new CompressionOptions().Default(codec)), run: null);
        Tensor loss;
        Tensor? kept;
        using (codec is null ? null : SavedTensorsScope.Enter(store))
        {
            var map = x.tanh();
            using var weighted = map.add(1);
            loss = weighted.sum();
            kept = afterwards(map);
            if (!ReferenceEquals(kept, map)) map.Dispose();
        }
        (run ?? (it => it.backward()))(loss);
        Assert.Equal(0, store.LiveBytes);
        GC.KeepAlive(kept);
        return (Values(x.grad!), string.Join(", ", store.Report().Layers.Select(layer => layer.KeptAs)));
    }

    static float[] Values(Tensor tensor) => tensor.contiguous().data<float>().ToArray();

    static double Difference(float[] a, float[] b) =>
        Math.Sqrt(a.Zip(b).Sum(pair => Math.Pow(pair.First - (double)pair.Second, 2)) / a.Sum(x => (double)x * x));

    [Fact]
    public void What_is_alive_and_unchanged_comes_back_bit_for_bit()
    {
        var plain = OfTanh(null, map => map).Gradient;
        foreach (var keep in (Func<Tensor, Tensor?>[])[
            map => map, map => map.detach(), map => map.view(-1), map => map.transpose(2, 3)[0], map => map.alias(),
        ])
        {
            var (gradient, keptAs) = OfTanh(Coarse, keep);
            Assert.Equal(plain, gradient);
            Assert.Equal(AsItIs, keptAs);
        }
    }

    [Fact]
    public void What_has_been_freed_is_rebuilt()
    {
        var plain = OfTanh(null, map => map).Gradient;
        foreach (var keep in (Func<Tensor, Tensor?>[])[_ => null, map => map.clone()])
        {
            var (gradient, keptAs) = OfTanh(Coarse, keep);
            Assert.InRange(Difference(plain, gradient), 1e-4, 2);
            Assert.DoesNotContain("as it is", keptAs, StringComparison.Ordinal);
        }
    }

    public static TheoryData<string> Changes => [.. changes.Keys];

    static readonly Dictionary<string, Action<Tensor>> changes = new()
    {
        ["itself"] = map => map.mul_(0),
        ["a view"] = map => { using var view = map.view(-1); view.zero_(); },
        ["one element of a view"] = map => { using var view = map[0]; view[0, 0, 0] = 3f; },
        ["what is detached"] = map => { using var detached = map.detach(); detached.zero_(); },
        ["without gradients"] = map => { using (no_grad()) map.fill_(7); },
        ["in inference mode"] = map => { using (inference_mode()) map.fill_(7); },
        ["a copy into it"] = map =>
        {
            using (no_grad())
            {
                using var zeros = zeros_like(map);
                using var part = map.narrow(0, 1, 2);
                using var from = zeros.narrow(0, 1, 2);
                part.copy_(from);
            }
        },
    };

    [Theory, MemberData(nameof(Changes))]
    public void What_is_alive_and_was_changed_is_rebuilt_as_it_was(string change)
    {
        var plain = OfTanh(null, map => map).Gradient;
        var (gradient, keptAs) = OfTanh(ThroughStore.Lossless, map =>
        {
            changes[change](map);
            var kept = map.alias();
            return kept;
        });
        Assert.Equal(plain, gradient);
        Assert.DoesNotContain("alive", keptAs, StringComparison.Ordinal);
    }

    [Fact]
    public void A_change_between_two_backward_passes_is_an_error_and_not_another_gradient()
    {
        using var everything = NewDisposeScope();
        var x = randn([4, 4, 32, 32], requires_grad: true);
        Tensor map, loss;
        using (SavedTensors.Compress(ThroughStore.Lossless))
        {
            map = x.tanh();
            loss = map.sum();
        }
        SavedTensors.Backward(loss, retainGraph: true);
        using (no_grad()) map.mul_(2);
        Assert.Contains(
            "changed in place", Assert.Throws<CompressionException>(() => SavedTensors.Backward(loss)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_retained_graph_and_gradients_of_gradients_work_on_originals()
    {
        foreach (var alive in (bool[])[true, false])
        {
            using var everything = NewDisposeScope();
            random.manual_seed(5);
            var x = randn([2, 4, 16, 32], ScalarType.Float32, requires_grad: true);
            var (plain, compressed) = (Twice(null), Twice(SavedTensors.Compress(ThroughStore.Lossless)));
            for (var i = 0; i < plain.Length; i++) Assert.Equal(plain[i], compressed[i]);

            float[][] Twice(IDisposable? scope)
            {
                var map = x.tanh();
                var square = map * map;
                var loss = (square * map).sum();
                if (!alive)
                {
                    map.Dispose();
                    square.Dispose();
                }
                scope?.Dispose();
                var first = SavedTensors.Grad([loss], [x], retainGraph: true, createGraph: true)[0]!;
                var second = SavedTensors.Grad([first.square().sum()], [x], retainGraph: true)[0]!;
                var again = SavedTensors.Grad([loss], [x])[0]!;
                return [Values(first), Values(second), Values(again)];
            }
        }
    }

    [Fact]
    public void A_map_that_is_alive_and_held_raw_as_well_is_counted_once()
    {
        using var everything = NewDisposeScope();
        var x = randn([4, 4, 32, 32], requires_grad: true);
        var store = new ActivationStore(new CompressingPolicy(new CompressionOptions().Default(Coarse)), run: null);
        Tensor map, loss;
        using (SavedTensorsScope.Enter(store))
        {
            map = x.tanh();                                  // a smooth need
            loss = map.amax(-1, -2).sum() + map.sin().sum(); // an exact need: the values are compared for equality
        }
        Assert.Equal(
            1,
            store.Report().Layers.Sum(layer => layer.KeptAs.Split(", ").Count(how => how.StartsWith("exact", StringComparison.Ordinal))));
        loss.backward();
        Assert.Equal(0, store.LiveBytes);
        using var plain = x.grad!.clone();
        x.grad.zero_();
        map = x.tanh();
        (map.amax(-1, -2).sum() + map.sin().sum()).backward();
        Assert.Equal(Values(x.grad), Values(plain));
    }

    [Fact]
    public void Backward_on_another_thread_finds_the_originals_too()
    {
        var plain = OfTanh(null, map => map).Gradient;
        var (gradient, keptAs) = OfTanh(Coarse, map => map, loss =>
        {
            var failure = (Exception?)null;
            var thread = new Thread(() => { try { loss.backward(); } catch (Exception caught) { failure = caught; } });
            thread.Start();
            thread.Join();
            Assert.Null(failure);
        });
        Assert.Equal(plain, gradient);
        Assert.Equal(AsItIs, keptAs);
    }

    /// <summary>Convolutions whose results the user may hold until after the backward pass.</summary>
    sealed class Stack : Module<Tensor, Tensor>
    {
        readonly ModuleList<Module<Tensor, Tensor>> convolutions = [];
        public List<Tensor> Held { get; } = [];
        public bool Holds { get; set; } = true;
        public Stack(int layers, int channels) : base(nameof(Stack))
        {
            for (var i = 0; i < layers; i++) convolutions.Add(Conv2d(channels, channels, 3, padding: 1));
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var map = x.alias();
            foreach (var convolution in convolutions)
            {
                var next = convolution.call(map);
                if (Holds) Held.Add(map);
                else map.Dispose();
                map = next;
            }
            return map;
        }

        public void LetGo()
        {
            foreach (var map in Held) map.Dispose();
            Held.Clear();
        }
    }

    [Fact]
    public void The_next_step_packs_nothing_that_was_alive_and_learns_again()
    {
        using var everything = NewDisposeScope();
        using var model = new Stack(4, 8);
        using var compression = model.CompressActivations(Coarse);
        var x = randn(2, 8, 32, 32);
        string[] first = Step(), second = Step();
        Assert.All((string[])[.. first[1..], .. second[1..]], kept => Assert.Equal(AsItIs, kept));
        model.Holds = false;
        Assert.All(Step()[1..], kept => Assert.Equal(AsItIs, kept));    // this is found when the backward pass begins
        Assert.All(Step()[1..], kept => Assert.StartsWith("dct", kept, StringComparison.Ordinal));
        model.Holds = true;
        Step();
        Assert.All(Step()[1..], kept => Assert.Equal(AsItIs, kept));

        string[] Step()
        {
            using (var result = model.call(x)) using (var loss = result.sum()) compression.Backward(loss);
            model.LetGo();
            Assert.Equal(0, compression.LiveBytes);
            return [.. compression.Report().Layers.Select(layer => layer.KeptAs)];
        }
    }

    sealed class Careless : Module<Tensor, Tensor>
    {
        readonly Conv2d first = Conv2d(8, 8, 3, padding: 1), second = Conv2d(8, 8, 3, padding: 1);
        readonly List<Tensor> held = [];

        public Careless() : base(nameof(Careless)) => RegisterComponents();

        public bool Holds { get; set; } = true;
        public int Line { get; private set; }

        public override Tensor forward(Tensor x)
        {
            using var y = first.call(x);
            (var z, Line) = (y.tanh(), LineHere());
            if (Holds) held.Add(z);
            try { return second.call(z); }
            finally { if (!Holds) z.Dispose(); }
        }

        static int LineHere([System.Runtime.CompilerServices.CallerLineNumber] int line = 0) => line;
    }

    [Theory, InlineData(1), InlineData(3)]
    public void The_line_that_made_a_handle_is_told(int firstStepThatHolds)
    {
        using var everything = NewDisposeScope();
        using var model = new Careless { Holds = false };
        var notes = new List<string>();
        using var compression = model.CompressActivations(Coarse);
        compression.Noted += notes.Add;
        var x = randn(2, 8, 32, 32);
        for (var step = 1; step <= firstStepThatHolds + 2; step++)
        {
            model.Holds = step >= firstStepThatHolds;
            using (var y = model.call(x)) using (var loss = y.sum()) compression.Backward(loss);
            var lines = compression.Report().Layers.Where(layer => layer.AliveElsewhereBytes > 0).Select(layer => layer.AliveElsewhereAt);
            // The line is looked up when the next step saves the map again.
            string[] wanted = !model.Holds ? [] : step == firstStepThatHolds ? [""] : [Place(model)];
            Assert.Equal(wanted, lines);
        }
        Assert.Single(notes, note => note.Contains("by aten::tanh. Disposing", StringComparison.Ordinal));
        var ofLines = $"These lines saved maps that were still alive: {Place(model)}. ";
        Assert.Single(notes, note => note.StartsWith(ofLines, StringComparison.Ordinal));

        static string Place(Careless model) => $"AliveElsewhereTests.cs:{model.Line} (Careless.forward)";
    }

    [Fact]
    public void Held_handles_cost_no_more_than_without_compression()
    {
        using var everything = NewDisposeScope();
        using var model = new Stack(8, 16);
        var x = randn(4, 16, 96, 96);
        var plain = Peak();
        using var compression = model.CompressActivations(ActivationCodec.Dct(10));
        var first = Peak();
        for (var step = 1; step < 4; step++) Assert.InRange(Peak(), 0, plain + (1 << 20));
        // The first step does not know it yet, and packs maps in vain.
        Assert.InRange(first, 0, plain * 1.15);

        long Peak()
        {
            using var meter = AllocatorMeter.Start();
            var before = AllocatorMeter.CurrentBytes;
            using (var result = model.call(x)) using (var loss = result.sum()) loss.backward();
            model.LetGo();
            var peak = meter.PeakBytes - before;
            model.zero_grad();
            return peak;
        }
    }

    [Fact]
    public void Random_graphs_have_the_plain_gradients() => Hammer(400);

    [Fact(Explicit = true)]
    public void Twenty_thousand_random_graphs_have_the_plain_gradients() => Hammer(20_000);

    // The graphs have operations in place and not, views, and handles that are freed or kept, so that new tensors get old addresses all the
    // time.
    static void Hammer(int graphs)
    {
        const long OfAnError = 4 << 10;    // TorchSharp does not free the text of libtorch's error, nor its stack
        var (compared, refused, level, tensors) = (0, 0, 0L, 0L);
        for (var graph = 0; graph < graphs; graph++)
        {
            if (graph == graphs / 2) (level, tensors) = Allocated.Level();
            var seed = 1 + graph;
            var plain = RandomGraph(seed, null);
            var store = ThroughStore.Store(ThroughStore.Lossless, handsOutOriginals: graph % 4 != 0);
            var compressed = RandomGraph(seed, store);
            if (plain is null)
            {
                // libtorch has found a change in place; its queue holds the rest of the graph until the thread's next backward pass
                refused++;
                continue;
            }
            compared++;
            Assert.True(store.LiveBytes == 0, $"graph {seed}: {store.LiveBytes} bytes are left\n{store.Report()}");
            Assert.Empty(store.Failures);
            Assert.NotNull(compressed);
            for (var i = 0; i < plain.Length; i++)
            {
                var scale = 1e-6 + plain[i].Max(Math.Abs);
                for (var j = 0; j < plain[i].Length; j++)
                    Assert.True(
                        Math.Abs(plain[i][j] - compressed[i][j]) <= 1e-4 * scale,
                        $"graph {seed}, pass {i}, element {j}: {compressed[i][j]} in place of {plain[i][j]}");
            }
        }
        Assert.InRange(compared, graphs / 2, graphs);
        Assert.True(refused > 0);
        var after = Allocated.Level();
        Assert.InRange(after.Native - level, long.MinValue, (1 << 20) + refused * OfAnError);
        Assert.InRange(after.Tensors, 0, tensors + 8);    // the queue holds tensors of the last graph that was refused
    }

    // Returns the gradients of one or two backward passes; null where libtorch refuses the backward pass.
    static float[][]? RandomGraph(int seed, ActivationStore? store)
    {
        var random = new Random(seed);
        using var everything = NewDisposeScope();
        torch.random.manual_seed(seed);
        var side = random.Next(2, 7);
        var leaf = randn([side, side], requires_grad: true);
        var (living, kept) = (new List<Tensor> { leaf * 1 }, new List<Tensor>());
        Tensor loss;
        using (store is null ? null : SavedTensorsScope.Enter(store))
        {
            var operations = random.Next(4, 16);
            for (var i = 0; i < operations; i++)
            {
                var a = living[random.Next(living.Count)];
                var b = living[random.Next(living.Count)];
                if (a.shape[0] != side || a.shape[1] != side) a = living[0];
                if (b.shape[0] != side || b.shape[1] != side) b = living[0];
                var made = random.Next(20) switch
                {
                    0 => a.tanh(),
                    1 => a.sigmoid(),
                    2 => a.relu(),
                    3 => a * b,
                    4 => a.mm(b) * 0.3,
                    5 => a + b,
                    6 => a.t(),
                    7 => a.t().sin(),
                    8 => a.clone().relu_(),
                    9 => a.clone().tanh_(),
                    10 => (a * 1).mul_(b),
                    11 => a.cos().mul_(0.5),
                    12 => a.narrow(0, 0, side - 1).narrow(1, 1, side - 1).sigmoid(),
                    13 => a.detach() * b,
                    14 => a.softmax(0),
                    15 => a.expand(3, side, side).sin().sum([0]),
                    16 => a.contiguous().view(-1).view(side, side).square(),
                    17 => functional.leaky_relu(a, 0.2),
                    18 => a.masked_fill(a.gt(0.5), 0.1),
                    _ => where(a.gt(b), a, b),
                };
                living.Add(made);
                // Sometimes a tensor that may have been saved is changed in place.
                if (random.Next(60) == 0)
                    using (no_grad())
                    {
                        var changed = living[random.Next(living.Count)].detach();
                        changed.mul_(1.5);
                        changed.Dispose();
                    }
                // Many handles are disposed at once, and some are kept until after the backward pass.
                while (living.Count > 5)
                {
                    var index = random.Next(1, living.Count);
                    var gone = living[index];
                    living.RemoveAt(index);
                    if (random.Next(4) == 0) kept.Add(gone);
                    else gone.Dispose();
                }
            }
            loss = living.Skip(1).Select(tensor => tensor.sum()).Aggregate((sum, one) => sum + one);
            foreach (var tensor in living)
                if (random.Next(2) == 0) tensor.Dispose();
        }
        try
        {
            if (random.Next(3) != 0)
            {
                loss.backward();
                return [Values(leaf.grad!)];
            }
            loss.backward(retain_graph: true);
            var first = Values(leaf.grad!);
            loss.backward();
            return [first, Values(leaf.grad!)];
        }
        catch (System.Runtime.InteropServices.ExternalException) when (store is null) { return null; }
        catch (System.Runtime.InteropServices.ExternalException refusal)
            when (refusal.Message.Contains("changed in place", StringComparison.Ordinal)
                || refusal.Message.Contains("in-place", StringComparison.Ordinal)
                || refusal.Message.Contains("inplace", StringComparison.Ordinal))
        {
            return null;
        }
        finally
        {
            leaf.grad?.Dispose();
            loss.Dispose();
        }
    }
}
