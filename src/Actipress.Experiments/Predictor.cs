using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>Predicts whole scans with a trained segmentation network, window by window, in the scan's own voxels.</summary>
/// <param name="Model">The network in evaluation mode; not disposed.</param>
/// <param name="Scans">The description of the scans of its training.</param>
/// <param name="Classes">The number of channels of its output.</param>
/// <param name="Device">The device of the network.</param>
public sealed record Predictor(nn.Module<Tensor, Tensor> Model, ScanDescription Scans, int Classes, Device Device)
{
    /// <summary>Whether the network learnt from slices across the depth.</summary>
    public bool IsOfSlices { get; init; }

    /// <summary>
    /// Whether each window is also predicted mirrored along each axis and along several, and the predictions are added. This is eight times
    /// the work, and four times for slices.
    /// </summary>
    public bool Flips { get; init; }

    /// <summary>The least overlap of neighbouring windows, as a share of a window.</summary>
    public double Overlap { get; init; } = 0.5;

    /// <summary>Predicts a class for each voxel of a scan.</summary>
    /// <param name="scan">The scan as in its file.</param>
    /// <param name="cancellation">Ends the prediction between windows.</param>
    public ushort[] Predict(Example scan, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(scan);
        return Predict(scan, Scans.Preparation.Apply(scan with { Labels = [0] }), cancellation);
    }

    /// <summary>Predicts a scan that is already prepared.</summary>
    /// <param name="scan">The scan as in its file.</param>
    /// <param name="prepared">The result of <see cref="Preparation.Apply"/>.</param>
    /// <param name="cancellation">Ends the prediction between windows.</param>
    public ushort[] Predict(Example scan, Example prepared, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(scan);
        ArgumentNullException.ThrowIfNull(prepared);
        IReadOnlyList<int> window = IsOfSlices ? [1, .. Scans.Window.Skip(1)] : Scans.Window;
        var labels = new SlidingWindow(window) { Overlap = Overlap }.Predict(prepared, Classes, Run, cancellation);
        if (prepared.Extents.SequenceEqual(scan.Extents) && prepared.Affine?.Rows.SequenceEqual(scan.Affine!.Rows) != false) return labels;
        return (prepared with { Image = [], Labels = labels }).Onto(scan.Extents, scan.Affine!, Resample.BeyondSpacing).Labels;
    }

    Tensor Run(Tensor images)
    {
        using var moved = images.to(Device);
        if (!Flips) return Once(moved);
        var axes = IsOfSlices ? (long[])[3, 4] : [2, 3, 4];
        var sum = Once(moved);
        for (var which = 1; which < 1 << axes.Length; which++)
        {
            long[] mirrored = [.. axes.Where((_, axis) => (which >> axis & 1) == 1)];
            using Tensor turned = moved.flip(mirrored), output = Once(turned), back = output.flip(mirrored);
            using var before = sum;
            sum = before.Add(back);
        }
        return sum;
    }

    // Slices are windows one voxel deep.
    Tensor Once(Tensor images)
    {
        if (!IsOfSlices) return Model.call(images);
        using Tensor flat = images.squeeze(2), output = Model.call(flat);
        return output.unsqueeze(2);
    }
}
