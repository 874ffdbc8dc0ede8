using Actipress.Saving;

namespace Actipress.Tests.Saving;

public sealed class LearntSourcesTests
{
    [Fact]
    public void A_state_is_written_as_it_was_read()
    {
        using var state = new MemoryStream();
        using (var writer = new BinaryWriter(state, System.Text.Encoding.UTF8, leaveOpen: true))
        {
            writer.Write(2);
            foreach (var text in (string[])["bn1 aten::native_batch_norm 0", "smooth", "bn2 aten::native_batch_norm 0", ""])
                writer.Write(text);
        }
        var learnt = new LearntSources();
        state.Position = 0;
        using var reader = new BinaryReader(state);
        learnt.Load(reader);
        using var again = new MemoryStream();
        using (var writer = new BinaryWriter(again)) learnt.Save(writer);
        Assert.Equal(state.ToArray(), again.ToArray());
    }
}
