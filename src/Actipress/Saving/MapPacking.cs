using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Gpu;
using Actipress.Grid.Gpu;

namespace Actipress.Saving;

/// <summary>
/// Packs the values of one map. The rules, the budget or the kept fidelity choose the codec. A map that follows from other maps is derived
/// from them, where the derivation is accurate enough.
/// </summary>
/// <param name="policy">The rules.</param>
/// <param name="ledger">The ledger, which counts the maps that are not finite.</param>
/// <param name="lineage">The derivations of the maps of the step.</param>
/// <param name="sources">The maps from which others followed in earlier steps.</param>
/// <param name="joined">The results of concatenations.</param>
/// <param name="release">Releases a map from which another one was derived.</param>
sealed class MapPacking(
    SavingPolicy policy, Ledger ledger, Lineage lineage, LearntSources sources, JoinedMaps joined, Action<SavedMap> release)
{
    const string MeasuringFidelity = "as it is: fidelity is measured";

    /// <summary>The budget that decides on codecs where no rule does; null for none.</summary>
    public MemoryBudget? Budget { get; set; }

    /// <summary>The fidelity that decides on codecs where no rule does; null for none.</summary>
    public KeptFidelity? Fidelity { get; set; }

    /// <summary>Tells for a codec whether its maps may be derived from others in place of being held; null for none.</summary>
    public Func<ActivationCodec, bool>? Derives { get; set; }

    /// <summary>Whether packed maps are moved from a GPU to the host.</summary>
    public bool OffloadsToHost { get; set; }

    /// <summary>Returns the kernels of a device; null where there are none.</summary>
    public Func<torch.Device, CudaDevice?> GpuOf { get; set; } = GpuGrid.DeviceOf;

    /// <summary>Packs the values of an activation map.</summary>
    /// <param name="saved">The map.</param>
    /// <param name="values">The values of the map; not disposed.</param>
    /// <param name="zeros">The consequence of the map's zeros.</param>
    /// <param name="layer">The layer that saves the map now, which may differ from the first.</param>
    /// <param name="wanted">The treatment of the map.</param>
    public Holding Pack(SavedMap saved, Tensor values, Zeros zeros, Layer layer, Treatment.Map wanted)
    {
        var (codec, need) = (wanted.Codec, wanted.Need);
        var mayBeCoded = need.Fineness == Fineness.Codec;
        var (budget, fidelity) = wanted.NoRule ? (Budget, mayBeCoded ? Fidelity : null) : (null, null);
        if (budget is not null) codec = budget.CodecFor(layer, codec);
        if (codec == ActivationCodec.None) return new(new HeldRaw(values), "raw: within the budget");

        // A budget and a kept fidelity choose the codecs of sources without regard to the rules of other layers.
        var keepsRule = !wanted.NoRule && (Budget is not null || Fidelity is not null);
        if (mayBeCoded && !keepsRule && Derives is { } derives && derives(wanted.Codec))
        {
            // A fidelity was measured with whatever errors derived maps have.
            if (Derive(saved, values, need, fidelity is null ? codec : null) is { } derived)
                return new(derived, $"derived from {derived.From}")
                {
                    Fineness = Fineness.Codec,
                    Rungs = budget?.MeasureDerived(saved.SavedBytes, derived.Bytes),
                };
            if (budget is not null && lineage.Of(saved) is { } derivation)
                foreach (var source in derivation.Sources) codec = budget.CoarserFor(source.Layer, codec);    // the plan has counted on it
            else if (budget is null && fidelity is null)
            {
                if (sources.NeedOfDerived(saved) is { } ofDerived)
                {
                    saved.IsHeldAsSource = true;
                    (codec, need) = (DerivedMap.CodecOfSource(codec, need), Sensitivity.Stricter(need, ofDerived));
                }
                var ofParts = wanted with { Codec = codec, Need = need };
                var whole = joined.Pack(
                    saved, values, ofParts, (part, own, ofPart) => PackPart(part, own, ofPart, layer, ofParts, values));
                if (whole is not null) return whole;
            }
        }
        if (!mayBeCoded && wanted.NoRule && Fidelity is { IsMeasuring: true } measuring)
            return new(measuring.Try(values, whole => InSixteenBits(whole, need, codec)), MeasuringFidelity);
        if (fidelity is { IsMeasuring: true })
        {
            var trial = fidelity.Try(values, saved.Identity, tried => policy.Adapt(tried, values, need, zeros), need);
            return new(trial, MeasuringFidelity);
        }
        if (fidelity is not null) codec = fidelity.CodecOf(saved.Identity);
        return codec == ActivationCodec.None
            ? new(new HeldRaw(values), "as it is: for fidelity")
            : Coded(values, zeros, layer, codec, need, budget, mayBeFiner: budget is null && fidelity is null);
    }

    // A part that is not worth packing must not keep the whole concatenation alive.
    Holding PackPart(SavedMap part, Tensor values, Zeros zeros, Layer layer, Treatment.Map wanted, Tensor whole)
    {
        var packed = Pack(part, values, zeros, layer, wanted);
        if (packed.Held is not HeldRaw || StorageReference.AddressOf(values) != StorageReference.AddressOf(whole)) return packed;
        packed.Held.Dispose();
        using var alone = values.clone();
        return packed with { Held = new HeldRaw(alone) };
    }

    // A map that an operation needs in 16 bits, whatever the codec; null where it stays as it is.
    Packed? InSixteenBits(Tensor values, Need need, ActivationCodec codec) =>
        Saturating(values, need, codec)
        ?? (Packed?)Pipeline.Pack(values, NeedsOtherBits(codec, need) ? ActivationCodec.BFloat16 : codec, out _);

    // Whether 16 bits take the place of the codec. float16 has no small numbers, and neither 16-bit float has enough near 1.
    static bool NeedsOtherBits(ActivationCodec codec, Need need) =>
        codec.Fineness < need.Fineness || (need.Fineness == Fineness.Sixteen && codec.RoundsToSixteenBits);

    // Null for other needs and values, and where the codec is fine enough.
    HeldSaturating? Saturating(Tensor values, Need need, ActivationCodec codec) =>
        need == Need.Saturating && NeedsOtherBits(codec, need)
            ? HeldSaturating.Pack(values, OffloadsToHost ? torch.CPU : null) : null;

    Holding Coded(
        Tensor values, Zeros zeros, Layer layer, ActivationCodec codec, Need need, MemoryBudget? budget, bool mayBeFiner)
    {
        if (Saturating(values, need, codec) is { } saturating)
            return new(saturating, HeldSaturating.How) { Fineness = need.Fineness };
        codec = NeedsOtherBits(codec, need) ? ActivationCodec.BFloat16 : policy.Adapt(codec, values, need, zeros);
        if (budget is null && values.NumberOfElements > 0 && GpuOf(values.device) is { } gpu && DeferredMap.Suits(codec))
            return new(new DeferredMap(values, gpu, codec), "being measured") { Fineness = codec.Fineness };
        var why = LeftRaw.LittleGathered;
        PackedMap? packed = null;
        var finer = mayBeFiner && (codec.Encoding.TellsError || codec.RoundsToSixteenBits) ? policy.Finer(codec, values, need)
            : [(codec, double.PositiveInfinity)];
        foreach (var (tried, mostError) in finer)
        {
            packed?.Dispose();
            codec = tried;
            packed = Pipeline.Pack(values, codec, mostError, out why);
            if (packed is null ? why != LeftRaw.LittleGathered : !Sensitivity.LosesContrast(packed, values)) break;
        }
        if (packed is null) return Raw(new HeldRaw(values), layer, why);
        try
        {
            var rungs = need.Fineness == Fineness.Codec ? budget?.Measure(values, need, zeros, codec, packed.Bytes) : null;
            return Hold(packed, GpuOf(values.device)) with { Rungs = rungs, Weight = Sensitivity.Weight(need) };
        }
        catch
        {
            packed.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Packs which elements of a map lie inside bounds. The signs of a map that follows from held maps are derived from these.
    /// </summary>
    /// <param name="saved">The map.</param>
    /// <param name="values">The values of the map; not disposed.</param>
    /// <param name="need">The bounds.</param>
    /// <param name="beside">What the map holds for other bounds; null for nothing.</param>
    public HeldInside PackInside(SavedMap saved, Tensor values, Need.Inside need, HeldInside? beside)
    {
        var mayDerive = need == Need.Sign && Derives is not null && Budget is null && Fidelity is null;
        return mayDerive && lineage.Of(saved) is { } derivation && DerivedMap.CanBe(saved, derivation)
            && DerivedSigns.Of(saved, values, derivation, beside, release) is { } derived
            ? derived : HeldBits.Pack(values, need, beside);
    }

    /// <summary>Gives a map that was being measured its lasting form.</summary>
    /// <param name="waiting">The map.</param>
    /// <param name="layer">The layer that has saved it.</param>
    /// <param name="failure">The exception where packing failed, else null.</param>
    public Holding Settle(DeferredMap waiting, Layer layer, out Exception? failure)
    {
        var held = waiting.Settle(out var why, out failure);
        if (held is PackedMap packed) return Hold(packed, waiting.Gpu as CudaDevice);
        return failure is null ? Raw(held, layer, why) : new(held, "raw: packing failed");
    }

    // Null where the error would be larger than that of coding the map; without a codec it may be any.
    DerivedMap? Derive(SavedMap map, Tensor values, Need need, ActivationCodec? codec)
    {
        if (lineage.Of(map) is not { } derivation || !DerivedMap.CanBe(map, derivation)) return null;
        foreach (var source in derivation.Sources) source.NeedOfDerived = Sensitivity.Stricter(source.NeedOfDerived ?? need, need);
        var mostError = codec is null ? default(double?) : policy.MostError(codec, values, need);
        var derived = DerivedMap.Of(map, values, derivation, mostError, release);
        if (derived is not null)
            foreach (var source in derivation.Sources) source.Values!.HarmsToo(derived.RelativeError, Sensitivity.Weight(need));
        return derived;
    }

    Holding Hold(PackedMap packed, CudaDevice? gpu)
    {
        var held = OffloadsToHost ? OffloadedMap.Of(packed, gpu) : packed;
        return new(held, held is OffloadedMap ? $"{packed.Codec} on the host" : $"{packed.Codec}") { Fineness = packed.Codec.Fineness };
    }

    Holding Raw(Packed raw, Layer layer, LeftRaw why)
    {
        if (why == LeftRaw.NotFinite) ledger.Of(layer.Name, layer.Type).NotFinite++;
        return new(raw, why == LeftRaw.NotFinite ? "raw: NaN or infinite" : "raw: smaller than packed");
    }
}
