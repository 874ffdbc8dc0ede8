using Actipress.Autograd;

namespace Actipress.Gpu;

/// <summary>
/// The bytes of some tensors of a GPU in the host's pinned memory. They are copied there and back on a stream of their own, while torch
/// computes. This stream waits for torch's stream, and torch's stream waits for it before the tensors are used again.
/// </summary>
sealed class HostMemory : IDisposable
{
    const long Alignment = 64;

    readonly CudaDevice gpu;
    readonly (long[] Shape, torch.ScalarType Type, long Bytes, long Start)[] parts;
    readonly long room;
    nint memory;

    /// <summary>
    /// Begins to copy tensors to the host. This object owns the tensors, and disposes them when the copy is complete. Where the constructor
    /// throws, the tensors stay the caller's.
    /// </summary>
    public HostMemory(CudaDevice gpu, IReadOnlyList<Tensor> tensors)
    {
        this.gpu = gpu;
        parts = new (long[], torch.ScalarType, long, long)[tensors.Count];
        for (var i = 0; i < parts.Length; i++)
        {
            var bytes = tensors[i].Bytes();
            parts[i] = (tensors[i].shape, tensors[i].dtype, bytes, room);
            room += (bytes + Alignment - 1) / Alignment * Alignment;
            Bytes += bytes;
        }
        memory = gpu.TakeOnHost(room);
        try
        {
            var moved = gpu.Aside(stream =>
            {
                for (var i = 0; i < parts.Length; i++)
                    gpu.Driver.CopyToHost(gpu.Context, memory + (nint)parts[i].Start, LibTorch.Data(tensors[i]), parts[i].Bytes, stream);
            });
            gpu.WhenDone(moved, () =>
            {
                foreach (var tensor in tensors) tensor.Dispose();
            });
        }
        catch
        {
            gpu.GiveOnHost(memory, room);
            throw;
        }
    }

    /// <summary>The bytes of the tensors.</summary>
    public long Bytes { get; }

    /// <summary>Copies the tensors back to the GPU; the caller disposes them.</summary>
    public Tensor[] Bring()
    {
        var tensors = new Tensor[parts.Length];
        try
        {
            for (var i = 0; i < parts.Length; i++) tensors[i] = torch.empty(parts[i].Shape, parts[i].Type, gpu.Device);
            var arrived = gpu.Aside(stream =>
            {
                for (var i = 0; i < parts.Length; i++)
                    gpu.Driver.CopyToDevice(gpu.Context, LibTorch.Data(tensors[i]), memory + (nint)parts[i].Start, parts[i].Bytes, stream);
            });
            gpu.Await(arrived);
            gpu.WhenDone(arrived, () => { });
            return tensors;
        }
        catch
        {
            foreach (var tensor in tensors) tensor?.Dispose();
            throw;
        }
    }

    /// <summary>Returns the memory when all copies so far are complete.</summary>
    public void Dispose()
    {
        var given = Interlocked.Exchange(ref memory, 0);
        if (given != 0) gpu.WhenDone(gpu.Aside(_ => { }), () => gpu.GiveOnHost(given, room));
    }
}
