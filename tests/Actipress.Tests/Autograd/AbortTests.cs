using System.Runtime.InteropServices;
using Actipress.Codecs;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Autograd;

/// <summary>
/// Scenarios that would end the process if an exception left a callback. Each runs in a process of its own, which must live.
/// </summary>
public class AbortTests
{
    public static TheoryData<string> Scenarios =>
        [.. typeof(Scenario).GetMethods().Where(method => method.DeclaringType == typeof(Scenario)).Select(method => method.Name)];

    [Theory, MemberData(nameof(Scenarios))]
    public void The_process_lives(string scenario) => ChildProcess.RunScenario(typeof(Scenario), scenario);

    public class Scenario
    {
        static Tensor Loss(Func<Tensor, object?> pack, Func<object?, Tensor> unpack) => Loss(pack, unpack, out _, out _);

        // The exponential saves its result, and the product saves both factors.
        static Tensor Loss(Func<Tensor, object?> pack, Func<object?, Tensor> unpack, out SavedTensorsScope scope, out Tensor w)
        {
            w = tensor(new[] { 1f, 2f, 3f }, requires_grad: true);
            using (scope = SavedTensors.Hook(pack, unpack)) return (w.exp() * w).sum();
        }

        static float Sum(Func<float, float> of) => of(1) + of(2) + of(3);

        static float[] Each(Func<float, float> of) => [of(1), of(2), of(3)];

        sealed class ThrowsWhenDisposed(Tensor tensor) : IDisposable
        {
            public Tensor Tensor => tensor;
            public void Dispose() => throw new InvalidOperationException("disposed");
        }

        [Fact(Explicit = true)]
        public void Pack_throws()
        {
            using var loss = Loss(
                _ => throw new OutOfMemoryException(), _ => throw new InvalidOperationException("nothing was packed"), out var scope,
                out var w);
            Assert.Equal(Sum(x => MathF.Exp(x) * x), loss.item<float>(), 1e-3);
            Assert.Equal(3, scope.Failures.Count);
            Assert.All(scope.Failures, failure => Assert.IsType<OutOfMemoryException>(failure));
            Assert.Throws<OutOfMemoryException>(scope.ThrowIfFailed);
            Assert.Throws<ExternalException>(() => loss.backward());
            Assert.Null(w.grad);
        }

        [Fact(Explicit = true)]
        public void Unpack_throws()
        {
            for (var i = 0; i < 100; i++)
            {
                using var loss = Loss(x => x, _ => throw new InvalidOperationException("lost"), out var scope, out var w);
                Assert.Contains("lost", Assert.Throws<ExternalException>(() => loss.backward()).Message, StringComparison.Ordinal);
                Assert.Contains(scope.Failures, failure => failure is InvalidOperationException { Message: "lost" });
                Assert.Null(w.grad);
            }
        }

        [Fact(Explicit = true)]
        public void Unpack_throws_on_another_thread()
        {
            using var loss = Loss(x => x, _ => throw new InvalidOperationException("lost"));
            Exception? failure = null;
            var thread = new Thread(() => failure = Record.Exception(() => loss.backward()));
            thread.Start();
            thread.Join();
            Assert.Contains("lost", Assert.IsType<ExternalException>(failure, exactMatch: false).Message, StringComparison.Ordinal);
        }

        // Each saved tensor of these operations is lost in turn. An undefined tensor in its place ended the process in one operation, an
        // empty one went unnoticed in cumprod, det, solve and svdvals, and a stand-in on the meta device alone went unnoticed in gather and
        // rfft.
        static readonly (string Name, Func<Tensor, Tensor> Run)[] operations =
        [
            ("layer norm", x => nn.LayerNorm(8).call(x).square()), ("batch norm", x => nn.BatchNorm1d(6).call(x).square()),
            ("group norm", x => nn.GroupNorm(2, 6).call(x).square()), ("convolution", x => nn.Conv1d(6, 3, 3).call(x).square()),
            ("linear", x => nn.Linear(8, 3).call(x).square()), ("prelu", x => nn.PReLU(6).call(x)),
            ("lstm", x => nn.LSTM(8, 4).call(x).Item1),
            ("attention", x => nn.functional.scaled_dot_product_attention(x, x, x, attn_mask: rand(6, 6))),
            ("multi-head attention", x => nn.MultiheadAttention(8, 2).call(x, x, x, null, true, null).Item1),
            ("embedding", x => nn.Embedding(9, 8).call(randint(0, 9, [4, 6])) * x),
            ("adaptive pool", x => nn.AdaptiveAvgPool1d(3).call(x).square()), ("dropout", x => nn.functional.dropout(x, 0.5)),
            ("nll", x => nn.functional.nll_loss(x.reshape(-1, 8), randint(0, 8, [24]), weight: rand(8))),
            ("bce", x => nn.functional.binary_cross_entropy_with_logits(x, rand(4, 6, 8), rand(8), pos_weights: rand(8))),
            ("mse", x => nn.functional.mse_loss(x, rand(4, 6, 8))), ("smooth l1", x => nn.functional.smooth_l1_loss(x, rand(4, 6, 8))),
            ("kl", x => nn.functional.kl_div(x, rand(4, 6, 8))), ("glu", x => nn.functional.glu(x)), ("cdist", x => cdist(x, x + 1)),
            ("cosine", x => nn.functional.cosine_similarity(x, x + 1, 1)), ("bmm", x => x.bmm(x.transpose(1, 2))),
            ("einsum", x => einsum("abc,abd->cd", x, x)), ("max", x => x.max(1).values), ("amax", x => x.amax([1])),
            ("sort", x => x.sort(1).Values.square()), ("gather", x => x.gather(1, zeros([4, 6, 8], dtype: int64)).exp()),
            ("index_select", x => x.index_select(1, tensor(new long[] { 1, 1 })).square()), ("where", x => where(x > 0, x, x * 2)),
            ("clamp", x => x.clamp(-0.5, 0.5)), ("var", x => x.var(1)), ("std", x => x.std()), ("norm", x => x.norm()),
            ("prod", x => x.prod(1)), ("cumprod", x => x.cumprod(1)), ("logsumexp", x => x.logsumexp(1)), ("pow", x => x.abs().pow(x)),
            ("atan2", x => x.atan2(x + 1)), ("rfft", x => fft.rfft(x).abs()), ("svdvals", x => linalg.svdvals(x)),
            ("det", x => linalg.det(x.narrow(2, 0, 6))), ("solve", x => linalg.solve(x.narrow(2, 0, 6), ones(4, 6, 2))),
            ("cholesky", x => linalg.cholesky(x.bmm(x.transpose(1, 2)) + eye(6))),
        ];

        [Fact(Explicit = true)]
        public void Whichever_saved_tensor_is_lost_backward_throws()
        {
            foreach (var (name, run) in operations)
                for (int lost = 0, saved = 1; lost < saved; lost++)
                {
                    using var everything = NewDisposeScope();
                    var (packed, asked, x) = (0, false, randn([4, 6, 8], requires_grad: true));
                    Tensor loss;
                    using (SavedTensors.Hook(y => packed++ == lost ? "lost" : y, kept =>
                    {
                        if (kept is Tensor tensor) return tensor;
                        asked = true;
                        throw new InvalidDataException("lost");
                    }))
                        loss = run(x).sum();
                    saved = packed;
                    try { loss.backward(); }
                    catch (ExternalException) { continue; }
                    Assert.False(asked, $"{name}: saved tensor {lost} of {saved} was lost, and nobody noticed");
                }
        }

        [Fact(Explicit = true)]
        public void Dispose_throws()
        {
            using var loss = Loss(
                x => new ThrowsWhenDisposed(x.alias().DetachFromDisposeScope()), kept => ((ThrowsWhenDisposed)kept!).Tensor.alias(),
                out var scope, out var w);
            Assert.Empty(scope.Failures);
            loss.backward();
            Assert.Equal(Each(x => MathF.Exp(x) * (1 + x)), w.grad!.data<float>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-4);
            Assert.Equal(["disposed", "disposed", "disposed"], scope.Failures.Select(failure => failure.Message));
        }

        [Fact(Explicit = true)]
        public void Unpack_gives_a_disposed_tensor()
        {
            using var loss = Loss(x => x, kept =>
            {
                var gone = ((Tensor)kept!).alias();
                gone.Dispose();
                return gone;
            }, out var scope, out var w);
            Assert.ThrowsAny<Exception>(() => loss.backward());
            Assert.NotEmpty(scope.Failures);
            Assert.Null(w.grad);
        }

        [Fact(Explicit = true)]
        public void A_forgotten_graph_is_collected()
        {
            var released = 0;
            Forget();
            for (var i = 0; i < 20 && released == 0; i++) AllocatorMeter.Settle();
            Assert.Equal(3, released);

            void Forget() => _ = Loss(x => new Counts(() => released++), _ => throw new InvalidOperationException());
        }

        sealed class Counts(Action released) : IDisposable
        {
            public void Dispose() => released();
        }

        static Tensor MadeUnderInference(Func<Tensor> make)
        {
            using (inference_mode()) return make();
        }

        [Fact(Explicit = true)]
        public void A_checkpoint_takes_a_tensor_made_under_inference_mode()
        {
            var (x, w) = (MadeUnderInference(() => ones(3)), ones(3, requires_grad: true));
            Checkpoint.Run(v => (v + w).exp(), x).sum().backward();
            Checkpoint.Run(v => Checkpoint.Run(u => (u + w).exp(), v), x).sum().backward();
            using (SavedTensors.Offload()) Checkpoint.Run(v => (v + w).exp(), x).sum().backward();
            using (SavedTensors.Compress(ActivationCodec.Half)) Checkpoint.Run(v => (v + w).exp(), x).sum().backward();
            using (SavedTensors.Hook(y => y.clone(), y => ((Tensor)y!).clone())) Checkpoint.Run(v => (v + w).exp(), x).sum().backward();
            Assert.Equal(5 * MathF.Exp(2), w.grad![0].item<float>(), 3);
        }

        [Fact(Explicit = true)]
        public void A_tensor_made_under_inference_mode_cannot_be_saved()
        {
            var (x, w) = (MadeUnderInference(() => ones(3)), ones(3, requires_grad: true));
            foreach (var run in (Func<Tensor>[])[() => x * w, () => Checkpoint.Run(v => v * w, x)])
                Assert.Contains(
                    "Inference tensors cannot be saved for backward", Assert.ThrowsAny<Exception>(run).Message, StringComparison.Ordinal);
        }

        [Fact(Explicit = true)]
        public void Buffers_and_frozen_weights_may_be_made_under_inference_mode()
        {
            var block = nn.Sequential(nn.Tanh(), new AddsBuffer(MadeUnderInference(() => ones(3))));
            var x = ones(3, requires_grad: true);
            Checkpoint.Run(block, x).sum().backward();
            Assert.NotEqual(0, x.grad![0].item<float>());
        }

        sealed class AddsBuffer : nn.Module<Tensor, Tensor>
        {
            readonly Tensor offset;
            public AddsBuffer(Tensor offset) : base(nameof(AddsBuffer))
            {
                this.offset = offset;
                register_buffer(nameof(offset), offset);
            }
            public override Tensor forward(Tensor x) => x + offset;
        }

        [Fact(Explicit = true)]
        public void The_first_use_may_be_anywhere()
        {
            using (inference_mode())
            using (no_grad())
                SavedTensors.SelfCheck();
            using var forbidden = SavedTensors.Forbid("nothing");
            SavedTensors.SelfCheck();
        }

        [Fact(Explicit = true)]
        public void The_first_use_may_be_where_hooks_are_forbidden()
        {
            using var forbidden = SavedTensors.Forbid("why");
            Assert.Equal("why", Assert.Throws<InvalidOperationException>(() => SavedTensors.Offload()).Message);
            forbidden.Dispose();
            SavedTensors.Offload().Dispose();
        }

        [Fact(Explicit = true)]
        public void Grad_throws_where_torchs_own_ends_the_process()
        {
            var (w, other) = (tensor(new[] { 1f, 2f }, requires_grad: true), ones(3, requires_grad: true));
            void Refused(string says, Func<Tensor?[]> grad) =>
                Assert.Contains(says, Assert.Throws<ExternalException>(grad).Message, StringComparison.Ordinal);
            var loss = w.square().sum();
            Refused("appears to not have been used in the graph", () => SavedTensors.Grad([loss], [w, other], retainGraph: true));
            Refused("does not require grad", () => SavedTensors.Grad([loss], [ones(3)], retainGraph: true));
            Refused("does not require grad", () => SavedTensors.Grad([ones(1)], [w]));
            Refused("shape", () => SavedTensors.Grad([w.square()], [w], [ones(3)]));
            SavedTensors.Grad([loss], [w]);
            Refused("second time", () => SavedTensors.Grad([loss], [w]));
            using (SavedTensors.Hook(x => x, _ => throw new InvalidDataException("lost"))) loss = w.square().sum();
            Assert.Equal("lost", Assert.Throws<InvalidDataException>(() => SavedTensors.Grad([loss], [w])).Message);
            Assert.Throws<CheckpointException>(() => SavedTensors.Grad([Checkpoint.Run(x => x.exp().add_(1), w).sum()], [w]));
            Assert.Equal([2f, 4f], SavedTensors.Grad([w.square().sum()], [w])[0]!.data<float>().ToArray());
        }

        [Fact(Explicit = true)]
        public void A_checkpoint_inside_inference_mode_runs_plainly()
        {
            var x = ones(3, requires_grad: true);
            using (inference_mode())
            {
                var y = Checkpoint.Run(v => v.exp() * v.mul(2), x);
                Assert.False(y.requires_grad);
            }
        }

        [Fact(Explicit = true)]
        public void A_timeline_runs_until_the_process_ends()
        {
            var model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3));
            var compression = model.CompressActivations(options => options.Budget(1L << 40));
            var timeline = compression.StartTimeline();
            model.call(randn(8, 1, 64, 64)).sum().backward();
            GC.Collect();
            compression.Dispose();
            Assert.NotEmpty(timeline.AliveAtPeak);
            model.CompressActivations(ActivationCodec.Dct(10)).StartTimeline();
            _ = model.call(randn(8, 1, 64, 64));
        }

        [Fact(Explicit = true)]
        public void A_budget_below_the_floor_is_refused_again_and_again()
        {
            using var model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3));
            using var compression = model.CompressActivations(options => options.Budget(1));
            using var x = randn(8, 1, 64, 64);
            model.call(x).sum().backward();
            for (var i = 0; i < 100; i++) Assert.Throws<BudgetException>(() => model.call(x));
        }

        [Fact(Explicit = true)]
        public void A_damaged_map_names_its_layer()
        {
            using var everything = NewDisposeScope();
            using var model = nn.Sequential(nn.Conv2d(1, 4, 3, padding: 1), nn.Tanh(), nn.Conv2d(4, 4, 3, padding: 1), nn.Tanh());
            using var compression = model.CompressActivations(options => options.Default(ActivationCodec.Parse("st:10,index=byte"))
                .Operation("aten::tanh", SavedNeed.Smooth));
            Assert.Null(Failure(0));
            Assert.Contains("layer 1 (Tanh)", Failure(1)!.Message, StringComparison.Ordinal);
            Assert.Contains("layer 3 (Tanh)", Failure(2)!.Message, StringComparison.Ordinal);
            Assert.Null(Failure(0));

            Exception? Failure(int damaged)
            {
                using var scope = NewDisposeScope();
                using var timeline = compression.StartTimeline();
                Tensor loss;
                using (var y = model.call(randn(1, 1, 40, 40))) loss = y.sum();
                var packed = timeline.Maps.Select(span => ((SavedMap)span.Map).Values?.Held).OfType<PackedMap>().ToArray();
                Assert.Equal(2, packed.Length);
                // section 0 has the counts of positions, and the map has fewer positions than these counts
                if (damaged > 0) ((Sections)packed[damaged - 1].Stored).Encoded[0].fill_(7);
                var failure = Record.Exception(() => compression.Backward(loss));
                if (failure is not null) Assert.IsType<InvalidDataException>(Assert.IsType<CompressionException>(failure).InnerException);
                return failure;
            }
        }
    }
}
