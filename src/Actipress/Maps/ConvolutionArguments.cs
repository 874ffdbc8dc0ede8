namespace Actipress.Maps;

/// <summary>The arguments of a convolution, beside its tensors. A list has a number for each spatial axis, or one for all.</summary>
/// <param name="Stride">The stride.</param>
/// <param name="Padding">The padding on both sides.</param>
/// <param name="Dilation">The dilation.</param>
/// <param name="IsTransposed">Whether it is a transposed convolution.</param>
/// <param name="OutputPadding">The output padding of a transposed convolution.</param>
/// <param name="Groups">The number of groups of channels.</param>
sealed record ConvolutionArguments(
    long[] Stride, long[] Padding, long[] Dilation, bool IsTransposed, long[] OutputPadding, long Groups)
{
    /// <summary>The same arguments with a number for each of so many axes in every list.</summary>
    public ConvolutionArguments OfAxes(int axes)
    {
        return this with
        {
            Stride = Each(Stride),
            Padding = Each(Padding),
            Dilation = Each(Dilation),
            OutputPadding = Each(OutputPadding),
        };

        long[] Each(long[] list) => list.Length == 1 ? [.. Enumerable.Repeat(list[0], axes)] : list;
    }

    /// <summary>The arguments for slabs along the first axis, which bring their rows of padding with them.</summary>
    public ConvolutionArguments OfSlabs => this with { Padding = [0, .. Padding[1..]] };

    /// <summary>The distance along the first axis between the first and the last row under a filter.</summary>
    /// <param name="weight">The filters: (output channels, input channels, spatial axes).</param>
    public long Reach(Tensor weight) => Dilation[0] * (weight.shape[2] - 1);
}
