using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// One network trained by several processes, from <see cref="DataParallelExtensions.DataParallel"/> until <see cref="Dispose"/>.
/// </summary>
/// <remarks>
/// A gradient is sent as soon as it is complete, while the backward pass goes on to other layers; when <c>backward()</c> returns, each
/// parameter's gradient is the mean over ranks of what they had, also of what was accumulated under <see cref="NoSync"/>. A rank that has
/// no gradient of a parameter counts as zeros; where no rank has one, it stays without.
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
            ? [.. model.buffers().Where(buffer => buffer.is_floating_point())] : [], options);
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

    // A parameter that takes another's place has no hook, and its gradient would silently stay the rank's own.
    void Check()
    {
        var place = 0;
        foreach (var (name, parameter) in model.named_parameters())
            if (place >= parameters.Length || !ReferenceEquals(parameter, parameters[place++].Parameter))
                throw new InvalidOperationException($"Parameter {name} was replaced or added after DataParallel, so that other ranks " +
                    $"would not get its gradient: wanted the parameters that the model had. Move, load and change the model first.");
    }

    /// <summary>
    /// Passes that were reduced, bytes that this rank gave to each, and how long reducing took and backward passes waited for it.
    /// </summary>
    public ReductionFigures Figures => reduction?.Figures ?? default;

    /// <summary>
    /// Until the result is disposed, backward passes accumulate this rank's own gradients and send nothing. On every rank alike.
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

    /// <summary>Ranks train apart from here on.</summary>
    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        endWatch?.Invoke();
        reduction?.Dispose();
    }
}

/// <summary>What reducing gradients has cost so far.</summary>
/// <param name="Passes">Backward passes that were reduced.</param>
/// <param name="Bytes">What this rank gave to be reduced.</param>
/// <param name="Messages">In so many pieces.</param>
/// <param name="BufferBytes">The most that buckets have taken at one time beside the gradients.</param>
/// <param name="Reducing">Time from the begin to the end of each reduction, added up.</param>
/// <param name="Waiting">Time for which backward passes stood still for them, added up.</param>
public readonly record struct ReductionFigures(long Passes, long Bytes, long Messages, long BufferBytes, TimeSpan Reducing,
    TimeSpan Waiting)
{
    /// <summary>The share of the time of reducing that was hidden behind the backward pass.</summary>
    public double Hidden => Reducing > TimeSpan.Zero ? Math.Clamp(1 - Waiting / Reducing, 0, 1) : 1;
}
