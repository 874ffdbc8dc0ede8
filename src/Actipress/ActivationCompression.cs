using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Compressed activation maps for one model, from <see cref="CompressActivationsExtensions.CompressActivations(nn.Module, ActivationCodec)"/>
/// until <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// Where the model or its layers are run by <c>call</c>, each saved map belongs to a layer, and only what the model itself saves is
/// compressed. TorchSharp tells nothing of <c>forward</c>: until the model is first seen under <c>call</c>, whatever the thread that
/// made the compression saves after one of the model's parameters, and before another model's, goes through the default codec, and
/// the report has it under "no layer known".
/// </remarks>
public sealed class ActivationCompression : IDisposable
{
    readonly nn.Module model;
    readonly SavingPolicy policy;
    readonly ActivationStore store;
    readonly LayerWatch watch;
    readonly ThreadLocal<SavedTensorsScope?> running = new();
    readonly SavedTensorsScope outsideCalls;
    bool disposed;

    internal ActivationCompression(nn.Module model, CompressionOptions options)
    {
        SavedTensors.SelfCheck();
        this.model = model;
        policy = new CompressingPolicy(options);
        if (options.BudgetGiven is var (bytes, of)) Budget = new MemoryBudget(bytes, of, options, model, of == BudgetOf.Maps ? () => Start(new(this, followsAllocator: false)) : StartTimeline);
        watch = new LayerWatch(model, StartForward, EndForward);
        try { options.Check(watch.Layers); }
        catch
        {
            watch.Dispose();
            Budget?.End();
            throw;
        }
        store = new ActivationStore(policy, () => watch.Current, module => watch.Of(module), everything: false) { Budget = Budget, OffloadsToHost = options.OffloadToHost };
        policy.Know(model);
        outsideCalls = SavedTensorsScope.Enter(store);
    }

    void StartForward()
    {
        if (watch.RootCalled) outsideCalls.Dispose();
        policy.Know(model);
        if (SavedTensorsScope.InCheckpoint) return;
        store.BeginStep();
        running.Value = SavedTensorsScope.Enter(store);
    }

    void EndForward()
    {
        running.Value?.Dispose();
        running.Value = null;
        store.EndForward();
    }

    /// <summary>The budget that was asked for, and how the last step kept to it; null where none was.</summary>
    public MemoryBudget? Budget { get; }

    /// <summary>Bytes held in place of saved maps at this moment; zero after <c>backward()</c>.</summary>
    public long LiveBytes => store.LiveBytes;

    /// <summary>Runs <c>loss.backward()</c>; where it fails because a map could not be rebuilt, throws the cause with the layer's name.</summary>
    /// <param name="loss">A scalar; not disposed.</param>
    /// <exception cref="CompressionException">A saved map could not be rebuilt.</exception>
    public void Backward(Tensor loss)
    {
        store.ForgetFailures();
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
        store.Add(timeline);
        return timeline;
    }

    internal void End(MemoryTimeline timeline) => store.Remove(timeline);

    internal Activity Activity => store.Activity;

    internal IEnumerable<(string Name, nint Address)> GradientAddresses()
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
        var report = store.Report();
        return Budget is null ? report : report with { Notes = [.. report.Notes, $"{Budget}"] };
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
    /// backward pass once without and once with compression, from the same random state. Gradients, buffers and the CPU's random state
    /// are left as they were found. Takes the memory of a step and of four copies of the parameters, however many batches there are.
    /// </summary>
    /// <param name="losses">
    /// Each makes the scalar loss of one batch and is called twice; the result is disposed, and so is what the function leaves undisposed.
    /// The enumeration may make each batch when it comes to it.
    /// </param>
    /// <exception cref="ArgumentException">There is no loss, or one is null.</exception>
    public GradientFidelity MeasureFidelity(IEnumerable<Func<Tensor>> losses)
    {
        ArgumentNullException.ThrowIfNull(losses);
        return GradientFidelity.Measure(model, losses, compressed =>
        {
            store.Enabled = compressed;
            return new Reenabled(store);
        });
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
        store.EndTimelines();
        Budget?.End();
        watch.Dispose();
        outsideCalls.Dispose();
        foreach (var scope in running.IsValueCreated ? new[] { running.Value } : []) scope?.Dispose();
        running.Dispose();
    }
}
