using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>The properties of the scans of a network's training that predicting other scans needs.</summary>
/// <param name="Preparation">The preprocessing of each scan.</param>
/// <param name="Window">The depth, height and width of a window.</param>
/// <param name="Relabelling">The numbers in label files for its classes.</param>
/// <param name="ClassNames">The names of the classes, background first; null where they are not known.</param>
/// <param name="ChannelNames">The names of the channels, in the order of its input; null where they are not known.</param>
/// <param name="Chosen">
/// The channels of its input among those of the scans, where these have others or another order; null for all, and where names choose the
/// files.
/// </param>
public sealed record ScanDescription(
    Preparation Preparation, IReadOnlyList<int> Window, Relabelling Relabelling, IReadOnlyList<string>? ClassNames,
        IReadOnlyList<string>? ChannelNames, ChosenChannels? Chosen = null);
