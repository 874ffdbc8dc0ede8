using System.Runtime.InteropServices;

namespace Actipress.Tests.Transforms;

/// <summary>
/// Compares both faces with SciPy and PyWavelets. tests/Golden/make_golden.py made the file, and says which fault each row catches.
/// </summary>
public class GoldenTests
{
    public sealed record Case(string Name, Transform Transform, long[] Shape, float[] Input, float[] Coefficients)
    {
        public override string ToString() => Name;
    }

    static IEnumerable<Case> Cases()
    {
        foreach (var lines in File.ReadLines(TestData.Golden("transforms.txt")).Skip(1).Chunk(4))
        {
            var (head, words) = (lines[0].Split(" | "), lines[0].Split(" | ")[1].Split(' '));
            var codec = ActivationCodec.Parse(string.Join(',', [$"{words[0]}:1", .. words[1..]]));
            yield return new(head[0], codec.Transform, [.. head[2].Split(' ').Select(long.Parse)], Floats(lines[2]), Floats(lines[3]));
        }

        static float[] Floats(string hex) => MemoryMarshal.Cast<byte, float>(Convert.FromHexString(hex)).ToArray();
    }

    public static TheoryData<Case> Rows => [.. Cases()];

    [Theory, MemberData(nameof(Rows))]
    public void Coefficients_are_those_of_the_reference(Case golden)
    {
        // The reference's leading axis of 1 is the batch: (1, maps, h, w), (1, maps, d, h, w) or (maps, w).
        var shape = MapShape.Of(golden.Shape);
        Assert.Equal(golden.Coefficients.Length, golden.Transform.Coefficients(shape));
        var plain = new float[golden.Coefficients.Length];
        golden.Transform.Forward(golden.Input, shape, plain);
        AssertNear(golden.Coefficients, plain);

        using var scope = torch.NewDisposeScope();
        AssertNear(golden.Coefficients, golden.Transform.Forward(torch.tensor(golden.Input), shape).data<float>().ToArray());
    }

    static void AssertNear(float[] expected, float[] actual)
    {
        var largest = Math.Max(1, expected.Max(Math.Abs));
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - actual[i]) <= 1e-5 * largest, $"coefficient {i}: wanted {expected[i]}, found {actual[i]}");
    }
}
