namespace Actipress.Experiments;

/// <summary>
/// What the paper's own storage holds after a forward pass, from the tensors that the pass saves: 12 bytes a kept coefficient (an int64
/// position, a float32 value), k = floor(N / ratio) of them, once for each save. A saved storage goes only where every save of it is
/// compressed.
/// </summary>
/// <param name="trace">Of the plain network.</param>
/// <param name="targetBytes">The target, which is held beside input and output.</param>
/// <param name="covered">Which layers' saves are compressed.</param>
sealed class PaperStorage(ForwardTrace trace, long targetBytes, Func<Layer, bool> covered)
{
    const int CoefficientBytes = sizeof(long) + sizeof(float);

    readonly TracedSave[] compressed = [.. trace.Maps.Where(save => save.Type == torch.ScalarType.Float32 && covered(save.Layer))];

    /// <summary>M_BL: the plain network.</summary>
    public long BaselineBytes => trace.AfterForwardBytes + targetBytes;

    /// <summary>M_O: what is left where compressed saves cost nothing.</summary>
    public long OthersBytes => BaselineBytes - FreedBytes;

    /// <summary>M: what is held with compression at <paramref name="ratio"/>.</summary>
    public long AfterForwardBytes(double ratio) => OthersBytes + compressed.Sum(save => CoefficientBytes * (long)(save.Elements / ratio));

    // The output is held by its caller.
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
