using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// Averages gradients over ranks during a backward pass. libtorch reports when each gradient is complete. A bucket is sent when its last
/// gradient is complete, in the same order on every rank. At the end of the pass missing gradients are sent as zeros, followed by a flag
/// for each parameter whether the rank has a gradient, and the buffers. The means are then written back.
/// </summary>
/// <remarks>
/// The ranks agree before each bucket, because a module may talk within the pass too, and on another rank not take part in it.
/// </remarks>
sealed unsafe class BackwardReduction : IDisposable
{
    // The state of one pass on the communication thread. After a refusal it skips the pass's remaining operations.
    sealed class Pass
    {
        public volatile RanksException? Refusal;
    }

    readonly Ranks ranks;
    readonly (string Name, TorchSharp.Modules.Parameter Parameter)[] parameters;
    readonly (string Name, Tensor Tensor)[] buffers;
    readonly Tensor[] known;
    readonly DataParallelOptions options;
    readonly Lock one = new();
    GCHandle self;
    GradientBucket[] buckets = [];
    readonly bool[] wanted;
    readonly GradientBucket?[] bucketOf;
    Pass current = new();
    int graph = -1, begun, back;
    long passes, bytes, messages, held, mostHeld, waited;
    long reducing;    // written by the communication thread
    Exception? failure;
    bool broken;

    public BackwardReduction(Ranks ranks, (string Name, TorchSharp.Modules.Parameter Parameter)[] parameters,
        (string Name, Tensor Tensor)[] buffers, DataParallelOptions options)
    {
        (this.ranks, this.parameters, this.buffers, this.options) = (ranks, parameters, buffers, options);
        (wanted, bucketOf) = (new bool[parameters.Length], new GradientBucket?[parameters.Length]);
        known = Array.ConvertAll(buffers, buffer => buffer.Tensor.detach().clone().DetachFromDisposeScope());
        foreach (var (name, parameter) in parameters)
            if (parameter.requires_grad && Ranks.TypeSent(parameter.dtype) is null) throw new ArgumentException($"Parameter {name}: " +
                $"found {parameter.dtype}, wanted a type of floating-point numbers that can be averaged.");
        foreach (var (_, parameter) in parameters) ranks.Open(parameter.device);
        self = GCHandle.Alloc(this);
        for (var i = 0; i < parameters.Length; i++)
        {
            var place = i;
            GradientHook.Set(parameters[i].Parameter, () => Completed(place));
        }
    }

    /// <summary>The number of open <c>NoSync</c> scopes.</summary>
    public int Apart { get; set; }

    public ReductionFigures Figures =>
        new(passes, bytes, messages, mostHeld, Time(Interlocked.Read(ref reducing)), Time(waited));

    static TimeSpan Time(long ticks) => Stopwatch.GetElapsedTime(0, ticks);

    // libtorch calls this within a backward pass, on the thread that runs this part of it. It must not throw.
    void Completed(int place)
    {
        if (Apart > 0) return;
        lock (one)
        {
            try
            {
                if (graph != LibTorch.CurrentBackward) BeginPass();
                if (failure is not null) return;
                bucketOf[place]!.Complete();
                while (begun < buckets.Length && buckets[begun].IsComplete) Send(buckets[begun++]);
            }
            catch (Exception thrown) { Fail(thrown); }
        }
    }

    void BeginPass()
    {
        var unfinished = graph >= 0;
        graph = LibTorch.CurrentBackward;
        LibTorch.AtEndOfBackward(GCHandle.ToIntPtr(self), 0, (nint)(delegate* unmanaged[Cdecl]<nint*, void>)&Ended);
        if (broken) return;    // the failure stays
        (begun, back, held, failure, current) = (0, 0, 0, null, new());
        if (unfinished)
            throw new RanksException("The backward pass before this one did not come to its end on this rank, so that other ranks wait " +
                "for its gradients: wanted every backward pass to end on every rank, or the process to end.");
        Plan();
        var (pass, description) = (current, $"backward pass {++passes} over {wanted.Count(one => one)} parameters");
        ranks.Communication!.Begin(() => Agree(pass, description));
    }

    void Agree(Pass pass, string description)
    {
        try { ranks.AgreeHere(description); }
        catch (RanksException different)
        {
            pass.Refusal = different;
            throw;
        }
    }

    // Buckets are filled from the last parameter to the first, because a backward pass completes gradients in this order.
    void Plan()
    {
        var now = Array.ConvertAll(parameters, named => named.Parameter.requires_grad);
        if (buckets.Length > 0 && now.AsSpan().SequenceEqual(wanted))
        {
            foreach (var bucket in buckets) bucket.Reset();
            return;
        }
        now.CopyTo(wanted, 0);
        var tensors = Array.ConvertAll(parameters, named => (Tensor)named.Parameter);
        var made = new List<GradientBucket>();
        foreach (var kind in Enumerable.Range(0, parameters.Length).Reverse().Where(i => wanted[i]).GroupBy(Kind))
        {
            var (members, size, from) = (new List<int>(), 0L, ranks.Reached(tensors[kind.First()].device));
            foreach (var i in kind)
            {
                var own = tensors[i].numel() * (kind.Key.Type == ScalarType.Float64 ? sizeof(double) : sizeof(float));
                if (own >= options.BucketBytes)
                {
                    made.Add(new(tensors, [i], kind.Key.Type, from));
                    continue;
                }
                if (size + own > options.BucketBytes) Close();
                members.Add(i);
                size += own;
            }
            Close();

            void Close()
            {
                if (members.Count > 0) made.Add(new(tensors, [.. members], kind.Key.Type, from));
                (members, size) = ([], 0);
            }
        }
        (ScalarType Type, DeviceType, int) Kind(int i) =>
            (Ranks.TypeSent(tensors[i].dtype)!.Value, tensors[i].device_type, tensors[i].device_index);

        // Buckets are sent in the order in which their last gradients are completed.
        buckets = [.. made.OrderByDescending(bucket => bucket.Members.Min())];
        foreach (var bucket in buckets)
            foreach (var member in bucket.Members) bucketOf[member] = bucket;
    }

    void Send(GradientBucket bucket)
    {
        var room = bucket.BytesToHold;
        while (held > 0 && held + room > options.MostBucketBytes && back < buckets.Length && buckets[back].IsComplete)
            Return(buckets[back++]);
        bytes += bucket.Bytes;
        messages++;
        var description = $"gradients {begun} of {buckets.Length} of backward pass {passes}";
        bucket.Begin(flat => Reduce(flat, description));
        mostHeld = Math.Max(mostHeld, held += bucket.HeldBytes);
    }

    Communication.Pending Reduce(Tensor flat, string description)
    {
        var (pass, reduce) = (current, ranks.Reduce(flat, ReduceOp.Avg));
        return ranks.Communication!.Begin(() =>
        {
            if (pass.Refusal is { } refusal) throw refusal;
            Agree(pass, description);
            var begin = Stopwatch.GetTimestamp();
            reduce();
            Interlocked.Add(ref reducing, Stopwatch.GetTimestamp() - begin);
        });
    }

    void Return(GradientBucket bucket, Func<int, bool> isUsed)
    {
        Wait(bucket.Pending);
        held -= bucket.HeldBytes;
        bucket.Scatter(isUsed);
    }

    // A complete bucket has every gradient.
    void Return(GradientBucket bucket) => Return(bucket, _ => true);

    void Wait(Communication.Pending pending)
    {
        var begin = Stopwatch.GetTimestamp();
        pending.Wait();
        waited += Stopwatch.GetTimestamp() - begin;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Ended(nint* words)
    {
        var reduction = (BackwardReduction)GCHandle.FromIntPtr(words[0]).Target!;
        lock (reduction.one)
        {
            try
            {
                if (reduction.failure is null) reduction.EndPass();
            }
            catch (Exception thrown) { reduction.Fail(thrown); }
            reduction.graph = -1;
            if (reduction.failure is null) return;
            UnpackFailures.FailBackward(reduction.failure, "ranks differ");
        }
    }

    void EndPass()
    {
        using var untracked = no_grad();
        while (begun < buckets.Length) Send(buckets[begun++]);
        // These few numbers are the last that every rank sends, however far each rank came within the pass.
        using var numbers = Numbers();
        var last = Reduce(numbers, $"the end of backward pass {passes}");
        while (back < buckets.Length && buckets[back].IsComplete) Return(buckets[back++]);
        Wait(last);
        var means = numbers.data<double>().ToArray();
        while (back < buckets.Length) Return(buckets[back++], place => means[place] > 0);
        ReturnBuffers(numbers);
    }

    // A 1 for each parameter of which this rank has a gradient, followed by the buffers.
    Tensor Numbers()
    {
        var numbers = zeros([parameters.Length + buffers.Sum(buffer => buffer.Tensor.numel())], float64);
        var has = new double[parameters.Length];
        for (var i = 0; i < has.Length; i++)
        {
            using var gradient = parameters[i].Parameter.grad;
            has[i] = gradient is null ? 0 : 1;
        }
        using (Tensor flags = from_array(has), place = numbers.narrow(0, 0, has.Length)) place.copy_(flags);
        ForEachBuffer(numbers, (_, buffer, part) => part.copy_(buffer));
        return numbers;
    }

    void ReturnBuffers(Tensor numbers) => ForEachBuffer(numbers, (place, buffer, part) =>
    {
        using (Tensor same = buffer.eq(known[place]), all = same.all())
            if (all.item<bool>()) return;    // a frozen buffer, which rounding must not change
        // libtorch's batch norm does not count a change of its running statistics either: a graph that waits for its own backward pass
        // holds them, and does not read them.
        using (var values = IsRunningStatistic(buffers[place].Name) ? LibTorch.SameMemory(buffer) : buffer.alias()) values.copy_(part);
        known[place].copy_(part);
    });

    static bool IsRunningStatistic(string name) => name.Split('.')[^1] is "running_mean" or "running_var";

    void ForEachBuffer(Tensor numbers, Action<int, Tensor, Tensor> act)
    {
        long from = parameters.Length;
        for (var i = 0; i < buffers.Length; i++)
        {
            var buffer = buffers[i].Tensor;
            using Tensor line = numbers.narrow(0, from, buffer.numel()), part = line.view(buffer.shape);
            act(i, buffer, part);
            from += buffer.numel();
        }
    }

    // After a refusal that all ranks know, they can continue with another pass. After any other failure, pending operations may still write
    // into memory.
    void Fail(Exception thrown)
    {
        failure ??= thrown;
        broken |= thrown is not RanksException { IsShared: true };
    }

    public void Dispose()
    {
        foreach (var (_, parameter) in parameters)
            if (!parameter.IsInvalid) GradientHook.Set(parameter, null);
        foreach (var buffer in known) buffer.Dispose();
        if (broken) return;    // a pending operation may still write into a bucket
        foreach (var bucket in buckets) bucket.Reset();
        self.Free();
    }
}
