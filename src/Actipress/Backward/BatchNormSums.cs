namespace Actipress.Backward;

/// <summary>The sums over each channel that the backward pass of a batch norm needs, of the gradients g and the values x.</summary>
/// <param name="Gradients">sum(g).</param>
/// <param name="Products">sum(g (x - m)) with the mean m.</param>
/// <param name="Deviations">sum(x - m), which is zero where the values are exact and the mean is theirs.</param>
sealed record BatchNormSums(double[] Gradients, double[] Products, double[] Deviations)
{
    public BatchNormSums(int channels) : this(new double[channels], new double[channels], new double[channels]) { }

    /// <summary>sum(g (x - m - moved)): the products about a mean that is greater.</summary>
    public double ProductsAbout(int channel, double moved) => Products[channel] - moved * Gradients[channel];

    /// <summary>The sums over all processes.</summary>
    public BatchNormSums OfWholeBatch(SharedBatchNorm shared)
    {
        var channels = Gradients.Length;
        double[] all = [.. Gradients, .. Products, .. Deviations];
        shared.Sum(all);
        return new(all[..channels], all[channels..(2 * channels)], all[(2 * channels)..]);
    }
}
