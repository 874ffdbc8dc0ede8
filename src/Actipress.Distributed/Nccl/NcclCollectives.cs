using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Distributed.Nccl;

/// <summary>Collectives by NCCL, on a stream of their own.</summary>
sealed class NcclCollectives : DeviceCollectives
{
    readonly NcclLibrary nccl;
    readonly nint communicator;

    /// <param name="nccl">The library.</param>
    /// <param name="stream">The streams of this rank's GPU.</param>
    /// <param name="id">The unique id that rank 0 has made.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="size">The number of ranks.</param>
    /// <exception cref="RanksException">NCCL refuses, as where two ranks have the same GPU.</exception>
    public NcclCollectives(NcclLibrary nccl, TorchStream stream, byte[] id, int rank, int size) : base(stream)
    {
        this.nccl = nccl;
        using var entered = stream.Enter();
        communicator = nccl.Begin(id, rank, size);
    }

    // The values of ncclDataType_t, and of ncclRedOp_t: sum, product, largest, smallest.
    static int TypeOf(ScalarType type) => type switch
    {
        ScalarType.Int8 => 0,
        ScalarType.Byte => 1,
        ScalarType.Int32 => 2,
        ScalarType.Int64 => 4,
        ScalarType.Float32 => 7,
        ScalarType.Float64 => 8,
        _ => throw new ArgumentException($"NCCL has no numbers of {type}: wanted floating-point numbers, or integers of 8, 32 or 64 bits."),
    };

    static int OperationOf(ReduceOp operation) => operation switch { ReduceOp.Max => 2, ReduceOp.Min => 3, _ => 0 };

    public override void AllReduce(Tensor flat, ReduceOp operation, nint after, TimeSpan patience) =>
        Finish(after, queue => nccl.AllReduce(LibTorch.Data(flat), flat.numel(), TypeOf(flat.dtype), OperationOf(operation), communicator,
            queue), patience);

    public override void Broadcast(Tensor flat, int root, nint after, TimeSpan patience) =>
        Finish(after, queue => nccl.Broadcast(LibTorch.Data(flat), flat.Bytes(), TypeOf(ScalarType.Byte), root,
            communicator, queue), patience);

    void Finish(nint after, Action<nint> start, TimeSpan patience)
    {
        try
        {
            using var entered = Stream.Enter();
            var done = Stream.Aside(after, start);
            var backoff = new Backoff(patience);
            while (!Stream.HasCome(done))
            {
                nccl.ThrowIfFailed(communicator);
                if (!backoff.Pause()) throw new RanksException($"What all ranks had begun on their GPUs was not over " +
                    $"after {patience.TotalSeconds:0.#} s: a rank hangs, or the network is down.");
            }
        }
        catch (RanksException)
        {
            nccl.Abort(communicator);
            throw;
        }
    }

    /// <summary>Ends the communicator.</summary>
    public void End()
    {
        using var entered = Stream.Enter();
        nccl.End(communicator);
    }
}
