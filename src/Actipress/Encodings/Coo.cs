using Actipress.Selection;
using static TorchSharp.torch;

namespace Actipress.Encodings;

/// <summary>Coordinates as in the paper (Section 3.3): a float32 value and an int64 position for each kept coefficient, 12 bytes.</summary>
sealed record Coo : SectionEncoding
{
    /// <inheritdoc/>
    public override string Name => "paper";

    internal override Tensor[] Encode(Kept kept, long coefficients) =>
        [kept.Values.clone(), kept.Positions?.clone() ?? HeldScalars.Arange(coefficients, int64, kept.Values.device)];

    internal override Tensor Decode(Tensor[] sections, long coefficients)
    {
        Expect(sections is [{ dtype: ScalarType.Float32 }, { dtype: ScalarType.Int64 }], "float32 values and int64 positions");
        return Scatter(sections[1], sections[0], coefficients);
    }

    internal override float Step(Tensor[] sections) => LeastMagnitude(sections[0]);
}
