using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>How near a codec's gradients come, for how many bytes: every layer of a trained network compressed.</summary>
/// <param name="Network">Which.</param>
/// <param name="Codec">As in <see cref="ActivationCodec.Parse"/>.</param>
/// <param name="Adapted">Whether ratios followed the kind of layer, as by default.</param>
/// <param name="BytesPerElement">Kept, of all saved maps together.</param>
/// <param name="Cosine">Of the whole gradient against the exact one, mean over batches.</param>
/// <param name="NormRatio">Likewise.</param>
public sealed record CodecFidelity(string Network, string Codec, bool Adapted, double BytesPerElement, double Cosine, double NormRatio);

/// <summary>Measures gradients.</summary>
public static class FidelityBenchmark
{
    /// <summary>Measures a codec on a trained network.</summary>
    /// <param name="subject">Trained.</param>
    /// <param name="codec">For every layer.</param>
    /// <param name="adapted">Whether ratios follow the kind of layer.</param>
    /// <param name="batches">How many.</param>
    public static CodecFidelity Run(Subject subject, ActivationCodec codec, bool adapted, int batches)
    {
        ArgumentNullException.ThrowIfNull(subject);
        using var compression = subject.Model.CompressActivations(options => options.Default(codec).AdaptToLayers(adapted));
        subject.Model.train();
        double bytes = 0, elements = 0, cosine = 0, norms = 0;
        for (var batch = 0; batch < batches; batch++)
        {
            using var scope = NewDisposeScope();
            var (input, target) = subject.Examples(batch);
            var fidelity = compression.MeasureFidelity(() => subject.Loss(input, target));
            var report = compression.Report();
            bytes += report.KeptBytes;
            elements += report.SavedBytes / (double)sizeof(float);
            (cosine, norms) = (cosine + fidelity.Cosine, norms + fidelity.NormRatio);
        }
        return new(subject.Name, $"{codec}", adapted, bytes / elements, cosine / batches, norms / batches);
    }
}
