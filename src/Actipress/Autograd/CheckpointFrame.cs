using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// One run of a checkpoint's block. In the forward pass the frame keeps a placeholder for each saved tensor, and the block's inputs. When
/// the backward pass first needs a saved tensor, the frame runs the block again and fills all placeholders. It releases each value when the
/// backward pass has received it. The frame lives as long as a placeholder does, so that a retained graph can run the block again.
/// </summary>
sealed class CheckpointFrame : SavedTensorHooks
{
    readonly Lock gate = new();
    readonly nn.Module? block;
    readonly nn.Module[] modules;
    readonly Action<Tensor?[]> again;
    readonly SavedTensorsScope? outer;
    readonly Func<string, bool>? keep;
    readonly (SavedTensor? Kept, bool RequiresGrad)[] inputs;    // a null input has nothing kept
    readonly Surroundings surroundings;
    readonly List<Place> places = [];
    int users = 1;
    KnownParameters? parameters;    // null until the first run is over

    CheckpointFrame(nn.Module? block, nn.Module[] modules, Action<Tensor?[]> again, Tensor?[] inputs, Func<string, bool>? keep)
    {
        (this.block, this.modules, this.again, this.keep) = (block, modules, again, keep);
        outer = SavedTensorsScope.Active;
        this.inputs = [.. inputs.Select(input =>
            input is null ? (null, false) : (outer?.PackInput(input, block) ?? new PassedOn(input), input.requires_grad))];
        surroundings = Surroundings.Here(inputs.OfType<Tensor>().Select(input => input.device));
    }

    /// <summary>
    /// Starts the first run, which ends with <see cref="IDisposable.Dispose"/>; null where nothing is saved because gradients are off.
    /// </summary>
    /// <param name="block">The block; null for a function.</param>
    /// <param name="modules">
    /// The modules whose buffers the second run must not change, and whose parameters must not change before it.
    /// </param>
    /// <param name="again">The second run. Its tensors are disposed.</param>
    /// <param name="inputs">The inputs of both runs. A null input is null both times.</param>
    /// <param name="keep">
    /// Whether the tensors that an operation of this name saves are kept, as they would be without the checkpoint; null to keep none.
    /// </param>
    public static IDisposable? Start(
        nn.Module? block, nn.Module[] modules, Action<Tensor?[]> again, Tensor?[] inputs, Func<string, bool>? keep = null)
    {
        if (!is_grad_enabled()) return null;
        EngineHooks.EnsureInstalled();
        var frame = new CheckpointFrame(block, modules, again, inputs, keep);
        if (SavedTensorsScope.ActiveHooks is SecondRun { HasEverything: true } around)
        {
            frame.Leave();
            throw new Enough(around);
        }
        return new FirstRun(frame);
    }

    /// <summary>
    /// Ends a second run early. It is thrown where a checkpoint inside the block starts after the block itself has saved its last tensor.
    /// Only managed code lies between there and <see cref="RunAgain"/>. PyTorch leaves an operation of libtorch by an exception, which is
    /// impossible here.
    /// </summary>
    sealed class Enough(SecondRun run)
        : Exception("This block's second run has saved all that is needed. A checkpoint's block must let this exception pass.")
    {
        public SecondRun Run => run;
    }

    sealed class FirstRun(CheckpointFrame frame) : IDisposable
    {
        readonly SavedTensorsScope scope = SavedTensorsScope.Enter(frame);

        public void Dispose()
        {
            scope.Dispose();
            try { frame.parameters = KnownParameters.Of(frame.places.Count > 0 ? frame.modules : []); }
            finally
            {
                frame.surroundings.ForgetUnused();
                frame.Leave();
            }
        }
    }

    public override bool WatchesOperations => keep is not null;

    public override SavedTensor Pack(Tensor tensor)
    {
        var keeps = keep is not null && OperationObserver.Running is { Depth: > 0 } running && keep(running.At(0).Operation.Name);
        var kept = keeps ? outer?.PackInside(tensor) ?? new PassedOn(tensor) : null;
        lock (gate)
        {
            var place = new Place(this, new Signature(tensor), kept);
            places.Add(place);
            users++;
            return place;
        }
    }

    public override void Failed(Exception failure, bool whilePacking) => outer?.Record(failure, whilePacking);

    Tensor HandOut(Place place)
    {
        lock (gate)
        {
            if (!place.IsFilled) RunAgain();
            return place.Take();
        }
    }

    void RunAgain()
    {
        using var disposed = NewDisposeScope();
        var second = new SecondRun(this);
        try
        {
            if (parameters?.Difference(modules) is { } changed)
                throw new CheckpointException(
                    $"Running {this} again for the backward pass would not be the same as the first time: {changed}. " +
                    "Step the optimizer after backward. A parameter that the checkpoint's function does not use may change: name the "
                    + "modules alone that the function runs.");
            var inputsAgain = Array.ConvertAll(inputs, InputAgain);
            using var buffers = new KeptBuffers(modules.SelectMany(module => module.buffers()));
            try
            {
                using (surroundings.Again())
                using (enable_grad())
                    SavedTensorsScope.RunApart(second, () => again(inputsAgain));
            }
            catch (Enough enough) when (enough.Run == second) { }
            finally { buffers.Restore(); }
            second.Check();
        }
        catch (Exception failure)
        {
            foreach (var place in places) place.Drop();
            if (failure is ActipressException) throw;
            throw new CheckpointException(
                $"Running {this} again for the backward pass failed. {failure.Message}" +
                (DisposedTensor.Caused(failure)
                    ? " A tensor that the block uses beside its inputs has been disposed since the forward pass, by the program or by the "
                        + "DisposeScope in which it was made: keep it until the backward pass is over."
                    : ""),
                failure);
        }
    }

    static Tensor? InputAgain((SavedTensor? Kept, bool RequiresGrad) input)
    {
        using var kept = input.Kept?.Unpack();
        if (kept is null) return null;
        var x = kept.detach();
        return input.RequiresGrad ? x.requires_grad_(true) : x;
    }

    void Leave()
    {
        lock (gate)
        {
            if (--users > 0) return;
            foreach (var (kept, _) in inputs) kept?.Dispose();
            surroundings.Dispose();
        }
    }

    public override string ToString() => block is null ? "a checkpoint's function" : $"the checkpoint's block {block.GetType().Name}";

    /// <summary>A saved tensor of the block.</summary>
    /// <param name="frame">The block's run.</param>
    /// <param name="signature">The signature of the tensor.</param>
    /// <param name="kept">The kept tensor; null where the second run makes it again.</param>
    sealed class Place(CheckpointFrame frame, Signature signature, SavedTensor? kept) : SavedTensor
    {
        // The tensor that the second run saved here, until it is handed out, and its version when it was saved.
        Tensor? value;
        long version;
        bool disposed;

        public Signature Signature => signature;

        public bool IsFilled => value is not null;

        public void Fill(Tensor tensor)
        {
            Drop();
            if (disposed || kept is not null) return;
            value = tensor.detach();
            value.DetachFromDisposeScope();
            version = LibTorch.Version(tensor);
        }

        /// <summary>Hands the value out; the caller disposes it.</summary>
        /// <exception cref="CheckpointException">
        /// The block has changed the value in place since it was saved, at which plain autograd throws too.
        /// </exception>
        public Tensor Take()
        {
            var now = LibTorch.Version(value!);
            if (now != version)
            {
                Drop();
                throw new CheckpointException(
                    $"A tensor {signature} that the backward pass of {frame} needs was changed in place after it had been saved: found "
                        + $"version {now}, wanted {version}. Replace the in-place operation that follows in the block: plain autograd "
                        + "would refuse it too.");
            }
            var taken = value!;
            value = null;
            return taken;
        }

        public void Drop()
        {
            value?.Dispose();
            value = null;
        }

        public override Tensor Unpack() => kept?.Unpack() ?? frame.HandOut(this);

        public override void Dispose()
        {
            lock (frame.gate)
            {
                if (disposed) return;
                disposed = true;
                Drop();
            }
            kept?.Dispose();
            frame.Leave();
        }
    }

    /// <summary>Receives the tensors that the second run saves: the same as in the first run, in the same order.</summary>
    sealed class SecondRun(CheckpointFrame frame) : SavedTensorHooks
    {
        readonly int backward = LibTorch.CurrentBackward;
        int saved;
        CheckpointException? difference;

        /// <summary>
        /// Whether every tensor of the first run has been saved again, and the run may end here. The run may not end inside a backward pass
        /// of the block's own, where an exception might have to cross the engine.
        /// </summary>
        public bool HasEverything => frame.parameters is not null && saved == frame.places.Count && LibTorch.CurrentBackward == backward;

        public override SavedTensor Pack(Tensor tensor)
        {
            if (saved < frame.places.Count)
            {
                var place = frame.places[saved];
                if (place.Signature.Difference(tensor) is { } what)
                    difference ??= Differs($"tensor {saved + 1} of {frame.places.Count} saved the second time is {what}");
                place.Fill(tensor);
            }
            saved++;
            return new PassedOn(tensor);
        }

        public override void Failed(Exception failure, bool whilePacking) =>
            difference ??= new CheckpointException($"Running {frame} again for the backward pass failed. {failure.Message}", failure);

        public void Check()
        {
            // A block that runs a backward pass of its own needs a saved tensor before its first run is over.
            if (saved < frame.places.Count || (frame.parameters is not null && saved > frame.places.Count))
                difference = Differs($"{saved} tensors were saved the second time, {frame.places.Count} the first");
            if (difference is not null) throw difference;
        }

        CheckpointException Differs(string how) => new(
            $"Running {frame} again for the backward pass was not the same as the first time: {how}. " +
            "A checkpoint's block must do the same both times: look for conditions on changing state, or run this block without a "
            + "checkpoint.");
    }

    /// <summary>The properties by which a saved tensor is recognised in the second run.</summary>
    readonly struct Signature
    {
        readonly long[] shape;
        readonly ScalarType type;
        readonly DeviceType device;
        readonly (nint Storage, long Version)? parameter;

        public Signature(Tensor tensor)
        {
            (shape, type, device) = (tensor.shape, tensor.dtype, tensor.device_type);
            parameter = LibTorch.IsParameterOrView(tensor) ? (StorageReference.AddressOf(tensor), LibTorch.Version(tensor)) : null;
        }

        /// <summary>How <paramref name="tensor"/> differs from the signature; null where it does not.</summary>
        public string? Difference(Tensor tensor)
        {
            if (!tensor.shape.AsSpan().SequenceEqual(shape) || tensor.dtype != type || tensor.device_type != device)
                return $"{Text(tensor.shape, tensor.dtype, tensor.device_type)}, the first time {Text(shape, type, device)}";
            if (parameter is { } first && StorageReference.AddressOf(tensor) == first.Storage && LibTorch.Version(tensor) != first.Version)
                return $"a parameter {Text(shape, type, device)} that has been changed in place since the forward pass (step the optimizer "
                    + "after backward)";
            return null;
        }

        public override string ToString() => Text(shape, type, device);

        static string Text(long[] shape, ScalarType type, DeviceType device) => $"({string.Join(", ", shape)}) {type} on {device}";
    }
}
