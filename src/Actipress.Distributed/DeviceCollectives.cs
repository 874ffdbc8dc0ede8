using Actipress.Distributed.Mpi;

namespace Actipress.Distributed;

/// <summary>Collective operations of ranks on the memory of their GPUs.</summary>
abstract class DeviceCollectives(TorchStream stream)
{
    /// <summary>The stream of this rank's GPU.</summary>
    protected TorchStream Stream { get; } = stream;

    /// <summary>Returns an event that completes when torch has done the work that this thread has queued so far.</summary>
    public nint Mark() => Stream.Mark();

    /// <summary>Reduces in place after the event, and returns when the reduction is done. Called on the communication thread.</summary>
    /// <param name="flat">A contiguous tensor.</param>
    /// <param name="operation">The reduction. For a mean, the tensor is divided before and summed here.</param>
    /// <param name="after">The event from <see cref="Mark"/>, which is freed.</param>
    /// <param name="patience">The longest time that the other ranks may take.</param>
    public abstract void AllReduce(Tensor flat, ReduceOp operation, nint after, TimeSpan patience);

    /// <summary>
    /// Overwrites the tensor with that of rank <paramref name="root"/> after the event. Called on the communication thread.
    /// </summary>
    public abstract void Broadcast(Tensor flat, int root, nint after, TimeSpan patience);
}

/// <summary>Collectives by an MPI library that accepts addresses of a GPU's memory.</summary>
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
