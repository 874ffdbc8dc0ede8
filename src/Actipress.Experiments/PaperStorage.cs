namespace Actipress.Experiments;

/// <summary>
/// The bytes of the paper's own storage after a forward pass, from the tensors that the pass saves. Each save takes 12 bytes a kept
/// coefficient (an int64 position, a float32 value), for k = floor(N / ratio) coefficients. A saved storage is freed only where every save
/// of it is compressed.
/// </summary>
/// <param name="trace">The trace of the plain network.</param>
/// <param name="targetBytes">The bytes of the target, which is held beside input and output.</param>
/// <param name="covered">Whether the saves of a layer are compressed.</param>
sealed class PaperStorage(ForwardTrace trace, long targetBytes, Func<Layer, bool> covered)
{
    const int CoefficientBytes = sizeof(long) + sizeof(float);

    readonly TracedSave[] compressed = [.. trace.Maps.Where(save => save.Type == torch.ScalarType.Float32 && covered(save.Layer))];

    /// <summary>M_BL: the plain network.</summary>
    public long BaselineBytes => trace.AfterForwardBytes + targetBytes;

    /// <summary>M_O: the plain network without the compressed saves.</summary>
    public long OthersBytes => BaselineBytes - FreedBytes;

    /// <summary>M: the bytes with compression at <paramref name="ratio"/>.</summary>
    public long AfterForwardBytes(double ratio) => OthersBytes + compressed.Sum(save => CoefficientBytes * (long)(save.Elements / ratio));

    // The caller holds the output.
    long FreedBytes
    {
        get
        {
            var held = trace.Maps.Except(compressed).Select(save => save.Storage).ToHashSet();
            if (trace.OutputStorage is { } output) held.Add(output);
            return compressed.Where(save => !held.Contains(save.Storage)).DistinctBy(save => save.Storage).Sum(save => save.StorageBytes);
        }
    }
}
