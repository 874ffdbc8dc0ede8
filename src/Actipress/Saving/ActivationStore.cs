using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Backward;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Forward;
using Actipress.Gpu;
using Actipress.Maps;

namespace Actipress.Saving;

/// <summary>
/// Holds the tensors that autograd saves of a model's forward pass. Each storage is held once, in the form that the policy decides, until
/// the last operation that needs it is done.
/// </summary>
/// <remarks>
/// The store knows when a step, a forward pass and a backward pass begin, and lets one thread in at a time. Its parts do the work:
/// <see cref="HeldMaps"/>, <see cref="MapPacking"/>, <see cref="DeferredMaps"/>, <see cref="DecodedMap"/>, <see cref="LearntSources"/>,
/// <see cref="AliveElsewhere"/>, <see cref="Notices"/>, <see cref="Timelines"/>.
/// </remarks>
sealed class ActivationStore : SavedTensorHooks
{
    readonly Lock gate = new();
    readonly SavingPolicy policy;
    readonly ModelRun? run;
    readonly ThreadLocal<ThreadPass> passes = new(() => new ThreadPass());
    readonly Ledger ledger = new();
    readonly Timelines timelines = new();
    readonly Lineage lineage = new();
    readonly LearntSources sources = new();
    readonly AliveElsewhere aliveElsewhere = new();
    readonly DecodedMap decoded = new();
    readonly List<Exception> failures = [];
    readonly HeldMaps held;
    readonly MapPacking packing;
    readonly DeferredMaps deferred;
    readonly Notices notices;
    bool unpacking;
    Layer? unpackedLast;

    /// <param name="policy">The policy that decides how each saved tensor is held.</param>
    /// <param name="run">The model whose maps are held; null to hold every saved tensor.</param>
    public ActivationStore(SavingPolicy policy, ModelRun? run)
    {
        (this.policy, this.run) = (policy, run);
        held = new(ledger);
        packing = new(policy, ledger, lineage, sources, new(policy, held, lineage, MeetPart, AnswerPart, Release), Release);
        (deferred, notices) = (new(Settle), new(policy, ledger));
    }

    /// <inheritdoc cref="MapPacking.Budget"/>
    public MemoryBudget? Budget { get => packing.Budget; init => packing.Budget = value; }

    /// <inheritdoc cref="MapPacking.Fidelity"/>
    public KeptFidelity? Fidelity { get => packing.Fidelity; init => packing.Fidelity = value; }

    /// <inheritdoc cref="MapPacking.Derives"/>
    public Func<ActivationCodec, bool>? Derives { get => packing.Derives; init => packing.Derives = value; }

    /// <inheritdoc cref="MapPacking.OffloadsToHost"/>
    public bool OffloadsToHost { get => packing.OffloadsToHost; init => packing.OffloadsToHost = value; }

    /// <inheritdoc cref="MapPacking.GpuOf"/>
    public Func<torch.Device, CudaDevice?> GpuOf { get => packing.GpuOf; init => packing.GpuOf = value; }

    /// <inheritdoc cref="Notices.Noted"/>
    public Action<string>? Noted { get => notices.Noted; set => notices.Noted = value; }

    /// <summary>
    /// Whether a step shows which maps others follow from. This is off under a budget or a fidelity, which choose a codec for each map.
    /// </summary>
    public bool LearnsSources => Derives is not null && Budget is null && Fidelity is null;

    /// <summary>
    /// Whether a map that something else keeps alive is returned as it is. Tests that judge a codec switch this off, so that tensors which
    /// their code does not dispose have no effect.
    /// </summary>
    public bool HandsOutOriginals { get; init; } = true;

    /// <summary>Whether Actipress's backward kernels read large maps in pieces, where such kernels exist.</summary>
    public bool ReadsInPieces { get; init => field = value && BackwardKernels.Refusal is null; } = BackwardKernels.Refusal is null;

    public override double? ConvolutionPieces => ReadsInPieces && Enabled && dividesConvolutions ? Scale : null;

    // The trial of the kernel runs in a scope of its own, and so before this store has one.
    readonly bool dividesConvolutions = ForwardKernel.Refusal is null;

    /// <summary>The size of this step relative to the step that it stands for. Pieces are smaller by the same factor.</summary>
    public double Scale { get; set; } = 1;

    /// <summary>While it is off, every tensor is saved as it is, and nothing is counted.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>The model's run on the thread that trains.</summary>
    public Activity Activity => new(Backward: unpacking, $"{(unpacking ? unpackedLast : run?.Current)}");

    /// <summary>Bytes held at this moment.</summary>
    public long LiveBytes
    {
        get
        {
            lock (gate)
            {
                deferred.SettleAll();
                return ledger.LiveBytes;
            }
        }
    }

    /// <summary>The ledger of the last step, by layer.</summary>
    public CompressionReport Report()
    {
        lock (gate)
        {
            deferred.SettleAll();
            return new CompressionReport
            {
                LiveBytes = ledger.LiveBytes,
                Notes = [.. failures.Select(failure => failure.Message), .. notices.Notes().Select(note => note.Text)],
                Layers = [.. ledger.Lines()],
            };
        }
    }

    /// <summary>The failures of the current step.</summary>
    public IReadOnlyList<Exception> Failures
    {
        get { lock (gate) return [.. failures]; }
    }

    public override void Failed(Exception failure, bool whilePacking)
    {
        lock (gate) failures.Add(failure);
    }

    public void ForgetFailures()
    {
        lock (gate) failures.Clear();
    }

    public void Add(MemoryTimeline timeline)
    {
        lock (gate) timelines.Add(timeline);
    }

    public void Remove(MemoryTimeline timeline)
    {
        lock (gate) timelines.Remove(timeline);
    }

    public void EndTimelines() => timelines.End();

    /// <inheritdoc cref="LearntSources.Save"/>
    public void SaveSources(BinaryWriter writer)
    {
        lock (gate) sources.Save(writer);
    }

    /// <inheritdoc cref="LearntSources.Load"/>
    public void LoadSources(BinaryReader reader)
    {
        lock (gate) sources.Load(reader);
    }

    /// <summary>Called when the model is about to run. A step begins if no map is held.</summary>
    /// <exception cref="BudgetException">The budget is below what a step can take.</exception>
    public void BeginStep()
    {
        lock (gate)
        {
            var pass = passes.Value!;
            pass.Begun = pass.InBackward ? pass.Number + 1 : pass.Number;
            // A finalizer that releases a held map would wait for this thread, and the budget waits for finalizers. So this runs only while
            // no map is held.
            if (!Enabled || !held.IsEmpty) return;
            pass.CountAnew();
            Budget?.Begin();
        }
    }

    /// <summary>
    /// Called when the model has run. Maps that are still being measured are packed, and the maps from which others follow are learnt.
    /// </summary>
    public void EndForward()
    {
        lock (gate)
        {
            deferred.SettleAll();
            if (LearnsSources) sources.Learn(held.Of(passes.Value!));
        }
    }

    /// <summary>Called when no step follows.</summary>
    public void End()
    {
        lock (gate) lineage.Clear();
    }

    public override bool WatchesOperations => true;

    public override void Ended(in Frame frame, ReadOnlySpan<nint> results)
    {
        if (!Enabled || OperationObserver.Running is not { } operations) return;
        lock (gate)
        {
            if (frame.Operation.IsBatchNorm) KeepMeans(results);
            if (Derives is null) return;
            lineage.Add(frame, operations.ListOf(frame), results, tensor => held.Find(tensor, Geometry.OfMap(tensor)));
        }
    }

    // The means of the batch are the second result, which is empty where the batch norm used other statistics.
    void KeepMeans(ReadOnlySpan<nint> results)
    {
        var pass = passes.Value!;
        var input = pass.BatchNormInput;
        pass.BatchNormInput = null;
        if (input is null || results.Length < 2 || results[1] == 0 || StorageReference.AddressOf(results[1]) == 0) return;
        using var means = LibTorch.OfImplementation(results[1]);
        if (means.NumberOfElements > 0) input.KeepMeans(means);
    }

    public override SavedTensor Pack(Tensor tensor)
    {
        using var noGradients = torch.no_grad();
        lock (gate)
        {
            Begin();
            if (!Enabled || LibTorch.IsLazyView(tensor)) return new PassedOn(tensor);
            if (run?.OfParameter(tensor) is { } owner) return new PassedOn(tensor, $"{owner}");
            if (LibTorch.IsParameterOrView(tensor))
            {
                run?.LeavesModel();
                if (run is not null) Newcomers.Follow(tensor, seenBy: this);
                return new PassedOn(tensor);
            }
            var by = SavedBy.Of(tensor, OperationObserver.Running, policy.Line);
            var layer = run is null ? Layer.Unknown : run.LayerOf(by.Operation);
            if (layer is null) return new PassedOn(tensor);
            return Pack(tensor, layer, OperationObserver.Refusal is null ? by : by with { Need = Need.Of(layer), IsKnown = true });
        }
    }

    public override SavedTensor PackInput(Tensor tensor, torch.nn.Module? block)
    {
        using var noGradients = torch.no_grad();
        lock (gate)
        {
            Begin();
            if (!Enabled || LibTorch.IsLazyView(tensor)) return new PassedOn(tensor);
            var layer = (block is null ? null : run?.Layers.Of(block)) ?? run?.Current ?? Layer.Unknown;
            return Pack(tensor, layer, new(Operation.Called("checkpoint"), Need.Smooth, IsKnown: true, IsArgument: true));
        }
    }

    // The first tensor that a thread saves after a backward pass begins the thread's next forward pass.
    void Begin()
    {
        decoded.Drop();
        unpacking = false;
        var pass = passes.Value!;
        if (pass.InBackward)
        {
            pass.Next();
            notices.Begin();
            lineage.Clear();
            run?.Layers.LearnParameters();
        }
        run?.Begin(pass.Number);
        if (pass.Begun < pass.Number)
        {
            // Under forward no exception can reach the caller from here, so a refusal of the budget is recorded.
            try { BeginStep(); }
            catch (BudgetException refused) { failures.Add(refused); }
        }
        deferred.SettleMeasured();
    }

    SavedTensor Pack(Tensor tensor, Layer layer, SavedBy by)
    {
        try
        {
            var exactly = by with { Need = Need.Exact };
            return policy.Decide(tensor, layer, by) switch
            {
                Treatment.NotOurs => new PassedOn(tensor),
                Treatment.LeftAlone left => Save(tensor, layer, exactly, (_, whole, _) => new(new HeldRaw(whole), left.Why)),
                Treatment.Moved moved =>
                    Save(tensor, layer, exactly, (_, whole, _) => new(new HeldElsewhere(whole, moved.Device), $"on {moved.Device}")),
                Treatment.Bits => Save(tensor, layer, exactly, (_, whole, _) => new(ExactBits.Pack(whole), "bits")),
                Treatment.Indices => Save(tensor, layer, exactly, (_, whole, _) => PackIndices(whole)),
                Treatment.BitsIfTwoValued => PackMask(tensor, layer, exactly),
                Treatment.Map map =>
                    Save(
                        tensor, layer, by with { Need = map.Need }, (held, values, zeros) => packing.Pack(held, values, zeros, layer, map)),
                var other => throw new InvalidOperationException($"No way to treat a saved tensor as {other}."),
            };
        }
        catch (Exception failure)
        {
            throw NotCompressed(layer, failure);
        }
    }

    static CompressionException NotCompressed(Layer layer, Exception failure) =>
        new($"Compressing a map of layer {layer} failed; it was kept as it is. {failure.Message}", failure);

    static Holding PackIndices(Tensor indices) =>
        ExactIndices.Pack(indices) is { } packed ? new(packed, "indices") : new(new HeldRaw(indices), "raw: smaller than packed");

    // A detached map is no mask. It may be held already, in a form that does not answer for its values.
    SavedTensor PackMask(Tensor tensor, Layer layer, SavedBy by)
    {
        var geometry = Geometry.OfMap(tensor);
        if (held.Find(tensor, geometry) is not null)
            return Save(tensor, layer, by, (_, whole, _) =>
                HeldMask.Pack(whole) is { } bits ? new(bits, "bits") : new(new HeldRaw(whole), "as it is: detached"));
        using var once = geometry.View(tensor);
        return HeldMask.Pack(once) is { } mask ? Save(tensor, layer, by, (_, _, _) => new(mask, "bits")) : new PassedOn(tensor);
    }

    SavedUse Save(Tensor tensor, Layer layer, SavedBy by, Func<SavedMap, Tensor, Zeros, Holding> packValues)
    {
        var account = ledger.Of(layer.Name, layer.Type);
        var geometry = Geometry.OfMap(tensor);
        var map = held.Find(tensor, geometry);
        if (map is null) map = Meet(tensor, layer, by, geometry, account);
        else if (map.IsSaved) account.SharedMaps++;
        else HeldMaps.CountSaved(map);
        var use = new SavedUse(this, map, by, tensor);
        map.IsSignNeeded |= by.Need == Need.Sign;
        try
        {
            // Its other arguments and its statistics are vectors.
            if (by.Operation.IsBatchNorm && geometry.Sizes.Length > 1) passes.Value!.BatchNormInput = use;
            if (map.Answers(by.Need)) return use;
            if (by.Need.Fineness < Fineness.Exact && aliveElsewhere.Contains(map))
                Answer(tensor, map, Need.Exact, (_, whole, _) => new(new HeldRaw(whole), AliveElsewhere.How));
            else Answer(tensor, map, by.Need, packValues);
            timelines.Holds(map, layer);
            return use;
        }
        catch
        {
            use.Dispose();
            throw;
        }
    }

    // Holds a map that no operation saved before.
    SavedMap Meet(Tensor tensor, Layer layer, SavedBy by, Geometry geometry, Ledger.Account account)
    {
        var pass = passes.Value!;
        var number = pass.Count(layer, by.Operation);
        var map = new SavedMap(tensor, geometry, account) { Pass = pass, Identity = (layer, by.Operation, number) };
        held.Add(map);
        HeldMaps.CountSaved(map);
        timelines.Saved(map);
        if (by.Operation.ShortName == Operations.RecurrentLayer && tensor.dtype == torch.ScalarType.Byte)
            account.WorkspaceBytes += map.SavedBytes;
        else if (!by.IsKnown && run is not null) notices.MeetUnknown(by.Operation, map.SavedBytes);
        return map;
    }

    // Holds a part of a concatenation that no operation saved by itself.
    SavedMap MeetPart(MapOrigin part, SavedMap concatenation)
    {
        var (pass, layer, operation) = (concatenation.Pass, concatenation.Layer, Operation.Called("aten::cat"));
        var map = new SavedMap(part, concatenation.Account) { Pass = pass, Identity = (layer, operation, pass.Count(layer, operation)) };
        held.Add(map);
        timelines.Saved(map);
        return map;
    }

    void AnswerPart(SavedMap part, Tensor values, Need need, Func<SavedMap, Tensor, Zeros, Holding> pack)
    {
        if (part.Answers(need)) return;
        var original = part.Original();
        using var own = original ?? values.contiguous();
        using var shaped = own.view(part.Geometry.Sizes);
        if (original is not null && aliveElsewhere.Contains(part))
            Hold(part, shaped, Need.Exact, (_, whole, _) => new(new HeldRaw(whole), AliveElsewhere.How));
        else Hold(part, shaped, need, pack);
        timelines.Holds(part, part.Layer);
    }

    // The held form may be too coarse for another operation that saves the same map.
    void Answer(Tensor tensor, SavedMap map, Need need, Func<SavedMap, Tensor, Zeros, Holding> packValues)
    {
        // A map is packed in the layout in which it was first seen, whichever operation saves it.
        using var whole = map.Geometry.View(tensor);
        Hold(map, whole, need, packValues);
    }

    void Hold(SavedMap map, Tensor whole, Need need, Func<SavedMap, Tensor, Zeros, Holding> packValues)
    {
        if (need is Need.Inside inside)
        {
            // Layers of other bounds still need their own bits.
            held.HoldBits(map, packing.PackInside(map, whole, inside, map.Inside?.Held as HeldInside));
            return;
        }
        held.HoldValues(map, packValues(map, whole, map.ZerosFor(need)));
        // The form before may have told the signs too.
        if (map.IsSignNeeded && !map.Answers(Need.Sign))
            held.HoldBits(map, HeldBits.Pack(whole, (Need.Inside)Need.Sign, map.Inside?.Held as HeldInside));
        if (map.Values!.Held is DeferredMap waiting) deferred.Add(map, map.Layer, waiting);
    }

    // Gives a map that was being measured its lasting form.
    void Settle(SavedMap map, Layer layer, DeferredMap waiting)
    {
        var values = packing.Settle(waiting, layer, out var failure);
        if (failure is not null) failures.Add(NotCompressed(layer, failure));
        held.HoldValues(map, values);
    }

    /// <summary>Called when an operation no longer needs a map.</summary>
    public void Release(SavedMap map)
    {
        lock (gate)
        {
            if (--map.Users > 0) return;
            if (decoded.Is(map)) decoded.Drop();
            held.Remove(map);
            timelines.Released(map);
            if (ledger.LiveBytes == 0) Budget?.End(ledger.PeakBytes);
        }
    }

    /// <summary>Returns the tensor that an operation saved; the caller disposes it.</summary>
    public Tensor Unpack(SavedUse use)
    {
        // A second derivative would save the placeholder again.
        var mayStandIn = ReadsInPieces && !torch.is_grad_enabled();
        using var noGradients = torch.no_grad();
        lock (gate)
        {
            deferred.SettleAll();
            unpacking = true;
            if (!use.Map.Pass.InBackward) BeginBackward(use.Map.Pass);
            unpackedLast = use.Map.Layer;
            try
            {
                if (use.Need is Need.ShapeOnly)
                {
                    using var zero = torch.zeros(1, use.Type, use.Device);
                    return zero.expand(use.Geometry.Sizes);
                }
                if (mayStandIn && use.IsReadInPieces && !decoded.Is(use.Map))
                {
                    decoded.Drop();
                    return use.StandIn();
                }
                return Rebuild(use);
            }
            catch (Exception failure)
            {
                throw NotRebuilt(use.Map, failure);
            }
        }
    }

    Tensor Rebuild(SavedUse use)
    {
        var map = use.Map;
        var rebuilt = use.ReadsBits ? map.BitsFor(use.Need)!.Unpack() : decoded.Of(map);
        timelines.Rebuilt(map, LibTorch.Data(rebuilt));
        var shown = map.Geometry.Show(rebuilt, use.Geometry, withGaps: use.MayReadLayout);
        if (use.Means is { } means && map.Values is { Fineness: < Fineness.Exact } && !use.ReadsBits)
            return BatchNormInput.ForBackward(shown, means, mayChange: map is { Users: 1, HasPackedValues: true });
        var isConvolutions = use.By.Operation.ShortName == "convolution" && map is { Users: 1, IsHeldRaw: false };
        return isConvolutions ? ConvolutionInput.ForBackward(shown) : shown;
    }

    /// <summary>Returns a range of the map that an operation saved, (maps, rows, elements of a row); the caller disposes it.</summary>
    public Tensor Rebuild(SavedUse use, MapRange range)
    {
        lock (gate)
            try { return use.ReadsBits ? use.Map.BitsFor(use.Need)!.Unpack(range) : use.Map.Rebuild(range); }
            catch (Exception failure)
            {
                throw NotRebuilt(use.Map, failure);
            }
    }

    static CompressionException NotRebuilt(SavedMap map, Exception failure) =>
        new($"Rebuilding a map of layer {map.Layer} failed. {failure.Message}", failure);

    void BeginBackward(ThreadPass pass)
    {
        pass.InBackward = true;
        lineage.Clear();
        if (LearnsSources) sources.Learn(held.Of(pass));
        if (HandsOutOriginals) aliveElsewhere.Look(held, pass);
        if (run is not null) notices.Tell(failures.Add);
    }
}
