using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// Gradients of one type and device that are sent together once all of them are complete: the parameters at <paramref name="members"/>.
/// </summary>
/// <param name="parameters">All parameters.</param>
/// <param name="members">The indices of the bucket's parameters.</param>
/// <param name="sent">The type in which the gradients are sent.</param>
/// <param name="from">The device from whose memory the gradients are sent.</param>
sealed class GradientBucket(IReadOnlyList<Tensor> parameters, IReadOnlyList<int> members, ScalarType sent, Device from)
{
    Tensor? buffer;
    Communication.Pending? pending;
    int missing = members.Count;
    bool gathered;

    public IReadOnlyList<int> Members => members;

    /// <summary>Whether all gradients of the bucket are complete.</summary>
    public bool IsComplete => missing == 0;

    /// <summary>The number of bytes that are sent.</summary>
    public long Bytes { get; } =
        members.Sum(member => parameters[member].numel()) * (sent == ScalarType.Float64 ? sizeof(double) : sizeof(float));

    /// <summary>The number of bytes that the bucket takes beside the gradients while it is in transit.</summary>
    public long HeldBytes => gathered ? Bytes : 0;

    /// <summary>The number of bytes that the bucket will take: 0 for a single gradient that is sent in place.</summary>
    public long BytesToHold
    {
        get
        {
            using var asItIs = WhereItLies();
            return asItIs is null ? Bytes : 0;
        }
    }

    /// <summary>Called when one more gradient is complete.</summary>
    public void Complete() => missing--;

    /// <summary>Called when a new pass begins.</summary>
    public void Reset()
    {
        buffer?.Dispose();
        (buffer, pending, missing, gathered) = (null, null, members.Count, false);
    }

    /// <summary>Gathers the gradients, with zeros for missing ones, and passes them to <paramref name="send"/>.</summary>
    public void Begin(Func<Tensor, Communication.Pending> send)
    {
        using var untracked = no_grad();
        buffer = WhereItLies() ?? Gathered();
        pending = send(buffer);
    }

    // A single gradient is sent as it is, if possible.
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

    // part: a view of the sent tensor in the parameter's shape
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

    /// <summary>The pending operation that completes the bucket, once sending has begun.</summary>
    public Communication.Pending Pending => pending!;

    /// <summary>Copies the means into the gradients.</summary>
    /// <param name="isUsed">
    /// Whether any rank has a gradient of the parameter with an index. Without one the parameter stays without a gradient.
    /// </param>
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
