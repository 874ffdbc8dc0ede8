using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// Gradients of one type and device that are sent together once all of them are complete: the parameters at <paramref name="members"/>.
/// </summary>
/// <param name="parameters">All parameters.</param>
/// <param name="members">Their places.</param>
/// <param name="sent">The type in which they are sent.</param>
/// <param name="from">The device whose memory they are sent from.</param>
sealed class GradientBucket(IReadOnlyList<Tensor> parameters, IReadOnlyList<int> members, ScalarType sent, Device from)
{
    Tensor? buffer;
    Communication.Pending? pending;
    int missing = members.Count;
    bool gathered;

    public IReadOnlyList<int> Members => members;

    /// <summary>Whether all of its gradients are complete.</summary>
    public bool IsComplete => missing == 0;

    /// <summary>Bytes that travel.</summary>
    public long Bytes { get; } =
        members.Sum(member => parameters[member].numel()) * (sent == ScalarType.Float64 ? sizeof(double) : sizeof(float));

    /// <summary>Bytes that it takes beside the gradients while it travels.</summary>
    public long HeldBytes => gathered ? Bytes : 0;

    /// <summary>Bytes that it will take: none where it is one gradient that is sent from where it lies.</summary>
    public long BytesToHold
    {
        get
        {
            using var asItIs = WhereItLies();
            return asItIs is null ? Bytes : 0;
        }
    }

    /// <summary>One more gradient is complete.</summary>
    public void Complete() => missing--;

    /// <summary>A new pass begins.</summary>
    public void Reset()
    {
        buffer?.Dispose();
        (buffer, pending, missing, gathered) = (null, null, members.Count, false);
    }

    /// <summary>Gathers the gradients, zeros where there are none, and has <paramref name="send"/> send them.</summary>
    public void Begin(Func<Tensor, Communication.Pending> send)
    {
        using var untracked = no_grad();
        buffer = WhereItLies() ?? Gathered();
        pending = send(buffer);
    }

    // A single gradient that can be sent as it is.
    Tensor? WhereItLies()
    {
        if (members.Count > 1) return null;
        using var gradient = parameters[members[0]].grad;
        if (gradient is null || gradient.dtype != sent || !IsThere(gradient)) return null;
        if (!gradient.is_contiguous() || gradient.is_sparse) return null;
        return gradient.detach().DetachFromDisposeScope();
    }

    bool IsThere(Tensor gradient) => gradient.device_type == from.type && gradient.device_index == from.index;

    Tensor Gathered()
    {
        gathered = true;
        var flat = zeros([members.Sum(member => parameters[member].numel())], sent, from).DetachFromDisposeScope();
        ForEach(flat, (parameter, part) =>
        {
            using var gradient = parameter.grad;
            if (gradient is not null) part.copy_(gradient);
        });
        return flat;
    }

    // part: as the parameter, a view of what travels
    void ForEach(Tensor flat, Action<Tensor, Tensor> act)
    {
        long from = 0;
        foreach (var member in members)
        {
            var parameter = parameters[member];
            using Tensor line = flat.narrow(0, from, parameter.numel()), part = line.view(parameter.shape);
            act(parameter, part);
            from += parameter.numel();
        }
    }

    /// <summary>What it is back with, once it has begun.</summary>
    public Communication.Pending Pending => pending!;

    /// <summary>Brings the means back into the gradients.</summary>
    /// <param name="isUsed">Whether any rank has a gradient of the parameter at a place; where none has, it stays without.</param>
    public void Scatter(Func<int, bool> isUsed)
    {
        using var untracked = no_grad();
        if (gathered)
        {
            var place = 0;
            ForEach(buffer!, (parameter, part) =>
            {
                if (!isUsed(members[place++])) return;
                using var gradient = parameter.grad;
                if (gradient is not null) gradient.copy_(part);
                else parameter.grad = part.to(parameter.dtype, parameter.device, copy: true);
            });
        }
        Reset();
    }
}
