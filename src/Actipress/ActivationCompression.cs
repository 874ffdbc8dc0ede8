using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// The compression of one model's activation maps, from
/// <see cref="CompressActivationsExtensions.CompressActivations(nn.Module, ActivationCodec)"/> until <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// A saved map belongs to the layer whose parameter its operation uses. A map of an operation without parameters belongs to the operation's
/// own layer, or is listed after the last layer. This holds under <c>call</c> and <c>forward</c>, on any thread. Under <c>forward</c>
/// nothing marks the end of the model: maps that are saved after its last layer with parameters, such as a loss's, pass as they are. In the
/// first step this layer is known once each layer has run; where some layers never run, it is known from the second step on.
/// </remarks>
public sealed class ActivationCompression : IFollowing, ITimedTraining, IDisposable
{
    readonly nn.Module model;
    readonly ModelLayers layers;
    readonly LayerWatch watch;
    readonly ModelRun run;
    readonly IntermediateTensors? intermediates;
    readonly ThreadLocal<SavedTensorsScope?> inCall = new(), followed = new(trackAllValues: true);
    readonly List<StepInBackward> stepping = [];
    bool disposed;

    internal ActivationCompression(nn.Module model, CompressionOptions options)
    {
        SavedTensors.SelfCheck();
        this.model = model;
        layers = new ModelLayers(model);
        options.Check(layers.All);
        if (options.BudgetGiven is var (bytes, of))
            Budget = new MemoryBudget(
                bytes, of, options, model, of == BudgetOf.Maps ? () => Start(new(this, followsAllocator: false)) : StartTimeline);
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

    // A scope for forward passes that TorchSharp's hooks do not report. Where another compression observes this thread too, the two
    // alternate.
    void Follow()
    {
        if (followed.Value is { HasEnded: false } known && known == SavedTensorsScope.Active) return;
        followed.Value?.Dispose();
        followed.Value = SavedTensorsScope.Enter(Store);
    }

    /// <summary>The budget of the options, with the result of the last step; null where there is none.</summary>
    public MemoryBudget? Budget { get; }

    /// <summary>The fidelity of the options, with the chosen codecs; null where there is none.</summary>
    public KeptFidelity? Fidelity { get; }

    /// <summary>Measures the next steps again, and chooses the codecs anew. A trained network needs only coarser codecs.</summary>
    /// <exception cref="InvalidOperationException">The options have no fidelity.</exception>
    public void MeasureAgain() =>
        (Fidelity ?? throw new InvalidOperationException("No fidelity is kept: found none, wanted "
            + $"options.{nameof(CompressionOptions.KeepFidelity)}.")).Again();

    /// <summary>
    /// Raised once for each note to the user, when the backward pass begins that first shows it: a rule that decided nothing, an unknown
    /// operation, maps that stay alive, a gradient that is likely bad. <see cref="Report"/> has the same notes.
    /// </summary>
    /// <remarks>Handlers run within <c>backward()</c>, on its thread. An exception of a handler is recorded, and stops nothing.</remarks>
    public event Action<string>? Noted
    {
        add => Store.Noted += value;
        remove => Store.Noted -= value;
    }

    /// <summary>The bytes currently held in place of saved maps; zero after <c>backward()</c>.</summary>
    public long LiveBytes => Store.LiveBytes;

    /// <summary>
    /// Runs <c>loss.backward()</c>. Where it fails because a map could not be rebuilt, it throws the cause with the layer's name.
    /// </summary>
    /// <param name="loss">A scalar; not disposed.</param>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    public void Backward(Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        Store.ForgetFailures();
        if (Fidelity is { IsMeasuring: true })
            Fidelity.Measure(loss, [.. model.named_parameters().Where(named => named.parameter.requires_grad)]);
        SavedTensors.Backward(loss);
    }

    /// <summary>
    /// From now on each backward pass steps the optimizer: for each parameter as soon as its gradient is whole. The gradient is freed after
    /// the step, so that few gradients exist at the same time, and none after the pass.
    /// </summary>
    /// <remarks>
    /// The training loop may stay as it is: <c>optimizer.step()</c> and <c>optimizer.zero_grad()</c> find no gradients. What needs the
    /// gradients of all parameters after the pass, such as clipping by their norm or accumulation over several passes, finds none either.
    /// Parameters that are added to the optimizer later keep their gradients, for <c>optimizer.step()</c>. A parameter without a gradient
    /// in a pass stays as it is. After a step outside of the pass, TorchSharp's <c>zero_grad()</c> leaves it a gradient of zeros, by which
    /// momentum and decay still move it.
    /// </remarks>
    /// <param name="optimizer">The optimizer; not disposed. Gradients that its parameters have now are freed.</param>
    /// <returns>The steps, until they are disposed, or this compression is.</returns>
    /// <exception cref="ArgumentException">
    /// The optimizer cannot step one parameter without the others, as LBFGS, or has a parameter more than once.
    /// </exception>
    /// <exception cref="InvalidOperationException">
    /// The gradient of a parameter has another user within the backward pass: such steps already, or averaging over ranks.
    /// </exception>
    /// <exception cref="PlatformNotSupportedException">libtorch does not tell here when a gradient is whole.</exception>
    public IDisposable StepInBackward(optim.Optimizer optimizer)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        ObjectDisposedException.ThrowIf(disposed, this);
        var steps = new StepInBackward(optimizer);
        stepping.RemoveAll(ended => ended.HasEnded);
        stepping.Add(steps);
        return steps;
    }

    /// <summary>
    /// Starts to record the allocator's level, with the layer of each allocation, until the caller disposes the timeline.
    /// </summary>
    /// <exception cref="PlatformNotSupportedException">libtorch's allocator is not the known one.</exception>
    /// <exception cref="NotSupportedException">The model is not on the CPU.</exception>
    public MemoryTimeline StartTimeline()
    {
        if (model.parameters().FirstOrDefault(parameter => parameter.device_type != DeviceType.CPU) is { } elsewhere)
            throw new NotSupportedException($"A timeline follows the CPU's allocator: found parameters on {elsewhere.device}, wanted all "
                + $"on the CPU. {nameof(AllocatorMeter)}.{nameof(AllocatorMeter.Start)} with a device gives a GPU's levels and peak.");
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

    /// <summary>The maps that the last step saved, and what was kept of them, by layer.</summary>
    public CompressionReport Report()
    {
        var report = Store.Report();
        return report with
        {
            Notes =
            [
                .. report.Notes, .. Budget is null ? (string[])[] : [$"{Budget}"], .. Fidelity is null ? (string[])[] : [$"{Fidelity}"],
            ],
        };
    }

    /// <summary>
    /// Measures how near the gradients of one batch are to the exact gradients. Runs <paramref name="loss"/> and its backward pass once
    /// without and once with compression, from the same random state. Gradients, buffers and the CPU's random state are restored. One batch
    /// gives neither bias nor noise, which take several batches.
    /// </summary>
    /// <param name="loss">
    /// Makes the scalar loss of one batch. The result is disposed, and so are tensors that the function leaves undisposed.
    /// </param>
    public GradientFidelity MeasureFidelity(Func<Tensor> loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        return MeasureFidelity([loss]);
    }

    /// <summary>
    /// Measures how near the gradients of several batches are to the exact gradients, with the same parameters for all. Runs each loss and
    /// its backward pass once without and once with compression, from the same random state. The first loss runs once more before, with
    /// compression, because the first step decides how finely some maps are held later. Gradients, buffers and the CPU's random state are
    /// restored. This takes the memory of a step and of four copies of the parameters, for any number of batches.
    /// </summary>
    /// <param name="losses">
    /// Each function makes the scalar loss of one batch. It is called twice, and the first function three times. The result is disposed,
    /// and so are tensors that the function leaves undisposed. The enumeration may make each batch on demand.
    /// </param>
    /// <exception cref="ArgumentException">There is no loss, or a loss is null.</exception>
    public GradientFidelity MeasureFidelity(IEnumerable<Func<Tensor>> losses)
    {
        ArgumentNullException.ThrowIfNull(losses);
        foreach (var steps in stepping) steps.Enabled = false;
        try
        {
            return GradientFidelity.Measure(model, losses, compressed =>
            {
                Store.Enabled = compressed;
                return new Reenabled(Store);
            });
        }
        finally { foreach (var steps in stepping) steps.Enabled = true; }
    }

    /// <summary>
    /// Runs a forward pass, for which a few examples are enough, so that the first step already knows from which maps others follow.
    /// Buffers and the CPU's random state are restored.
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
        foreach (var steps in stepping) steps.Dispose();
        Store.End();
        Budget?.End();
        intermediates?.Dispose();
        watch.Dispose();
        run.Dispose();
        inCall.Dispose();
        followed.Dispose();
    }
}
