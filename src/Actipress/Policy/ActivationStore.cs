using Actipress.Autograd;
using TorchSharp.Modules;

namespace Actipress;

/// <summary>
/// Holds what autograd saves of a model's forward pass: each storage once, in the form that the policy decides, until the last
/// operation that needs it is done.
/// </summary>
/// <param name="policy">Decides.</param>
/// <param name="currentLayer">The layer that runs on this thread; null where none is known.</param>
/// <param name="layerOf">The layer that a module is; null where it is none.</param>
/// <param name="everything">Whether what no layer saves is compressed too; otherwise only right after a parameter of the model was seen.</param>
sealed class ActivationStore(SavingPolicy policy, Func<Layer?> currentLayer, Func<torch.nn.Module, Layer?> layerOf, bool everything) : SavedTensorHooks
{
    // Maps of a GPU that are held raw while it measures them: so far the host may be ahead of it.
    const int MostDeferred = 2;

    readonly Lock gate = new();
    readonly Dictionary<nint, List<SavedMap>> byStorage = [];
    readonly Ledger ledger = new();
    readonly List<Exception> failures = [];
    readonly Queue<(SavedMap Map, Layer Layer, DeferredMap Deferred)> deferred = new();
    (SavedMap Map, Tensor Values)? decoded;
    volatile MemoryTimeline[] timelines = [];
    bool unpacking;
    Layer? unpackedLast;

    // Where no layer is known, what is saved belongs to the model whose parameter was saved last: another one may run on this thread.
    bool modelRuns;

    /// <summary>Decides on codecs where no rule does; null for none.</summary>
    public MemoryBudget? Budget { get; init; }

    /// <summary>Whether packed maps leave a GPU for the host.</summary>
    public bool OffloadsToHost { get; init; }

    /// <summary>The kernels of a device; null where there are none.</summary>
    public Func<torch.Device, CudaDevice?> GpuOf { get; init; } = CudaDevice.Of;

    /// <summary>Off: everything passes as it is, and nothing is counted.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>What runs now on the thread that trains.</summary>
    public Activity Activity => unpacking ? new(Backward: true, unpackedLast) : new(Backward: false, currentLayer());

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
                Notes = [.. failures.Select(failure => failure.Message)],
                Layers =
                [
                    .. ledger.Accounts.Where(account => account.Maps + account.SharedMaps > 0).Select(account => new LayerReport(
                        account.Layer.Name, account.Layer.Type, account.Maps, account.SharedMaps, account.SavedBytes, account.KeptBytes,
                        string.Join(", ", account.Ways.OrderByDescending(way => way.Value).Select(way => way.Key)), account.AliveElsewhereBytes, account.NotFinite)),
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
            if (Enabled && ledger.LiveBytes == 0) Budget?.Begin();
    }

    /// <summary>The model has run: what is still being measured is packed.</summary>
    public void EndForward()
    {
        lock (gate) SettleAll();
    }

    public void ForgetFailures()
    {
        lock (gate) failures.Clear();
    }

    public override SavedTensor Pack(Tensor tensor) => Pack(tensor, currentLayer(), need => need);

    public override SavedTensor PackInput(Tensor tensor, torch.nn.Module? block) =>
        Pack(tensor, (block is null ? null : layerOf(block)) ?? currentLayer(), _ => Need.Smooth);

    SavedTensor Pack(Tensor tensor, Layer? layer, Func<Need, Need> needOf)
    {
        using var noGradients = torch.no_grad();
        lock (gate)
        {
            DropDecoded();
            unpacking = false;
            while (deferred.Count > MostDeferred || (deferred.TryPeek(out var first) && (first.Deferred.IsOver || first.Deferred.IsMeasured))) Settle();
            if (!Enabled) return new PassedOn(tensor);
            if (policy.IsOwnParameter(tensor) || LibTorch.IsParameterOrView(tensor))
            {
                modelRuns = policy.IsOwnParameter(tensor);
                return new PassedOn(tensor);
            }
            if (layer is null && !everything && !modelRuns) return new PassedOn(tensor);
            layer ??= Layer.Unknown;
            try
            {
                return policy.Decide(tensor, layer) switch
                {
                    Treatment.NotOurs => new PassedOn(tensor),
                    Treatment.LeftAlone left => Save(tensor, layer, Need.Exact, (map, _) => new(new HeldRaw(map), left.Why)),
                    Treatment.Moved moved => Save(tensor, layer, Need.Exact, (map, _) => new(new HeldElsewhere(map, moved.Device), $"on {moved.Device}")),
                    Treatment.Bits => Save(tensor, layer, Need.Exact, (map, _) => new(ExactBits.Pack(map), "bits")),
                    Treatment.Indices => Save(tensor, layer, Need.Exact, (map, _) => PackIndices(map)),
                    Treatment.BitsIfTwoValued => PackMask(tensor, layer),
                    Treatment.Map map => Save(tensor, layer, needOf(map.Need), (values, zeros) => PackValues(values, zeros, layer, map.Codec, map.NoRule ? Budget : null)),
                    var other => throw new InvalidOperationException($"No way to treat a saved tensor as {other}."),
                };
            }
            catch (Exception failure)
            {
                throw new CompressionException($"Compressing a map of layer {layer} failed; it was kept as it is. {failure.Message}", failure);
            }
        }
    }

    static Holding PackIndices(Tensor indices) =>
        ExactIndices.Pack(indices) is { } packed ? new(packed, "indices") : new(new HeldRaw(indices), "raw: smaller than packed");

    SavedTensor PackMask(Tensor tensor, Layer layer)
    {
        if (Find(tensor, Geometry.OfMap(tensor)) is not null)
            return Save(tensor, layer, Need.Exact, (_, _) => throw new InvalidOperationException("A mask that is held already was packed again."));
        return HeldMask.Pack(tensor) is { } mask ? Save(tensor, layer, Need.Exact, (_, _) => new(mask, "bits")) : new PassedOn(tensor);
    }

    Holding PackValues(Tensor values, Zeros zeros, Layer layer, ActivationCodec codec, MemoryBudget? budget)
    {
        if (budget is not null) codec = budget.CodecFor(layer, codec);
        if (codec == ActivationCodec.None) return new(new HeldRaw(values), "raw: within the budget");
        codec = policy.Adapt(codec, values, zeros);
        if (budget is null && codec.Encoding is Grid && values.NumberOfElements > 0 && GpuOf(values.device) is { } gpu && GridOnGpu.Covers(codec, MapShape.Of(values.shape)))
            return new(new DeferredMap(values, gpu, codec), "being measured");
        if (Pipeline.Pack(values, codec, out var why) is { } packed)
        {
            var rungs = budget?.Measure(values, zeros, layer, codec, packed.Bytes);
            return Hold(packed, GpuOf(values.device)) with { Rungs = rungs };
        }
        return Raw(new HeldRaw(values), layer, why);
    }

    Holding Hold(PackedMap packed, CudaDevice? gpu)
    {
        var held = OffloadsToHost ? OffloadedMap.Of(packed, gpu) : packed;
        return new(held, held is OffloadedMap ? $"{packed.Codec} on the host" : $"{packed.Codec}");
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
        ledger.Replace(map.Account, before.Bytes, before.How);
        ledger.Hold(map.Account, map.Values.Bytes, map.Values.How);
        DropAnsweredBits(map);
    }

    SavedUse Save(Tensor tensor, Layer layer, Need need, Func<Tensor, Zeros, Holding> packValues)
    {
        var account = ledger.Of(layer);
        var geometry = Geometry.Of(tensor);
        var ofMap = Geometry.OfMap(tensor);
        var map = Find(tensor, ofMap);
        if (map is null)
        {
            map = new SavedMap(StorageReference.Of(tensor), ofMap, LibTorch.Version(tensor), tensor.ElementSize, account);
            if (!byStorage.TryGetValue(map.Address, out var maps)) byStorage.Add(map.Address, maps = []);
            maps.Add(map);
            foreach (var timeline in timelines) timeline.Saved(map, map.Storage.Data);
            account.Maps++;
            account.SavedBytes += map.SavedBytes;
        }
        else account.SharedMaps++;
        var use = new SavedUse(this, map, layer, geometry, need, tensor.dtype, tensor.device);
        try
        {
            if (!map.Answers(need))
            {
                Answer(tensor, map, layer, need, packValues);
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

    void Answer(Tensor tensor, SavedMap map, Layer layer, Need need, Func<Tensor, Zeros, Holding> packValues)
    {
        // Whoever saves it, a map is packed in the layout in which it was first seen.
        using var whole = tensor.as_strided(map.Geometry.Sizes, map.Geometry.Strides, map.Geometry.Offset);
        if (need is Need.Inside inside)
        {
            Drop(map, map.Inside);
            map.Inside = new(HeldInside.Pack(whole, inside), "signs");
            ledger.Hold(map.Account, map.Inside.Bytes, map.Inside.How);
            return;
        }
        map.Values = packValues(whole, map.ZerosFor(layer));
        ledger.Hold(map.Account, map.Values.Bytes, map.Values.How);
        if (map.Values.Held is DeferredMap waiting) deferred.Enqueue((map, map.Account.Layer, waiting));
        DropAnsweredBits(map);
    }

    void DropAnsweredBits(SavedMap map)
    {
        if (map.Inside is not { Held: HeldInside bits } || !map.ValuesAnswer(bits.Need)) return;
        Drop(map, map.Inside);
        map.Inside = null;
    }

    void Drop(SavedMap map, Holding? holding)
    {
        if (holding is null) return;
        ledger.Replace(map.Account, holding.Bytes, holding.How);
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
        using var noGradients = torch.no_grad();
        lock (gate)
        {
            SettleAll();
            if (!unpacking) NoteWhatIsAliveElsewhere();
            unpacking = true;
            unpackedLast = use.Map.Account.Layer;
            try
            {
                if (use.Need is Need.ShapeOnly)
                {
                    using var zero = torch.zeros(1, use.Type, use.Device);
                    return zero.expand(use.Geometry.Sizes);
                }
                var rebuilt = use.Need is Need.Inside && !use.Map.ValuesAnswer(use.Need) ? use.Map.Inside!.Held.Unpack() : Decode(use.Map);
                foreach (var timeline in timelines) timeline.Rebuilt(use.Map, LibTorch.Data(rebuilt));
                var shown = use.Map.Geometry.Show(rebuilt, use.Geometry);
                return use is { Layer.Module: Conv3d, Map: { Users: 1, IsHeldRaw: false } } ? ConvolutionInput.ForBackward(shown) : shown;
            }
            catch (Exception failure)
            {
                throw new CompressionException($"Rebuilding a map of layer {use.Map.Account.Layer} failed. {failure.Message}", failure);
            }
        }
    }

    // A map that several operations ask for in turn is decoded once, and dropped as soon as another is wanted.
    Tensor Decode(SavedMap map)
    {
        if (decoded is { } cached && cached.Map == map) return cached.Values.alias();
        DropDecoded();
        var values = map.Rebuild();
        if (map.Users > 1)
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

    void NoteWhatIsAliveElsewhere()
    {
        foreach (var maps in byStorage.Values)
            foreach (var map in maps)
                if (!map.IsHeldRaw && map.Storage.IsAlive)
                    map.Account.AliveElsewhereBytes += map.SavedBytes;
    }

    /// <summary>One operation's share in a saved map.</summary>
    sealed class SavedUse : SavedTensor
    {
        readonly ActivationStore store;
        bool disposed;

        public SavedUse(ActivationStore store, SavedMap map, Layer layer, Geometry geometry, Need need, torch.ScalarType type, torch.Device device)
        {
            (this.store, Map, Layer, Geometry, Need, Type, Device) = (store, map, layer, geometry, need, type, device);
            map.Users++;
        }

        public SavedMap Map { get; }
        public Layer Layer { get; }
        public Geometry Geometry { get; }
        public Need Need { get; }
        public torch.ScalarType Type { get; }
        public torch.Device Device { get; }

        public override Tensor Unpack() => store.Unpack(this);

        public override void Dispose()
        {
            if (disposed) return;
            disposed = true;
            store.Release(Map);
        }
    }
}
