using Actipress.Distributed.Mpi;

namespace Actipress.Distributed;

/// <summary>What ranks do together in the memory of a GPU each.</summary>
abstract class DeviceCollectives(TorchStream stream)
{
    /// <summary>Of this rank's GPU.</summary>
    protected TorchStream Stream { get; } = stream;

    /// <summary>An event that comes when torch has written what it was told to so far; on the thread that told it.</summary>
    public nint Mark() => Stream.Mark();

    /// <summary>Reduces in place when the event has come, and returns when that is done; on the thread that talks.</summary>
    /// <param name="flat">Contiguous.</param>
    /// <param name="operation">A mean is a sum of what was divided before.</param>
    /// <param name="after">From <see cref="Mark"/>; freed.</param>
    /// <param name="patience">How long the others may take.</param>
    public abstract void AllReduce(Tensor flat, ReduceOp operation, nint after, TimeSpan patience);

    /// <summary>Overwrites with what rank <paramref name="root"/> has, likewise.</summary>
    public abstract void Broadcast(Tensor flat, int root, nint after, TimeSpan patience);
}

/// <summary>By an MPI library that takes addresses of a GPU's memory.</summary>
sealed class CudaAwareMpi(MpiCollectives collectives, TorchStream stream) : DeviceCollectives(stream)
{
    public override void AllReduce(Tensor flat, ReduceOp operation, nint after, TimeSpan patience)
    {
        Stream.WaitFor(after);
        collectives.AllReduce(Autograd.LibTorch.Data(flat), flat.numel(), flat.dtype, flat.ElementSize, operation, patience);
    }

    public override void Broadcast(Tensor flat, int root, nint after, TimeSpan patience)
    {
        Stream.WaitFor(after);
        collectives.Broadcast(Autograd.LibTorch.Data(flat), Autograd.TensorMemory.Bytes(flat), root, patience);
    }
}
