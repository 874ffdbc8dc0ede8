using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Backward;

// The trial at start-up: each kernel's gradients beside libtorch's, and the number of references to a gradient that nobody else reads.
static unsafe partial class BackwardKernels
{
    // Tells whether nobody will read a gradient after a kernel, by the number of references to it.
    sealed class Holders
    {
        long ofOwn, seen;

        public bool AreKnown => ofOwn > 0;

        public bool AreOne(Tensor gradient)
        {
            // Several threads run backward passes, so that only the trial may read the field.
            var holders = seen = StorageReference.HoldersOf(OperationObserver.Implementation(gradient));
            return holders <= ofOwn && gradient.is_contiguous()
                && StorageReference.HoldersOf(StorageReference.AddressOf(gradient)) == 1
                && StorageReference.BytesOf(gradient) == gradient.Bytes();
        }

        /// <summary>Learns the number in two trials: one in which a later operation reads the gradient too, and one without such.</summary>
        public void Learn(Action shared, Action own)
        {
            shared();
            var known = seen;
            own();
            if (seen < known) ofOwn = seen;
        }
    }

    // Runs each kernel on a known map, once with the map and once with a placeholder.
    static void SelfCheck()
    {
        using var outer = NewDisposeScope();
        using var normal = inference_mode(false);
        using var tracked = enable_grad();
        Span<float> numbers = stackalloc float[64];
        for (var i = 0; i < numbers.Length; i++) numbers[i] = i * 5 % 7 - 3;
        var (input, weight, scale) = (tensor(numbers.ToArray(), [1, 4, 4, 4]), ones(2, 4, 1, 1), ones(4));
        using var slope = linspace(1, 2, 64).view(4, 4, 4);
        foreach (var leaf in (Tensor[])[input, weight, scale]) leaf.requires_grad = true;
        List<float> ours = [], libtorchs = [];
        foreach (var found in (List<float>[])[libtorchs, ours])
        {
            var trial = new Trial(input, showsMaps: found == libtorchs);
            Step("a convolution", () => nn.functional.conv2d(input, weight));
            Check("a batch norm", ofBatchNorm, () => nn.functional.batch_norm(input, null, null, scale, null, training: true));
            if (HasElementwise)
                foreach (var own in elementwise.Values)
                    Check(own.Function.Name, own.Holders, () => trial.Of(() => own.Function.Call(input)));

            void Check(string name, Holders holders, Func<Tensor> output)
            {
                Action shared = () => Step(name, () =>
                {
                    // An operation that ran earlier reads the gradient later.
                    var before = input.Mul(2);
                    return nn.functional.conv2d(output().Add(before), ones(2, 4, 1, 1));
                });
                holders.Learn(shared, own: () => Step(name, () => output().mul(slope)));
            }

            void Step(string name, Func<Tensor> output)
            {
                var before = trial.Read;
                SavedTensorsScope.RunApart(trial, () =>
                {
                    output().sum().backward();
                    foreach (var leaf in (Tensor[])[input, weight, scale])
                    {
                        if (leaf.grad is not { } gradient) continue;
                        found.AddRange(gradient.data<float>().ToArray());
                        leaf.grad = null;
                    }
                });
                if (found == ours && trial.Read == before)
                    throw LibTorch.Unsupported($"no call of a kernel for {name} in a trial", "one for each placeholder");
            }
        }
        for (var i = 0; i < ours.Count; i++)
            if (!(Math.Abs(ours[i] - libtorchs[i]) <= 1e-3f * (1 + Math.Abs(libtorchs[i]))))
                throw LibTorch.Unsupported($"a gradient of {ours[i]} of a kernel of ours in a trial", $"{libtorchs[i]}, as of libtorch's");
    }

    // Shows placeholders in place of a known input, and of what chosen operations save.
    sealed class Trial(Tensor input, bool showsMaps) : SavedTensorHooks
    {
        bool isChosen;

        public int Read { get; private set; }

        public Tensor Of(Func<Tensor> operation)
        {
            isChosen = true;
            try { return operation(); }
            finally { isChosen = false; }
        }

        public override SavedTensor Pack(Tensor tensor) =>
            !showsMaps && tensor.shape.AsSpan().SequenceEqual(input.shape)
            && (isChosen || StorageReference.AddressOf(tensor) == StorageReference.AddressOf(input))
                ? new InPieces(this, tensor) : new PassedOn(tensor);

        sealed class InPieces : SavedTensor, IMapPieces
        {
            readonly Trial trial;
            readonly Tensor held;
            readonly Placeholder placeholder;

            public InPieces(Trial trial, Tensor tensor)
            {
                (this.trial, held) = (trial, tensor.detach().DetachFromDisposeScope());
                placeholder = new(this, ScalarType.Float32);
            }

            public long[] Sizes => held.shape;

            public double Scale => 1;

            Tensor IMapPieces.Read(MapRange range)
            {
                trial.Read++;
                using var part = range.Of(held);
                return part.clone();
            }

            public void Failed(Exception failure) => throw failure;

            public override Tensor Unpack() => placeholder.Show();

            public override void Dispose()
            {
                placeholder.Dispose();
                held.Dispose();
            }
        }
    }
}
