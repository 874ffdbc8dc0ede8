using Actipress.Saving;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using F = TorchSharp.torch.nn.functional;

namespace Actipress.Tests.Saving;

/// <summary>Only the tensors that a call makes and does not return are disposed at its end. The class is one list of scenarios.</summary>
[MeasuresMemory]
public class DisposeIntermediatesTests
{
    // Code of a user in which every intermediate result keeps its handle.
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
                last = new(
                    compression?.Report(), held, meter.PeakBytes - floor,
                    [.. model.parameters().Select(p => p.grad!.data<float>().ToArray())]);
            }
        }
        return last!;
    }

    // The map is smooth in both directions, and differs for each channel.
    static Tensor Waves(long n, long c, long h, long w)
    {
        using var scope = NewDisposeScope();
        var (y, x) = (linspace(0, 6, h).view(1, 1, h, 1), linspace(0, 6, w).view(1, 1, 1, w));
        var k = arange(n * c).view(n, c, 1, 1) * 0.37;
        return ((y + k).sin() * (x * 0.7 - k).cos() + 0.02 * randn(n, c, h, w)).MoveToOuterDisposeScope();
    }

    [Fact]
    public void Disposing_twice_is_disposing_once()
    {
        using var model = Sequential(Linear(3, 4));
        var intermediates = new IntermediateTensors(new ModelLayers(model));
        intermediates.Dispose();
        intermediates.Dispose();
    }

    [Fact]
    public void A_unet_that_disposes_nothing_frees_nine_tenths_of_what_it_saves()
    {
        var plain = Train(null);
        var kept = Train(options => options.Default(ActivationCodec.Dct(10)));
        var freed = Train(options =>
        {
            options.Default(ActivationCodec.Dct(10));
            options.DisposeIntermediates();
        });
        var numbers = $"""
            plain: {plain.HeldAfterForward} held, peak {plain.Peak}
            without: {kept.HeldAfterForward} held, peak {kept.Peak},
                {kept.Report!.AliveElsewhereBytes} of {kept.Report.SavedBytes} alive elsewhere
            with: {freed.HeldAfterForward} held, peak {freed.Peak},
                {freed.Report!.AliveElsewhereBytes} of {freed.Report.SavedBytes} alive elsewhere, {freed.Report.KeptBytes} kept
            """;
        TestContext.Current.TestOutputHelper!.WriteLine(numbers);
        Assert.True(kept.Report.AliveElsewhereBytes > 0.5 * kept.Report.SavedBytes, numbers);
        Assert.True(freed.Report.AliveElsewhereBytes <= 0.1 * freed.Report.SavedBytes, numbers);
        Assert.True(plain.HeldAfterForward - freed.HeldAfterForward >= 0.9 * freed.Report.SavedBytes, numbers);
        Assert.True(freed.Peak <= plain.Peak && kept.Peak <= plain.Peak * 1.02, numbers);
        Assert.Equal(0, freed.Report.LiveBytes);
    }

    [Fact]
    public void Gradients_are_those_of_code_that_disposes_nothing()
    {
        var lossless = ActivationCodec.Parse("st:1,storage=paper");
        var plain = Train(null);
        var freed = Train(options =>
        {
            options.Default(lossless);
            options.DisposeIntermediates();
        });
        Assert.Equal(plain.Gradients, freed.Gradients);
    }

    static ActivationCompression Dispose(nn.Module model, bool on = true) =>
        model.CompressActivations(options => options.DisposeIntermediates(on));

    /// <summary>A forward pass of any shape, which returns the tensors that it made.</summary>
    sealed class Makes<TResult>(Func<Tensor, List<Tensor>, TResult> body) : Module<Tensor, TResult>(nameof(Makes<TResult>))
    {
        // The list is not a field, because tensors in a field may not be disposed.
        public override TResult forward(Tensor x)
        {
            var made = new List<Tensor>();
            var result = body(x, made);
            After?.Invoke(made);
            return result;
        }

        public Action<List<Tensor>>? After { get; set; }
    }

    static List<Tensor> Call<TResult>(Func<Tensor, List<Tensor>, TResult> body, Tensor x, out TResult result, bool on = true)
    {
        List<Tensor> made = [];
        using var model = new Makes<TResult>(body) { After = made.AddRange };
        using var compression = Dispose(model, on);
        result = model.call(x);
        return made;
    }

    static Tensor Make(List<Tensor> made, Tensor tensor)
    {
        made.Add(tensor);
        return tensor;
    }

    record Detections(Tensor Boxes, Tensor Scores);

    sealed class Nested
    {
        public string Name { get; init; } = "";
        public int[] Sizes { get; init; } = [1];
        public Dictionary<string, (Tensor, Tensor?)> Levels { get; init; } = [];
    }

    // Each case makes an intermediate tensor first, and returns the others.
    public static TheoryData<string> Results => [.. results.Keys];

    static readonly Dictionary<string, Func<Tensor, (List<Tensor> Made, object? Result)>> results = new()
    {
        ["a tensor"] = x => (Call((x, made) => Make(made, Make(made, x * 2) + 1), x, out var result), result),
        ["a pair"] =
            x => (Call((x, made) => (Make(made, x * 2), (Tensor)null!, Make(made, Make(made, x * 2) + 1)), x, out var result), result),
        ["an array"] = x => (
            Call((x, made) => { var a = Make(made, x * 2); return new[] { Make(made, a + 1), Make(made, a + 2) }; }, x, out var result),
            result),
        ["a list"] = x =>
            (Call((x, made) => { var a = Make(made, x * 2); return new List<Tensor> { Make(made, a + 1) }; }, x, out var result), result),
        ["a read-only list"] = x => (
            Call((x, made) => { var a = Make(made, x * 2); return (IReadOnlyList<Tensor>)[Make(made, a + 1)]; }, x, out var result),
            result),
        ["a dictionary"] = x => (Call(
            (x, made) => { var a = Make(made, x * 2); return new Dictionary<string, Tensor> { ["y"] = Make(made, a + 1) }; }, x,
            out var result), result),
        ["a record"] = x => (Call(
            (x, made) => { var a = Make(made, x * 2); return new Detections(Make(made, a + 1), Make(made, a + 2)); }, x,
            out var result), result),
        ["an object with a dictionary of pairs"] = x => (Call(
            (x, made) => { var a = Make(made, x * 2); return new Nested { Levels = { ["y"] = (Make(made, a + 1), null) } }; }, x,
            out var result), result),
        ["nothing at all"] = x => (Call((x, made) => { var a = Make(made, x * 2); return (Tensor)null!; }, x, out var result), result),
        ["its input"] = x => (Call((x, made) => { var a = Make(made, x * 2); return x; }, x, out var result), result),
    };

    [Theory, MemberData(nameof(Results))]
    public void Whatever_is_returned_lives_and_the_rest_does_not(string kind)
    {
        using var x = ones(2, 3);
        var outside = results[kind](x);
        Check(outside);
        foreach (var tensor in outside.Made) tensor.Dispose();    // with no scope around the call, they are the caller's
        Assert.False(x.IsInvalid);

        (List<Tensor> Made, object? Result) inside;
        using (NewDisposeScope())
        {
            inside = results[kind](x);
            Check(inside);
        }
        Assert.All(inside.Made, made => Assert.True(made.IsInvalid));
        Assert.False(x.IsInvalid);

        void Check((List<Tensor> Made, object? Result) call)
        {
            // The first tensor is the intermediate one, except in the pair, which begins with a result.
            var intermediate = kind == "a pair" ? 1 : 0;
            for (var i = 0; i < call.Made.Count; i++) Assert.Equal(i == intermediate, call.Made[i].IsInvalid);
        }
    }

    [Fact]
    public void A_lazy_result_keeps_all_that_its_call_made()
    {
        using var scope = NewDisposeScope();
        var made = Call((x, made) =>
        {
            var a = Make(made, x * 2);
            return Enumerable.Range(0, 2).Select(i => a + i);
        }, ones(2), out var result);
        Assert.Equal([2f, 2, 3, 3], cat(result.ToList()).data<float>().ToArray());
        Assert.False(made[0].IsInvalid);
    }

    [Fact]
    public void Off_by_default()
    {
        using var scope = NewDisposeScope();
        var made = Call((x, made) => Make(made, x * 2) + 1, ones(2), out _, on: false);
        Assert.False(made[0].IsInvalid);
        Assert.False(new CompressionOptions().DisposesIntermediates);
    }

    [Fact]
    public void Scopes_of_the_users_own_work_inside_and_around()
    {
        using var x = ones(2, 3);
        using var around = NewDisposeScope();
        var made = Call((x, made) =>
        {
            using var inner = NewDisposeScope();
            var a = Make(made, x * 2);
            Make(made, a + 1).MoveToOuterDisposeScope();
            Make(made, a + 2).DetachFromDisposeScope();
            return (a + 3).MoveToOuterDisposeScope();
        }, x, out var y);
        Assert.Equal([true, true, false], made.Select(tensor => tensor.IsInvalid));
        Assert.True(around.Contains(y!));
        Assert.False(around.Contains(made[2]));
        made[2].Dispose();

        // The scope that was left open has its tensors, and is still the current scope.
        DisposeScope? left = null;
        made = Call((x, made) =>
        {
            left = NewDisposeScope();
            return Make(made, x * 2);
        }, x, out y);
        Assert.True(left!.Contains(y!));
        var later = x + 1;
        Assert.True(left.Contains(later));
        left.Dispose();
        Assert.True(y!.IsInvalid && later.IsInvalid);
        Assert.True(around.Contains(x + 1));
    }

    [Fact]
    public void It_works_without_gradients_and_for_parts_that_are_run_by_themselves()
    {
        using var scope = NewDisposeScope();
        using var model = new UNet();
        using var compression = Dispose(model);
        var x = Waves(1, 3, 32, 32);
        long Made(Func<Tensor> run)
        {
            using var inner = NewDisposeScope();
            run();
            return inner.DisposablesCount;
        }
        using (no_grad()) Assert.Equal(1, Made(() => model.call(x)));
        Assert.Equal(1, Made(() => model.call(x)));
        // the result of each part, and the tensors that the model itself makes
        Assert.Equal(5 + 1 + 2 + 2 + 2, Made(() => model.forward(x)));
        compression.Dispose();
        Assert.True(Made(() => model.call(x)) > 30);
    }

    /// <summary>A recurrent cell that keeps the tensors that it made.</summary>
    sealed class Cell : Module<Tensor, Tensor>
    {
        readonly Linear linear = Linear(4, 4);
        readonly Func<Cell, Tensor, Tensor, Tensor> store;
        Tensor? hidden;
        Tensor? Last { get; set; }
        readonly List<Tensor> history = [];
        readonly Dictionary<string, Tensor> cache = [];
        (Tensor, Tensor)? keysAndValues;

        public Cell(Func<Cell, Tensor, Tensor, Tensor> store) : base(nameof(Cell))
        {
            this.store = store;
            RegisterComponents();
        }

        public override Tensor forward(Tensor x)
        {
            var z = linear.call(x);
            return store(this, z, z.tanh());
        }

        public static readonly Dictionary<string, Func<Cell, Tensor, Tensor, Tensor>> Habits = new()
        {
            ["hidden"] = (cell, z, y) => { cell.hidden = z; return y; },
            ["Last"] = (cell, z, y) => { cell.Last = z; return y; },
            ["history"] = (cell, z, y) => { cell.history.Add(z); return y; },
            ["cache"] = (cell, z, y) => { cell.cache["z"] = z; return y; },
            ["keysAndValues"] = (cell, z, y) => { cell.keysAndValues = (z, y); return y; },
            ["detached"] = (cell, z, y) => { cell.hidden = z.DetachFromDisposeScope(); return y; },
            ["returned"] = (cell, z, y) => { cell.hidden = y; return y; },
        };

        public bool Holds =>
            new[] { hidden, Last, keysAndValues?.Item1 }.Concat(history).Concat(cache.Values).Any(tensor => tensor is { IsInvalid: false });
    }

    sealed class Derived(int seed) : Around(new Cell(Cell.Habits["detached"]))
    {
        public int Seed => seed;
    }

    class Around : Module<Tensor, Tensor>
    {
        readonly Cell cell;
        Tensor? kept;

        public Around(Cell cell) : base(nameof(Around))
        {
            this.cell = cell;
            RegisterComponents();
        }

        public bool Keeps { get; init; }

        public override Tensor forward(Tensor x)
        {
            var y = cell.call(x) * 2;
            if (Keeps) kept = y;
            return y + (kept is null ? 0 : 1);
        }
    }

    [Theory]
    [InlineData("hidden"), InlineData("Last"), InlineData("history"), InlineData("cache"), InlineData("keysAndValues")]
    public void A_tensor_that_a_field_keeps_is_an_error_that_names_it(string field)
    {
        using var scope = NewDisposeScope();
        var cell = new Cell(Cell.Habits[field]);
        using var model = Sequential(("cell", cell));
        using var compression = Dispose(model);
        var error = Assert.Throws<InvalidOperationException>(() => model.call(ones(2, 4)));
        Assert.Contains(
            $"Layer cell (Cell) keeps a tensor that was made in its own forward pass: found one of Float32 [2, 4] in its field '{field}', "
                + "wanted none.",
            error.Message, StringComparison.Ordinal);
        Assert.Contains("DetachFromDisposeScope()", error.Message, StringComparison.Ordinal);
        Assert.True(cell.Holds);    // the cell is whole: only the call was refused
    }

    [Fact]
    public void A_field_may_keep_what_is_detached_or_belongs_to_the_caller()
    {
        using var scope = NewDisposeScope();
        var cell = new Cell(Cell.Habits["detached"]);
        using var model = Sequential(("cell", cell));
        using var compression = Dispose(model);
        model.call(ones(2, 4));
        Assert.True(cell.Holds);

        var returning = new Cell(Cell.Habits["returned"]);
        using var itself = Dispose(returning);
        returning.call(ones(2, 4));
        Assert.True(returning.Holds);
    }

    [Fact]
    public void A_field_of_a_layer_below_or_of_a_base_class_is_seen()
    {
        using var scope = NewDisposeScope();
        using var outer = new Around(new Cell(Cell.Habits["returned"]));
        using var compression = Dispose(outer);
        var error = Assert.Throws<InvalidOperationException>(() => outer.call(ones(2, 4)));
        Assert.Contains(
            "Layer cell (Cell) keeps a tensor that was made in the forward pass around it, of the model (Around)", error.Message,
            StringComparison.Ordinal);

        using var derived = new Derived(1) { Keeps = true };
        using var other = Dispose(derived);
        error = Assert.Throws<InvalidOperationException>(() => derived.call(ones(2, 4)));
        Assert.Contains(
            "The model (Derived) keeps a tensor that was made in its own forward pass", error.Message, StringComparison.Ordinal);
        Assert.Contains("'kept'", error.Message, StringComparison.Ordinal);
    }

    /// <summary>A module that makes its parameters and buffers at its first input.</summary>
    sealed class Lazy() : Module<Tensor, Tensor>(nameof(Lazy))
    {
        public override Tensor forward(Tensor x)
        {
            if (!has_parameter("weight"))
            {
                register_parameter("weight", new Parameter(ones(x.shape[^1])));
                register_buffer("scale", full(1, 3f) * 1);
            }
            return x * get_parameter("weight")! * get_buffer("scale")!;
        }
    }

    [Fact]
    public void Parameters_and_buffers_made_in_the_forward_pass_live()
    {
        using var lazy = new Lazy();
        using var model = Sequential(("lazy", lazy));
        using var compression = Dispose(model);
        using var x = ones(2, 4);
        for (var i = 0; i < 3; i++) model.call(x).sum().backward();
        Assert.Equal(18f, lazy.get_parameter("weight")!.grad![0].item<float>());
    }

    sealed class Failing : Module<Tensor, Tensor>
    {
        readonly Conv2d first = Conv2d(1, 4, 3, padding: 1), second = Conv2d(4, 1, 3, padding: 1);
        public bool Fails { get; set; }
        public Failing() : base(nameof(Failing)) => RegisterComponents();

        public override Tensor forward(Tensor x)
        {
            var y = first.call(x);
            var z = y * 2;
            Seen?.Invoke([y, z]);
            if (Fails) throw new InvalidDataException("no more");
            return second.call(z);
        }

        public Action<Tensor[]>? Seen { get; set; }

        public Tensor? Last { get; set; }
    }

    [Theory, InlineData(true), InlineData(false)]
    public void What_a_failed_pass_made_is_disposed_by_the_next_one_and_nothing_else(bool inScope)
    {
        List<Tensor> made = [];
        using var model = new Failing { Fails = true, Seen = made.AddRange };
        using var outer = new FailingInside(model);
        using var compression = Dispose(outer);
        using var around = NewDisposeScope();
        using var x = ones(1, 1, 8, 8);
        try
        {
            using var step = inScope ? NewDisposeScope() : null;
            outer.call(x);
        }
        catch (InvalidDataException)
        {
        }
        Assert.Equal([false, false], made.Select(tensor => tensor.IsInvalid));
        var since = x + 1;
        using (NewDisposeScope())
        {
            model.Fails = false;
            var made2 = x + 2;
            outer.call(since).sum().backward();
            Assert.False(made2.IsInvalid);
        }
        Assert.All(made, tensor => Assert.True(tensor.IsInvalid));
        Assert.False(since.IsInvalid);
        Assert.True(around.Contains(since));
        Assert.True(around.Contains(x + 1));
    }

    [Fact]
    public void What_a_field_keeps_or_was_taken_out_of_the_scopes_outlives_a_failed_pass()
    {
        Tensor? taken = null;
        using var model = new Failing { Fails = true };
        model.Seen = made =>
        {
            model.Last = made[0];
            taken = made[1];
            throw new InvalidTimeZoneException();
        };
        using var compression = Dispose(model);
        using var around = NewDisposeScope();
        using var x = ones(1, 1, 8, 8);
        Assert.Throws<InvalidTimeZoneException>(() => model.call(x));
        taken!.DetachFromDisposeScope();
        (model.Fails, model.Seen) = (false, null);
        model.call(x).sum().backward();
        Assert.Equal((false, false), (model.Last!.IsInvalid, taken.IsInvalid));
        taken.Dispose();
    }

    sealed class FailingInside : Module<Tensor, Tensor>
    {
        readonly Failing inner;

        public FailingInside(Failing inner) : base(nameof(FailingInside))
        {
            this.inner = inner;
            RegisterComponents();
        }

        public bool Catches { get; init; }

        public override Tensor forward(Tensor x)
        {
            if (!Catches) return inner.call(x) + 1;
            try { return inner.call(x); }
            catch (InvalidDataException)
            {
                inner.Fails = false;
                return inner.call(x) + 1;
            }
        }
    }

    [Fact]
    public void A_pass_may_catch_what_a_layer_throws()
    {
        List<Tensor> made = [];
        using var outer = new FailingInside(new Failing { Fails = true, Seen = made.AddRange }) { Catches = true };
        using var compression = Dispose(outer);
        using var around = NewDisposeScope();
        var y = outer.call(ones(1, 1, 8, 8));
        Assert.Equal(4, made.Count);
        Assert.All(made, tensor => Assert.True(tensor.IsInvalid));
        Assert.Equal(2, around.DisposablesCount);
        y.sum().backward();
    }

    [Fact]
    public void Ending_the_compression_after_a_failed_pass_leaves_no_scope_behind()
    {
        List<Tensor> made = [];
        using var model = new Failing { Fails = true, Seen = made.AddRange };
        using var around = NewDisposeScope();
        using (Dispose(model)) Assert.Throws<InvalidDataException>(() => model.call(ones(1, 1, 8, 8)));
        Assert.All(made, tensor => Assert.True(tensor.IsInvalid));
        Assert.True(around.Contains(ones(1)));
    }

    [Fact]
    public void Parts_that_fail_when_run_by_themselves_take_nothing_with_them()
    {
        List<Tensor> made = [];
        using var failing = new Failing { Fails = true, Seen = made.AddRange };
        using var model = Sequential(("pool", AvgPool2d(2)), ("failing", failing), ("relu", ReLU()));
        using var compression = Dispose(model);
        using var around = NewDisposeScope();
        var parts = model.children().Cast<Module<Tensor, Tensor>>().ToList();
        Assert.Throws<InvalidDataException>(() => parts[1].call(parts[0].call(ones(1, 1, 8, 8))));
        failing.Fails = false;
        var pooled = parts[0].call(ones(1, 1, 8, 8));
        var y = parts[1].call(pooled);
        Assert.False(pooled.IsInvalid || y.IsInvalid);
        Assert.True(around.Contains(pooled) && around.Contains(y) && around.Contains(parts[2].call(y)));
    }

    [Fact]
    public async Task Threads_have_scopes_of_their_own()
    {
        using var model = new UNet();
        using var compression = Dispose(model);
        using var x = Waves(1, 3, 32, 32);
        var counts = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => Task.Run(() =>
        {
            using var scope = NewDisposeScope();
            using var off = no_grad();
            model.call(x);
            return scope.DisposablesCount;
        })));
        Assert.Equal([1, 1, 1], counts);
    }

    [Fact]
    public void Checkpoints_run_again_in_scopes_too()
    {
        float[][] Gradients(bool disposes)
        {
            using var everything = NewDisposeScope();
            random.manual_seed(1);
            using var model = new UNet();
            using var checkpoints = Checkpoint.Blocks(model, "down1", "up1");
            using var compression = model.CompressActivations(options =>
            {
                options.Default(ActivationCodec.Parse("st:1,storage=paper"));
                options.DisposeIntermediates(disposes);
            });
            model.call(Waves(2, 3, 32, 32)).square().sum().backward();
            return [.. model.parameters().Select(p => p.grad!.data<float>().ToArray())];
        }
        Assert.Equal(Gradients(false), Gradients(true));
    }
}
