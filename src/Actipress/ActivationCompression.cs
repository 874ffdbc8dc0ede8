using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Compressed activation maps for one model, from <see cref="CompressActivationsExtensions.CompressActivations(nn.Module, ActivationCodec)"/>
/// until <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// A saved map belongs to the layer whose parameter its operation uses, and what operations without parameters save belongs to their own
/// layer or comes after the last one, under <c>call</c> as under <c>forward</c> and on any thread. Under <c>forward</c> nothing tells where the
/// model ends: what is saved after its last layer with parameters, such as a loss, passes as it is. (In the first step that layer is known
/// once each layer has run; in a model of which some layers never run, from the second step on.)
/// </remarks>
public sealed class ActivationCompression : IFollowing, ITimedTraining, IDisposable
{
    readonly nn.Module model;
    readonly ModelLayers layers;
    readonly LayerWatch watch;
    readonly ModelRun run;
    readonly IntermediateTensors? intermediates;
    readonly ThreadLocal<SavedTensorsScope?> inCall = new(), followed = new(trackAllValues: true);
    bool disposed;

    internal ActivationCompression(nn.Module model, CompressionOptions options)
    {
        SavedTensors.SelfCheck();
        this.model = model;
        layers = new ModelLayers(model);
        options.Check(layers.All);
        if (options.BudgetGiven is var (bytes, of)) Budget = new MemoryBudget(bytes, of, options, model, of == BudgetOf.Maps ? () => Start(new(this, followsAllocator: false)) : StartTimeline);
        if (options.FidelityGiven is var (cosine, batches)) Fidelity = new KeptFidelity(cosine, batches, options.DefaultCodec);
        watch = new LayerWatch(layers, Entered, Left);
        run = new ModelRun(layers, watch);
        if (options.DisposesIntermediates) intermediates = new IntermediateTensors(layers);
        Store = new ActivationStore(new CompressingPolicy(options), run)
        {
            Budget = Budget,
            Fidelity = Fidelity,
            Derives = options.DerivesMaps ? DerivedMap.Suits : null,
            ReadsInPieces = options.ReadsInPieces,
            OffloadsToHost = options.OffloadsToHost,
        };
        try { Newcomers.Add(this); }
        catch
        {
            End();
            throw;
        }
        Follow();
    }

    internal ActivationStore Store { get; }

    ActivationStore IFollowing.Store => Store;

    IReadOnlyList<Layer> IFollowing.Layers => layers.All;

    void Entered(Layer outermost)
    {
        if (outermost.Name.Length > 0)
        {
            Follow();    // the model's own forward pass runs its layers by call
            return;
        }
        followed.Value?.Dispose();
        followed.Value = null;
        layers.LearnParameters();
        if (SavedTensorsScope.InCheckpoint) return;
        Store.BeginStep();
        inCall.Value = SavedTensorsScope.Enter(Store);
    }

    void Left(Layer outermost)
    {
        if (outermost.Name.Length > 0) return;
        inCall.Value?.Dispose();
        inCall.Value = null;
        Store.EndForward();
    }

    bool IFollowing.Follows(Tensor parameter)
    {
        if (disposed || run.OfParameter(parameter) is null) return false;
        Follow();
        return true;
    }

    // A scope for forward passes of which TorchSharp tells nothing. Where another compression follows this thread, the two take turns.
    void Follow()
    {
        if (followed.Value is { HasEnded: false } known && known == SavedTensorsScope.Active) return;
        followed.Value?.Dispose();
        followed.Value = SavedTensorsScope.Enter(Store);
    }

    /// <summary>The budget that was asked for, and how the last step kept to it; null where none was.</summary>
    public MemoryBudget? Budget { get; }

    /// <summary>The fidelity that was asked for, and what was chosen for it; null where none was.</summary>
    public KeptFidelity? Fidelity { get; }

    /// <summary>Measures the next steps again, and chooses the codecs anew: of a network that has learnt, coarser ones will do.</summary>
    /// <exception cref="InvalidOperationException">No fidelity was asked for.</exception>
    public void MeasureAgain() =>
        (Fidelity ?? throw new InvalidOperationException($"No fidelity is kept: found none, wanted options.{nameof(CompressionOptions.KeepFidelity)}.")).Again();

    /// <summary>
    /// Told of each thing that a user should know, once, when the backward pass begins that first shows it: a rule that decided nothing, an
    /// operation that is not known, maps that stay alive, a gradient that is likely bad. The same sentences are in <see cref="Report"/>.
    /// </summary>
    /// <remarks>Called within <c>backward()</c>, on the thread that runs it; an exception is recorded, and stops nothing.</remarks>
    public event Action<string>? Noted
    {
        add => Store.Noted += value;
        remove => Store.Noted -= value;
    }

    /// <summary>Bytes held in place of saved maps at this moment; zero after <c>backward()</c>.</summary>
    public long LiveBytes => Store.LiveBytes;

    /// <summary>Runs <c>loss.backward()</c>; where it fails because a map could not be rebuilt, throws the cause with the layer's name.</summary>
    /// <param name="loss">A scalar; not disposed.</param>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    public void Backward(Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        Store.ForgetFailures();
        if (Fidelity is { IsMeasuring: true }) Fidelity.Measure(loss, [.. model.named_parameters().Where(named => named.parameter.requires_grad)]);
        SavedTensors.Backward(loss);
    }

    /// <summary>Starts to record what the allocator holds from here on, and which layer made it; the caller disposes the timeline to end it.</summary>
    /// <exception cref="PlatformNotSupportedException">There is no glibc, the process allocates with another library, or libtorch's allocator is not the known one.</exception>
    /// <exception cref="NotSupportedException">The model is not on the CPU.</exception>
    public MemoryTimeline StartTimeline()
    {
        if (model.parameters().FirstOrDefault(parameter => parameter.device_type != DeviceType.CPU) is { } elsewhere)
            throw new NotSupportedException($"A timeline follows the CPU's allocator: found parameters on {elsewhere.device}, wanted all on the CPU. {nameof(AllocatorMeter)}.{nameof(AllocatorMeter.Start)} with a device gives a GPU's levels and peak.");
        return Start(new(this, followsAllocator: true));
    }

    MemoryTimeline Start(MemoryTimeline timeline)
    {
        Store.Add(timeline);
        return timeline;
    }

    void ITimedTraining.End(MemoryTimeline timeline) => Store.Remove(timeline);

    Activity ITimedTraining.Activity => Store.Activity;

    IEnumerable<(string Name, nint Address)> ITimedTraining.GradientAddresses()
    {
        foreach (var (name, parameter) in model.named_parameters())
        {
            using var gradient = parameter.grad;
            if (gradient is not null) yield return (name, LibTorch.Data(gradient));
        }
    }

    /// <summary>What the last step saved, and what was kept of it, by layer.</summary>
    public CompressionReport Report()
    {
        var report = Store.Report();
        return report with { Notes = [.. report.Notes, .. Budget is null ? (string[])[] : [$"{Budget}"], .. Fidelity is null ? (string[])[] : [$"{Fidelity}"]] };
    }

    /// <summary>
    /// How near the gradients of one batch come to the exact ones: runs <paramref name="loss"/> and its backward pass once without and
    /// once with compression, from the same random state. Gradients, buffers and the CPU's random state are left as they were found.
    /// One batch tells neither bias nor noise: a judgement takes several.
    /// </summary>
    /// <param name="loss">Makes the scalar loss of one batch; the result is disposed, and so is what the function leaves undisposed.</param>
    public GradientFidelity MeasureFidelity(Func<Tensor> loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        return MeasureFidelity([loss]);
    }

    /// <summary>
    /// How near the gradients of several batches come to the exact ones, with the same parameters for all: runs each loss and its
    /// backward pass once without and once with compression, from the same random state; the first one once more with it before, since
    /// what a first step shows decides how finely some maps are held from then on. Gradients, buffers and the CPU's random state
    /// are left as they were found. Takes the memory of a step and of four copies of the parameters, however many batches there are.
    /// </summary>
    /// <param name="losses">
    /// Each makes the scalar loss of one batch and is called twice, the first three times; the result is disposed, and so is what the
    /// function leaves undisposed.
    /// The enumeration may make each batch when it comes to it.
    /// </param>
    /// <exception cref="ArgumentException">There is no loss, or one is null.</exception>
    public GradientFidelity MeasureFidelity(IEnumerable<Func<Tensor>> losses)
    {
        ArgumentNullException.ThrowIfNull(losses);
        return GradientFidelity.Measure(model, losses, compressed =>
        {
            Store.Enabled = compressed;
            return new Reenabled(Store);
        });
    }

    /// <summary>
    /// Runs a forward pass, of which a few examples will do, so that the first step knows already which maps others follow from. Buffers
    /// and the CPU's random state are left as they were found.
    /// </summary>
    /// <param name="forward">Runs the model as the steps will; its result is disposed.</param>
    internal void LearnSources(Func<Tensor> forward)
    {
        if (!Store.LearnsSources) return;
        using var scope = NewDisposeScope();
        using var randomBefore = RandomState.Get(CPU);
        using var buffers = new KeptBuffers(model.buffers());
        try { forward().Dispose(); }
        finally
        {
            buffers.Restore();
            RandomState.Set(CPU, randomBefore);
        }
    }

    sealed class Reenabled(ActivationStore store) : IDisposable
    {
        public void Dispose() => store.Enabled = true;
    }

    /// <summary>Ends the compression and removes every hook. Maps that are still held can still be rebuilt.</summary>
    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        Newcomers.Remove(this);
        Store.EndTimelines();
        foreach (var scope in followed.Values) scope?.Dispose();
        inCall.Value?.Dispose();
        End();
    }

    void End()
    {
        Store.End();
        Budget?.End();
        intermediates?.Dispose();
        watch.Dispose();
        run.Dispose();
        inCall.Dispose();
        followed.Dispose();
    }
}
