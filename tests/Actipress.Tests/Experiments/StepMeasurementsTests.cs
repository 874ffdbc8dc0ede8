using Actipress.Experiments;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class StepMeasurementsTests
{
    [Fact]
    public void A_state_replaces_what_was_measured_before()
    {
        using var stored = new MemoryStream();
        using (var one = Measured(1))
        {
            using var writer = new BinaryWriter(stored, System.Text.Encoding.UTF8, leaveOpen: true);
            one.Save(writer);
        }
        using var other = Measured(40);
        stored.Position = 0;
        using var reader = new BinaryReader(stored);
        other.Load(reader);
        using var again = new MemoryStream();
        using (var writer = new BinaryWriter(again)) other.Save(writer);
        Assert.Equal(stored.ToArray(), again.ToArray());
    }

    static StepMeasurements Measured(int steps)
    {
        var measurements = new StepMeasurements(CPU);
        for (var step = 0; step < steps; step++)
        {
            measurements.Begin();
            measurements.AfterForward();
            measurements.End();
        }
        return measurements;
    }
}
