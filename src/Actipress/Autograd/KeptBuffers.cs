using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>Copies of a model's buffers, such as batch norm's running statistics, from which the buffers can be restored.</summary>
sealed class KeptBuffers : IDisposable
{
    readonly (Tensor Buffer, Tensor Copy)[] buffers;

    public KeptBuffers(IEnumerable<Tensor> buffers)
    {
        using var untracked = no_grad();
        // A buffer that was made under inference mode cannot have changed, and cannot be written to.
        this.buffers = [.. buffers.Where(buffer => !LibTorch.IsInference(buffer)).Select(buffer => (buffer, buffer.clone()))];
    }

    /// <summary>Restores the values. This does not count as a change in place, because a graph may hold the buffers.</summary>
    public void Restore()
    {
        using var untracked = no_grad();
        foreach (var (buffer, copy) in buffers)
        {
            using var values = LibTorch.SameMemory(buffer);
            values.copy_(copy);
        }
    }

    public void Dispose()
    {
        foreach (var (_, copy) in buffers) copy.Dispose();
    }
}
