using static TorchSharp.torch;

namespace Actipress.Distributed.Mpi;

/// <summary>Collective operations on the CPU's memory, by MPI. They are called on the communication thread.</summary>
sealed class MpiCollectives(MpiLibrary mpi, nint communicator)
{
    // MPI's counts are ints. Pieces also let a wait reach its time limit.
    const long MostAtOnce = 1 << 28;

    /// <summary>Whether MPI knows numbers of this type.</summary>
    public static bool Knows(ScalarType type) =>
        type is ScalarType.Float32 or ScalarType.Float64
            or ScalarType.Byte or ScalarType.Int8 or ScalarType.Int16 or ScalarType.Int32 or ScalarType.Int64;

    nint TypeOf(ScalarType type) => type switch
    {
        ScalarType.Float32 => mpi.Handles.Float,
        ScalarType.Float64 => mpi.Handles.Double,
        ScalarType.Byte => mpi.Handles.UnsignedByte,
        ScalarType.Int8 => mpi.Handles.SignedByte,
        ScalarType.Int16 => mpi.Handles.Short,
        ScalarType.Int32 => mpi.Handles.Int,
        _ => mpi.Handles.Long,
    };

    nint OperationOf(ReduceOp operation) =>
        operation switch { ReduceOp.Min => mpi.Handles.Smallest, ReduceOp.Max => mpi.Handles.Largest, _ => mpi.Handles.Sum };

    /// <summary>Reduces in place. The caller divides for a mean.</summary>
    public void AllReduce(nint data, long elements, ScalarType type, long elementBytes, ReduceOp operation, TimeSpan patience)
    {
        for (long done = 0; done < elements; done += MostAtOnce)
            Finish(mpi.AllReduce(checked((nint)(data + done * elementBytes)), (int)Math.Min(MostAtOnce, elements - done), TypeOf(type),
                OperationOf(operation), communicator), "reduction", patience);
    }

    /// <summary>Overwrites the memory with that of rank <paramref name="root"/>.</summary>
    public void Broadcast(nint data, long bytes, int root, TimeSpan patience)
    {
        for (long done = 0; done < bytes; done += MostAtOnce)
            Finish(mpi.Broadcast(checked((nint)(data + done)), (int)Math.Min(MostAtOnce, bytes - done), mpi.Handles.Byte, root,
                communicator), "broadcast", patience);
    }

    void Finish(nint request, string what, TimeSpan patience)
    {
        if (!MpiWait.All(mpi, [request], patience)) throw new RanksException($"A {what} that all ranks had begun was not over " +
            $"after {patience.TotalSeconds:0.#} s: a rank hangs, or the network is down.");
    }
}
