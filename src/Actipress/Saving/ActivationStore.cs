using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Gpu;
using Actipress.Grid.Gpu;
using Actipress.Maps;

namespace Actipress.Saving;

/// <summary>
/// Holds what autograd saves of a model's forward pass: each storage once, in the form that the policy decides, until the last
/// operation that needs it is done.
/// </summary>
/// <param name="policy">Decides.</param>
/// <param name="run">The model whose maps are held; null for whatever is saved.</param>
sealed class ActivationStore(SavingPolicy policy, ModelRun? run) : SavedTensorHooks
{
    // Maps of a GPU that are held raw while it measures them: so far the host may be ahead of it.
    const int MostDeferred = 2;

    const string AliveElsewhere = "as it is: alive elsewhere";

    readonly Lock gate = new();
    readonly Dictionary<nint, List<SavedMap>> byStorage = [];
    readonly Ledger ledger = new();
    readonly List<Exception> failures = [];
    readonly Queue<(SavedMap Map, Layer Layer, DeferredMap Deferred)> deferred = new();
    (SavedMap Map, Tensor Values)? decoded;
    volatile MemoryTimeline[] timelines = [];

    // Maps that something else kept alive until the last backward pass: packing them would only add to what is held.
    readonly HashSet<(Layer Layer, Operation Operation, int Number)> aliveElsewhere = [];

    // What the step's maps and results follow from; and the maps that others followed from, with the strictest need of these, or null where
    // these were not derived although the map was held more finely.
    readonly Lineage lineage = new();
    readonly SortedDictionary<string, Need?> sources = new(StringComparer.Ordinal);

    // Bytes of the step's maps by operations that are not in the table.
    readonly Dictionary<string, long> unknown = [];

    // What was told by the event, and the notes that hold for every step.
    readonly HashSet<string> told = [];
    IReadOnlyList<Note>? lasting;

    readonly ThreadLocal<ThreadPass> passes = new(() => new ThreadPass());
    bool unpacking;
    Layer? unpackedLast;

    /// <summary>Decides on codecs where no rule does; null for none.</summary>
    public MemoryBudget? Budget { get; init; }

    /// <summary>Likewise; null for none.</summary>
    public KeptFidelity? Fidelity { get; init; }

    /// <summary>Told of each thing that a user should know, once, when the first backward pass begins that shows it.</summary>
    public Action<string>? Noted { get; set; }

    /// <summary>Of which codecs' maps those that can be derived of others are not held themselves; null for none.</summary>
    public Func<ActivationCodec, bool>? Derives { get; init; }

    /// <summary>Whether a step shows which maps others follow from. A budget and a fidelity choose a codec for each map.</summary>
    public bool LearnsSources => Derives is not null && Budget is null && Fidelity is null;

    /// <summary>Whether packed maps leave a GPU for the host.</summary>
    public bool OffloadsToHost { get; init; }

    /// <summary>The kernels of a device; null where there are none.</summary>
    public Func<torch.Device, CudaDevice?> GpuOf { get; init; } = GpuGrid.DeviceOf;

    /// <summary>Whether what something else keeps alive is handed out as it is. Off in tests that judge a codec, whatever their code forgets to dispose.</summary>
    public bool HandsOutOriginals { get; init; } = true;

    /// <summary>Whether our own backward kernels read large maps in pieces, where there are such kernels.</summary>
    public bool ReadsInPieces { get; init => field = value && BackwardKernels.Refusal is null; } = BackwardKernels.Refusal is null;

    /// <summary>The size of this step by that of the step for which it stands: pieces are as much smaller.</summary>
    public double Scale { get; set; } = 1;

    /// <summary>Off: everything passes as it is, and nothing is counted.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>What runs now on the thread that trains.</summary>
    public Activity Activity => unpacking ? new(Backward: true, unpackedLast) : new(Backward: false, run?.Current);

    /// <summary>Bytes held at this moment.</summary>
    public long LiveBytes
    {
        get
        {
            lock (gate)
            {
                SettleAll();
                return ledger.LiveBytes;
            }
        }
    }

    /// <summary>The last step, by layer.</summary>
    public CompressionReport Report()
    {
        lock (gate)
        {
            SettleAll();
            return new CompressionReport
            {
                LiveBytes = ledger.LiveBytes,
                Notes = [.. failures.Select(failure => failure.Message), .. Notes().Select(note => note.Text)],
                Layers =
                [
                    .. ledger.Accounts.Where(account => account.Maps + account.SharedMaps > 0).Select(account => new LayerReport(
                        account.Layer.Name, account.Layer.Type, account.Maps, account.SharedMaps, account.SavedBytes, account.KeptBytes,
                        string.Join(", ", account.Ways.Where(way => way.Value > 0 || account.KeptBytes == 0).OrderByDescending(way => way.Value).Select(way => way.Key)),
                        account.AliveElsewhereBytes, account.NotFinite)
                    {
                        RelativeError = account.RelativeError,
                        AliveElsewhereBy = string.Join(", ", account.AliveElsewhereBy.Order(StringComparer.Ordinal)),
                    }),
                ],
            };
        }
    }

    /// <summary>What went wrong in the current step.</summary>
    public IReadOnlyList<Exception> Failures
    {
        get { lock (gate) return [.. failures]; }
    }

    public override void Failed(Exception failure, bool whilePacking)
    {
        lock (gate) failures.Add(failure);
    }

    public void Add(MemoryTimeline timeline)
    {
        lock (gate) timelines = [.. timelines, timeline];
    }

    public void Remove(MemoryTimeline timeline)
    {
        lock (gate) timelines = [.. timelines.Where(other => other != timeline)];
    }

    public void EndTimelines()
    {
        foreach (var timeline in timelines) timeline.Dispose();
    }

    /// <summary>The model is about to run: where nothing is held, a step begins.</summary>
    /// <exception cref="BudgetException">The budget is below what a step can take.</exception>
    public void BeginStep()
    {
        lock (gate)
        {
            var pass = passes.Value!;
            pass.Begun = pass.InBackward ? pass.Number + 1 : pass.Number;
            // Where a map is held, a finalizer that lets go of it would wait for this thread, and the budget waits for finalizers.
            if (!Enabled || byStorage.Count > 0) return;
            pass.CountAnew();
            Budget?.Begin();
        }
    }

    /// <summary>The model has run: what is still being measured is packed, and which maps others follow from is known.</summary>
    public void EndForward()
    {
        lock (gate)
        {
            SettleAll();
            if (LearnsSources) LearnSources(passes.Value!);
        }
    }

    public void ForgetFailures()
    {
        lock (gate) failures.Clear();
    }

    public override bool WatchesOperations => true;

    public override SavedTensor Pack(Tensor tensor)
    {
        using var noGradients = torch.no_grad();
        lock (gate)
        {
            Begin();
            if (!Enabled || LibTorch.IsLazyView(tensor)) return new PassedOn(tensor);
            if (run?.OfParameter(tensor) is { } owner) return new PassedOn(tensor, owner);
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

    public override void Ended(in Frame frame, ReadOnlySpan<nint> results)
    {
        if (!LearnsSources || !Enabled) return;
        lock (gate) lineage.Add(frame, results, tensor => Find(tensor, Geometry.OfMap(tensor)));
    }

    /// <summary>No step follows.</summary>
    public void End()
    {
        lock (gate) lineage.Clear();
    }

    // The first tensor that a thread saves after a backward pass begins another forward pass of the thread.
    void Begin()
    {
        DropDecoded();
        unpacking = false;
        var pass = passes.Value!;
        if (pass.InBackward)
        {
            pass.Next();
            unknown.Clear();
            lineage.Clear();
            run?.Layers.LearnParameters();
        }
        run?.Begin(pass.Number);
        if (pass.Begun < pass.Number)
        {
            // By forward: no exception can reach the caller from here, so that what the budget refuses is noted.
            try { BeginStep(); }
            catch (BudgetException refused) { failures.Add(refused); }
        }
        while (deferred.Count > MostDeferred || (deferred.TryPeek(out var first) && (first.Deferred.IsOver || first.Deferred.IsMeasured))) Settle();
    }

    SavedTensor Pack(Tensor tensor, Layer layer, SavedBy by)
    {
        try
        {
            return policy.Decide(tensor, layer, by) switch
            {
                Treatment.NotOurs => new PassedOn(tensor),
                Treatment.LeftAlone left => Save(tensor, layer, by with { Need = Need.Exact }, (_, whole, _) => new(new HeldRaw(whole), left.Why)),
                Treatment.Moved moved => Save(tensor, layer, by with { Need = Need.Exact }, (_, whole, _) => new(new HeldElsewhere(whole, moved.Device), $"on {moved.Device}")),
                Treatment.Bits => Save(tensor, layer, by with { Need = Need.Exact }, (_, whole, _) => new(ExactBits.Pack(whole), "bits")),
                Treatment.Indices => Save(tensor, layer, by with { Need = Need.Exact }, (_, whole, _) => PackIndices(whole)),
                Treatment.BitsIfTwoValued => PackMask(tensor, layer, by with { Need = Need.Exact }),
                Treatment.Map map => Save(tensor, layer, by with { Need = map.Need }, (saved, values, zeros) => PackValues(saved, values, zeros, layer, map)),
                var other => throw new InvalidOperationException($"No way to treat a saved tensor as {other}."),
            };
        }
        catch (Exception failure)
        {
            throw new CompressionException($"Compressing a map of layer {layer} failed; it was kept as it is. {failure.Message}", failure);
        }
    }

    static Holding PackIndices(Tensor indices) =>
        ExactIndices.Pack(indices) is { } packed ? new(packed, "indices") : new(new HeldRaw(indices), "raw: smaller than packed");

    // A detached map is no mask, and may be held already in a form that does not answer for its values.
    SavedTensor PackMask(Tensor tensor, Layer layer, SavedBy by)
    {
        if (Find(tensor, Geometry.OfMap(tensor)) is not null)
            return Save(tensor, layer, by, (_, whole, _) => HeldMask.Pack(whole) is { } bits ? new(bits, "bits") : new(new HeldRaw(whole), "as it is: detached"));
        return HeldMask.Pack(tensor) is { } mask ? Save(tensor, layer, by, (_, _, _) => new(mask, "bits")) : new PassedOn(tensor);
    }

    Holding PackValues(SavedMap saved, Tensor values, Zeros zeros, Layer layer, Treatment.Map map)
    {
        var (codec, need, budget) = (map.Codec, map.Need, map.NoRule ? Budget : null);
        if (budget is not null) codec = budget.CodecFor(layer, codec);
        if (codec == ActivationCodec.None) return new(new HeldRaw(values), "raw: within the budget");
        var fidelity = map.NoRule && need.Fineness == Fineness.Codec ? Fidelity : null;
        if (fidelity is { IsMeasuring: true })
            return new(fidelity.Try(values, saved.Identity, tried => policy.Adapt(tried, values, need, zeros), need), "as it is: fidelity is measured");
        if (fidelity is not null)
        {
            codec = fidelity.CodecOf(saved.Identity);
            if (codec == ActivationCodec.None) return new(new HeldRaw(values), "as it is: for fidelity");
        }
        if (budget is null && fidelity is null && need.Fineness == Fineness.Codec && Derives is { } derives && derives(codec))
        {
            if (Derive(saved, values, need, codec) is { } derived)
                return new(derived, $"derived from {derived.From}") { Fineness = Fineness.Codec };
            if (sources.TryGetValue(NameOf(saved), out var wanted) && wanted is { } ofDerived)
            {
                saved.IsHeldAsSource = true;
                (codec, need) = (DerivedMap.CodecOfSource(codec, need), Sensitivity.Stricter(need, ofDerived));
            }
        }
        codec = codec.Fineness < need.Fineness ? ActivationCodec.BFloat16 : policy.Adapt(codec, values, need, zeros);
        if (budget is null && values.NumberOfElements > 0 && GpuOf(values.device) is { } gpu && DeferredMap.Suits(codec))
            return new(new DeferredMap(values, gpu, codec), "being measured") { Fineness = codec.Fineness };
        var why = LeftRaw.LittleGathered;
        PackedMap? packed = null;
        foreach (var (finer, mostError) in budget is null && fidelity is null && need.Fineness == Fineness.Codec && codec.Encoding.TellsError ? policy.Finer(codec, values, need) : [(codec, double.PositiveInfinity)])
        {
            codec = finer;
            packed = Pipeline.Pack(values, codec, mostError, out why);
            if (why != LeftRaw.LittleGathered) break;
        }
        if (packed is not null)
        {
            var rungs = need.Fineness == Fineness.Codec ? budget?.Measure(values, need, zeros, codec, packed.Bytes) : null;
            return Hold(packed, GpuOf(values.device)) with { Rungs = rungs };
        }
        return Raw(new HeldRaw(values), layer, why);
    }

    DerivedMap? Derive(SavedMap map, Tensor values, Need need, ActivationCodec codec)
    {
        if (lineage.Of(map) is not { } derivation || !DerivedMap.CanBe(map, derivation)) return null;
        foreach (var source in derivation.Sources) source.NeedOfDerived = Sensitivity.Stricter(source.NeedOfDerived ?? need, need);
        // What the operation bears of a derived map is what it bears before a finer codec stands in.
        var mostError = policy.Finer(codec, values, need).First().MostError;
        return DerivedMap.Of(map, values, derivation, mostError, Release);
    }

    Holding Hold(PackedMap packed, CudaDevice? gpu)
    {
        var held = OffloadsToHost ? OffloadedMap.Of(packed, gpu) : packed;
        return new(held, held is OffloadedMap ? $"{packed.Codec} on the host" : $"{packed.Codec}") { Fineness = packed.Codec.Fineness };
    }

    Holding Raw(Packed raw, Layer layer, LeftRaw why)
    {
        if (why == LeftRaw.NotFinite) ledger.Of(layer).NotFinite++;
        return new(raw, why == LeftRaw.NotFinite ? "raw: NaN or infinite" : "raw: smaller than packed");
    }

    void SettleAll()
    {
        while (deferred.Count > 0) Settle();
    }

    // The first of the maps that are being measured gets its lasting form.
    void Settle()
    {
        using var noGradients = torch.no_grad();
        var (map, layer, waiting) = deferred.Dequeue();
        if (waiting.IsOver) return;
        var before = map.Values!;
        var held = waiting.Settle(out var why, out var failure);
        if (failure is not null) failures.Add(new CompressionException($"Compressing a map of layer {layer} failed; it was kept as it is. {failure.Message}", failure));
        map.Values = held is PackedMap packed ? Hold(packed, waiting.Gpu as CudaDevice) : failure is null ? Raw(held, layer, why) : new(held, "raw: packing failed");
        ledger.Replace(map.Account, before);
        ledger.Hold(map.Account, map.Values);
        DropAnsweredBits(map);
    }

    SavedUse Save(Tensor tensor, Layer layer, SavedBy by, Func<SavedMap, Tensor, Zeros, Holding> packValues)
    {
        var account = ledger.Of(layer);
        var geometry = Geometry.Of(tensor);
        var ofMap = Geometry.OfMap(tensor);
        var map = Find(tensor, ofMap);
        if (map is null)
        {
            var pass = passes.Value!;
            map = new SavedMap(tensor, ofMap, account) { Pass = pass, Identity = (layer, by.Operation, pass.Count(layer, by.Operation)) };
            if (!byStorage.TryGetValue(map.Address, out var maps)) byStorage.Add(map.Address, maps = []);
            maps.Add(map);
            foreach (var timeline in timelines) timeline.Saved(map, map.Storage.Data);
            account.Maps++;
            account.SavedBytes += map.SavedBytes;
            if (by.Operation.ShortName == Operations.RecurrentLayer && tensor.dtype == torch.ScalarType.Byte) account.WorkspaceBytes += map.SavedBytes;
            else if (!by.IsKnown && run is not null) unknown[by.Operation.Name] = unknown.GetValueOrDefault(by.Operation.Name) + map.SavedBytes;
        }
        else account.SharedMaps++;
        var use = new SavedUse(this, map, layer, by, geometry, tensor.dtype, tensor.device);
        try
        {
            if (!map.Answers(by.Need))
            {
                if (by.Need.Fineness < Fineness.Exact && aliveElsewhere.Contains(map.Identity)) Answer(tensor, map, Need.Exact, (_, whole, _) => new(new HeldRaw(whole), AliveElsewhere));
                else Answer(tensor, map, by.Need, packValues);
                foreach (var timeline in timelines) timeline.Holds(map, layer);
            }
            return use;
        }
        catch
        {
            use.Dispose();
            throw;
        }
    }

    void Answer(Tensor tensor, SavedMap map, Need need, Func<SavedMap, Tensor, Zeros, Holding> packValues)
    {
        // Whoever saves it, a map is packed in the layout in which it was first seen.
        using var whole = tensor.as_strided(map.Geometry.Sizes, map.Geometry.Strides, map.Geometry.Offset);
        if (need is Need.Inside inside)
        {
            // Layers of other bounds still need their own bits.
            var others = map.Inside;
            var bits = HeldInside.Pack(whole, inside, others?.Held as HeldInside);
            if (others is not null) ledger.Replace(map.Account, others);
            map.Inside = new(bits, "signs");
            ledger.Hold(map.Account, map.Inside);
            return;
        }
        // What is held may be too coarse for another operation that saves the same map.
        var (coarser, values) = (map.Values, packValues(map, whole, map.ZerosFor(need)));
        Drop(map, coarser);
        map.Values = values;
        ledger.Hold(map.Account, map.Values);
        if (map.Values.Held is DeferredMap waiting) deferred.Enqueue((map, map.Account.Layer, waiting));
        DropAnsweredBits(map);
    }

    void DropAnsweredBits(SavedMap map)
    {
        if (map.Inside is null || !map.Bits.All(bits => map.ValuesAnswer(bits.Need))) return;
        Drop(map, map.Inside);
        map.Inside = null;
    }

    void Drop(SavedMap map, Holding? holding)
    {
        if (holding is null || map.IsPinned(holding)) return;
        ledger.Replace(map.Account, holding);
        holding.Held.Dispose();
    }

    SavedMap? Find(Tensor tensor, Geometry geometry)
    {
        if (!byStorage.TryGetValue(StorageReference.AddressOf(tensor), out var maps)) return null;
        var version = LibTorch.Version(tensor);
        foreach (var map in maps)
            if (map.Is(geometry, version)) return map;
        return null;
    }

    void Release(SavedMap map)
    {
        lock (gate)
        {
            if (--map.Users > 0) return;
            if (decoded is { } cached && cached.Map == map) DropDecoded();
            ledger.Release(map.Bytes);
            var maps = byStorage[map.Address];
            maps.Remove(map);
            if (maps.Count == 0) byStorage.Remove(map.Address);
            map.Dispose();
            foreach (var timeline in timelines) timeline.Released(map);
            if (ledger.LiveBytes == 0) Budget?.End(ledger.PeakBytes);
        }
    }

    Tensor Unpack(SavedUse use)
    {
        // A second derivative would save the placeholder again.
        var mayStandIn = ReadsInPieces && !torch.is_grad_enabled();
        using var noGradients = torch.no_grad();
        lock (gate)
        {
            SettleAll();
            unpacking = true;
            if (!use.Map.Pass.InBackward) BeginBackward(use.Map.Pass);
            unpackedLast = use.Map.Account.Layer;
            try
            {
                if (use.Need is Need.ShapeOnly)
                {
                    using var zero = torch.zeros(1, use.Type, use.Device);
                    return zero.expand(use.Geometry.Sizes);
                }
                if (mayStandIn && use.IsReadInPieces && decoded?.Map != use.Map)
                {
                    DropDecoded();
                    return use.Placeholder.Show();
                }
                var needsBits = use.Need is Need.Inside && !use.Map.ValuesAnswer(use.Need);
                var rebuilt = needsBits ? use.Map.BitsFor(use.Need)!.Unpack() : Decode(use.Map);
                foreach (var timeline in timelines) timeline.Rebuilt(use.Map, LibTorch.Data(rebuilt));
                var shown = use.Map.Geometry.Show(rebuilt, use.Geometry, withGaps: MayReadLayout(use.By));
                return use.By.Operation.ShortName == "convolution" && use.Map is { Users: 1, IsHeldRaw: false } ? ConvolutionInput.ForBackward(shown) : shown;
            }
            catch (Exception failure)
            {
                throw new CompressionException($"Rebuilding a map of layer {use.Map.Account.Layer} failed. {failure.Message}", failure);
            }
        }
    }

    // Whether a formula may hang on how the saved tensor lies in memory: of operations that want every bit, were it not for the user's word,
    // of those that are not known, and of a checkpoint's block.
    static bool MayReadLayout(SavedBy by) =>
        by.Need.Fineness == Fineness.Exact || Operations.Of(by.Operation) is not { } line || line.Arguments.All(need => need == Need.Exact);

    // A map that several operations ask for in turn is decoded once, and dropped as soon as another is wanted.
    Tensor Decode(SavedMap map)
    {
        if (decoded is { } cached && cached.Map == map) return cached.Values.alias();
        DropDecoded();
        var values = map.Rebuild();
        if (map.Users > 1 && map.Values!.Held is not TrialMap)    // which may be asked again under another codec
        {
            var kept = values.alias();
            kept.DetachFromDisposeScope();
            decoded = (map, kept);
        }
        return values;
    }

    void DropDecoded()
    {
        decoded?.Values.Dispose();
        decoded = null;
    }

    void BeginBackward(ThreadPass pass)
    {
        pass.InBackward = true;
        lineage.Clear();
        if (LearnsSources) LearnSources(pass);
        if (HandsOutOriginals) HoldWhatIsAliveElsewhere(pass);
        if (run is null) return;
        lasting ??= policy.RulesWithoutLayer();
        foreach (var note in Notes())
        {
            if (!told.Add(note.About)) continue;
            try { Noted?.Invoke(note.Text); }
            catch (Exception failure) { failures.Add(failure); }
        }
    }

    // The same maps of the next step are held more finely.
    void LearnSources(ThreadPass pass)
    {
        foreach (var map in byStorage.Values.SelectMany(maps => maps).Where(map => map.Pass == pass))
        {
            var name = NameOf(map);
            if (map.NeedOfDerived is not { } need) sources.Remove(name);
            else if (map.HasDerived) sources[name] = need;
            else if (map.IsHeldAsSource) sources[name] = null;
            else sources.TryAdd(name, need);
        }
    }

    static string NameOf(SavedMap map) => $"{map.Identity.Layer.Name} {map.Identity.Operation} {map.Identity.Number}";

    /// <summary>Writes which maps others follow from: what the steps so far have shown.</summary>
    public void SaveSources(BinaryWriter writer)
    {
        lock (gate)
        {
            writer.Write(sources.Count);
            foreach (var (name, need) in sources)
            {
                writer.Write(name);
                writer.Write((need as Need.OfValues)?.Name ?? "");
            }
        }
    }

    /// <summary>Reads what <see cref="SaveSources"/> wrote.</summary>
    /// <exception cref="InvalidDataException">A need is none.</exception>
    public void LoadSources(BinaryReader reader)
    {
        lock (gate)
        {
            sources.Clear();
            for (var left = reader.ReadInt32(); left > 0; left--)
            {
                var (name, need) = (reader.ReadString(), reader.ReadString());
                sources[name] = need.Length == 0 ? null : Need.Named(need);
            }
        }
    }

    IEnumerable<Note> Notes() => policy.Codec is { } codec ? StepNotes.Of(ledger, unknown, codec).Concat(lasting ?? []) : [];

    // A backward pass begins. What something else has kept alive is held as it is from here on, exactly and for nothing; the same map of the
    // next step will not be packed at all. Other threads may be in the middle of their forward passes, where everything is alive.
    void HoldWhatIsAliveElsewhere(ThreadPass pass)
    {
        foreach (var maps in byStorage.Values.Select(maps => maps.ToArray()).ToArray())    // what a map was derived from may go with it
        {
            var rawHere = maps.Count(map => map.IsHeldRaw);
            foreach (var map in maps.Where(map => map.Pass == pass && !map.IsReleased))
            {
                if (map.IsHeldRaw)
                {
                    if (map.Values!.How != AliveElsewhere) continue;
                    if (map.Storage.Users > rawHere) map.Account.AddAliveElsewhere(map);
                    else aliveElsewhere.Remove(map.Identity);
                    continue;
                }
                if (map.Values?.Held is TrialMap) continue;    // which keeps it alive itself
                using var original = map.Original();
                if (original is null) continue;
                map.Account.AddAliveElsewhere(map);
                aliveElsewhere.Add(map.Identity);
                Drop(map, map.Inside);
                Drop(map, map.Values);
                (map.Inside, map.Values) = (null, new(new HeldRaw(original), AliveElsewhere));
                ledger.Hold(map.Account, map.Values);
            }
        }
    }

    /// <summary>One operation's share in a saved map.</summary>
    sealed class SavedUse : SavedTensor, IMapPieces
    {
        readonly ActivationStore store;
        Placeholder? placeholder;
        bool disposed;

        public SavedUse(ActivationStore store, SavedMap map, Layer layer, SavedBy by, Geometry geometry, torch.ScalarType type, torch.Device device)
        {
            (this.store, Map, Layer, By, Geometry, Type, Device) = (store, map, layer, by, geometry, type, device);
            map.Users++;
        }

        public SavedMap Map { get; }
        public Layer Layer { get; }
        public Geometry Geometry { get; }
        public SavedBy By { get; }
        public Need Need => By.Need;
        public torch.ScalarType Type { get; }
        public torch.Device Device { get; }

        /// <summary>Whether there is a kernel that reads this map in pieces, and the map is large enough.</summary>
        public bool IsReadInPieces =>
            Pieces.LeastBytes * store.Scale <= Map.SavedBytes && Autograd.Placeholder.Suits(By) && Device.type == DeviceType.CPU && Type == torch.ScalarType.Float32
            && Map.HasRanges() && !Map.IsHeldRaw && Map.Geometry.SameLayout(Geometry) && Geometry.Sizes.Length > 3;

        public Placeholder Placeholder => placeholder ??= new(this, Type);

        long[] IMapPieces.Sizes => Geometry.Sizes;

        double IMapPieces.Scale => store.Scale;

        Tensor IMapPieces.Read(MapRange range)
        {
            lock (store.gate)
                try { return Map.Rebuild(range); }
                catch (Exception failure)
                {
                    throw new CompressionException($"Rebuilding a map of layer {Map.Account.Layer} failed. {failure.Message}", failure);
                }
        }

        void IMapPieces.Failed(Exception failure) => store.Failed(failure, whilePacking: false);

        public override Tensor Unpack() => store.Unpack(this);

        public override void Dispose()
        {
            if (disposed) return;
            disposed = true;
            placeholder?.Dispose();
            store.Release(Map);
        }
    }
}
