using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>What a network has learnt of the scans that it was trained on, as far as predicting others needs it.</summary>
/// <param name="Preparation">What was done with each.</param>
/// <param name="Window">Depth, height and width of what it saw at once.</param>
/// <param name="Relabelling">What is written in label files for its classes.</param>
/// <param name="ClassNames">Background first; null where nothing told.</param>
/// <param name="ChannelNames">In its inputs' order; null where nothing told.</param>
public sealed record ScanDescription(
    Preparation Preparation, IReadOnlyList<int> Window, Relabelling Relabelling, IReadOnlyList<string>? ClassNames,
        IReadOnlyList<string>? ChannelNames);
