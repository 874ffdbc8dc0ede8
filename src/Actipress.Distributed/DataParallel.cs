using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// One network trained by several processes, from <see cref="DataParallelExtensions.DataParallel"/> until <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// A gradient is sent as soon as it is complete, while the backward pass continues with other layers. When <c>backward()</c> returns, each
/// parameter's gradient is the mean over the ranks' gradients, with those that were accumulated under <see cref="NoSync"/>. A rank without
/// a gradient of a parameter counts as zeros. Where no rank has one, the parameter stays without a gradient.
/// </remarks>
public sealed class DataParallel : IDisposable
{
    readonly nn.Module model;
    readonly Ranks ranks;
    readonly (string Name, TorchSharp.Modules.Parameter Parameter)[] parameters;
    readonly Action? endWatch;
    readonly BackwardReduction? reduction;
    bool disposed;

    internal DataParallel(nn.Module model, Ranks ranks, DataParallelOptions options)
    {
        (this.model, this.ranks) = (model, ranks);
        parameters = [.. model.named_parameters()];
        if (ranks.Communication is null) return;
        ranks.Agree(Describe(options));
        foreach (var tensor in parameters.Select(named => (Tensor)named.Parameter).Concat(model.buffers())) ranks.Broadcast(tensor);
        reduction = new(ranks, parameters, options.Buffers == BuffersOfRanks.Averaged
            ? [.. model.named_buffers().Where(named => named.buffer.is_floating_point())] : [], options);
        endWatch = ForwardHooks.Before(model, Check);
    }

    string Describe(DataParallelOptions options) => string.Join('\n',
        [
            $"a model of {parameters.Length} parameters", $"{options}",
            .. parameters.Select(named => $"parameter {Describe(named.Name, named.Parameter)}{Frozen(named.Parameter)}"),
            .. model.named_buffers().Select(named => $"buffer {Describe(named.name, named.buffer)}"),
        ]);

    static string Frozen(Tensor parameter) => parameter.requires_grad ? "" : ", frozen";

    static string Describe(string name, Tensor tensor) => $"{name} {Ranks.Describe(tensor)}";

    // A parameter that replaces another one has no hook, and its gradient would silently stay the rank's own.
    void Check()
    {
        var place = 0;
        foreach (var (name, parameter) in model.named_parameters())
            if (place >= parameters.Length || !ReferenceEquals(parameter, parameters[place++].Parameter))
                throw new InvalidOperationException($"Parameter {name} was replaced or added after DataParallel, so that other ranks " +
                    $"would not get its gradient: wanted the parameters that the model had. Move, load and change the model first.");
    }

    /// <summary>
    /// The number of reduced passes, the bytes that this rank sent, the time of reducing, and the time for which backward passes waited.
    /// </summary>
    public ReductionFigures Figures => reduction?.Figures ?? default;

    /// <summary>
    /// Until the result is disposed, backward passes accumulate this rank's own gradients and send nothing. Every rank must call it.
    /// </summary>
    public IDisposable NoSync() => new Apart(reduction);

    sealed class Apart : IDisposable
    {
        BackwardReduction? reduction;

        public Apart(BackwardReduction? reduction)
        {
            this.reduction = reduction;
            if (reduction is not null) reduction.Apart++;
        }

        public void Dispose()
        {
            if (reduction is not null) reduction.Apart--;
            reduction = null;
        }
    }

    /// <summary>Ends the common training; each rank's gradients are its own from now on.</summary>
    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        endWatch?.Invoke();
        reduction?.Dispose();
    }
}

/// <summary>The cost of reducing gradients so far.</summary>
/// <param name="Passes">The number of backward passes that were reduced.</param>
/// <param name="Bytes">The number of bytes that this rank sent.</param>
/// <param name="Messages">The number of messages.</param>
/// <param name="BufferBytes">The largest number of bytes that buckets took at one time beside the gradients.</param>
/// <param name="Reducing">The sum of the times from the begin to the end of each reduction.</param>
/// <param name="Waiting">
/// The sum of the times for which backward passes waited for reductions. Where another rank's pass is slower, it includes the wait for it.
/// </param>
public readonly record struct ReductionFigures(long Passes, long Bytes, long Messages, long BufferBytes, TimeSpan Reducing,
    TimeSpan Waiting)
{
    /// <summary>The share of the reducing time for which no backward pass waited: 1 - waiting / reducing, or 0 if that is less.</summary>
    public double Hidden => Reducing > TimeSpan.Zero ? Math.Clamp(1 - Waiting / Reducing, 0, 1) : 1;
}
