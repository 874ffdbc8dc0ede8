using System.Diagnostics;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>The cost of a training's steps: time, and bytes where a meter works.</summary>
/// <param name="device">The device of the steps.</param>
sealed class StepMeasurements(Device device) : IDisposable
{
    readonly AllocatorMeter? meter = Devices.Meter(device, out _);
    readonly List<double> milliseconds = [];
    readonly List<double> afterForward = [];
    readonly Stopwatch watch = new();
    long before, peak;

    /// <summary>Called when a step begins.</summary>
    public void Begin()
    {
        before = meter?.LevelBytes ?? 0;
        meter?.ResetPeak();
        Devices.Synchronize(device);
        watch.Restart();
    }

    /// <summary>Called when the forward pass and the loss are done.</summary>
    public void AfterForward()
    {
        if (meter is not null) afterForward.Add(meter.LevelBytes - before);
    }

    /// <summary>Called when a step ends.</summary>
    public void End()
    {
        Devices.Synchronize(device);
        milliseconds.Add(watch.Elapsed.TotalMilliseconds);
        if (meter is not null) peak = Math.Max(peak, meter.PeakBytes - before);
    }

    /// <summary>The median time over all steps.</summary>
    public double StepMs => Statistics.Median(milliseconds);

    /// <summary>
    /// The rise of the allocator's level over the forward pass and the loss, as the median over steps; null where no meter works.
    /// </summary>
    public long? AfterForwardBytes => meter is null ? null : (long)Statistics.Median(afterForward);

    /// <summary>The largest rise of the allocator's level above that before a step, over all steps; null where no meter works.</summary>
    public long? PeakBytes => meter is null ? null : peak;

    /// <summary>Writes the highest level, which a training's state has apart from the <see cref="Save">lists</see>.</summary>
    public void SavePeak(BinaryWriter writer) => writer.Write(peak);

    /// <summary>Reads what <see cref="SavePeak"/> wrote.</summary>
    public void LoadPeak(BinaryReader reader) => peak = reader.ReadInt64();

    /// <summary>Writes the measurements of each step.</summary>
    public void Save(BinaryWriter writer)
    {
        writer.Write(milliseconds);
        writer.Write(afterForward);
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <exception cref="EndOfStreamException">There are fewer bytes than numbers.</exception>
    public void Load(BinaryReader reader)
    {
        milliseconds.Clear();
        milliseconds.AddRange(reader.ReadDoubles());
        afterForward.Clear();
        afterForward.AddRange(reader.ReadDoubles());
    }

    /// <inheritdoc/>
    public void Dispose() => meter?.Dispose();
}

/// <summary>Lists of numbers in a training's state.</summary>
static class StoredNumbers
{
    /// <summary>Writes the number of elements, and each element.</summary>
    public static void Write(this BinaryWriter writer, IReadOnlyCollection<double> values)
    {
        writer.Write(values.Count);
        foreach (var value in values) writer.Write(value);
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    /// <exception cref="EndOfStreamException">There are fewer bytes than numbers.</exception>
    public static double[] ReadDoubles(this BinaryReader reader)
    {
        var count = reader.ReadInt32();
        if (count < 0 || count > (reader.BaseStream.Length - reader.BaseStream.Position) / sizeof(double))
            throw new EndOfStreamException($"Found {count} numbers, wanted no more than there are bytes for");
        var values = new double[count];
        for (var i = 0; i < values.Length; i++) values[i] = reader.ReadDouble();
        return values;
    }
}
