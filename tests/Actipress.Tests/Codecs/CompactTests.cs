using Actipress.Encodings;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

public sealed class CompactTests
{
    [Fact]
    public void Sections_of_another_length_are_refused_with_the_length_that_is_wanted()
    {
        using var scope = NewDisposeScope();
        var (float32Values, bytes) = (new Compact(IndexForm.Bitmap, ValueForm.Float32), new Compact());
        Refused("a bitmap of 13 bytes", () => float32Values.Decode([zeros(12, uint8), ones(3)], coefficients: 100));
        Refused("2 counts", () => float32Values.Decode([zeros(1, int16), zeros(3, uint8), ones(3)], coefficients: 257));
        Refused("2 steps", () => bytes.Decode([ones(1), zeros(257, int8)], coefficients: 257));

        static void Refused(string wanted, Func<Tensor> decode) => Assert.Contains(
            $"wanted {wanted}. Pack", Assert.Throws<InvalidDataException>(decode).Message, StringComparison.Ordinal);
    }
}
