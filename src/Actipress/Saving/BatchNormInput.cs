using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>The rebuilt input of a batch norm that used the batch's own statistics.</summary>
static class BatchNormInput
{
    /// <summary>
    /// Gives the channels of a rebuilt input the means that the forward pass found, which libtorch's backward pass takes for granted. The
    /// gradient by the input adds up to zero in each channel then. The layer before multiplies this sum by the mean of its own input, which
    /// may be far from zero.
    /// </summary>
    /// <param name="rebuilt">(examples, channels, ...); disposed, or returned.</param>
    /// <param name="means">The mean of each channel; not disposed.</param>
    /// <param name="mayChange">Whether nobody else reads <paramref name="rebuilt"/>.</param>
    /// <returns>The input, which the caller disposes.</returns>
    public static Tensor ForBackward(Tensor rebuilt, Tensor means, bool mayChange)
    {
        if (rebuilt.dtype != means.dtype || rebuilt.shape[1] != means.NumberOfElements) return rebuilt;
        using Tensor wanted = ChannelAxis.Along(rebuilt, means), down = wanted.neg();
        // Sums of values far from zero would lose the digits that count.
        var centred = mayChange ? rebuilt : rebuilt.clone();
        if (!mayChange) rebuilt.Dispose();
        centred.Add_(down);
        using Tensor left = centred.mean(ChannelAxis.Others(centred), keepdim: true), up = wanted.sub(left);
        return centred.Add_(up);
    }
}
