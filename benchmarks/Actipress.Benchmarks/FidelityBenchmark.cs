using static TorchSharp.torch;

namespace Actipress.Benchmarks;

/// <summary>The fidelity of a codec's gradients and its bytes, with every layer of a trained network compressed.</summary>
/// <param name="Network">The network.</param>
/// <param name="Codec">The codec, as in <see cref="ActivationCodec.Parse"/>.</param>
/// <param name="Adapted">Whether ratios were adapted to the kind of layer, as by default.</param>
/// <param name="BytesPerElement">The bytes kept for all saved maps together.</param>
/// <param name="Cosine">The cosine of the whole gradient to the exact one, as the mean over batches.</param>
/// <param name="NormRatio">The ratio of the norms of both gradients, as the mean over batches.</param>
public sealed record CodecFidelity(string Network, string Codec, bool Adapted, double BytesPerElement, double Cosine, double NormRatio);

/// <summary>Measures gradients.</summary>
public static class FidelityBenchmark
{
    /// <summary>Measures a codec on a trained network.</summary>
    /// <param name="subject">A trained network.</param>
    /// <param name="codec">The codec of every layer.</param>
    /// <param name="adapted">Whether ratios are adapted to the kind of layer.</param>
    /// <param name="batches">The number of batches.</param>
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
