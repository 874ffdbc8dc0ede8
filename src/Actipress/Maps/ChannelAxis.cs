namespace Actipress.Maps;

/// <summary>The axis of channels of a batch norm's input: (examples, channels, ...).</summary>
static class ChannelAxis
{
    /// <summary>The axes over which a batch norm takes its statistics: all but that of the channels.</summary>
    public static long[] Others(Tensor input) => [0, .. Enumerable.Range(2, (int)input.dim() - 2)];

    /// <summary>A view of numbers, one a channel, that is broadcast over an input; the caller disposes it.</summary>
    public static Tensor Along(Tensor input, Tensor numbers) =>
        numbers.view([1, -1, .. Enumerable.Repeat(1L, (int)input.dim() - 2)]);
}
