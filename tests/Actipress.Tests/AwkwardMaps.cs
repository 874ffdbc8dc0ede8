namespace Actipress.Tests;

/// <summary>The inputs that every codec and every face of it must handle, each with the fault that it catches.</summary>
public sealed record AwkwardMap(string Name, long[] Shape, Func<Random, int, float> Fill)
{
    public override string ToString() => Name;

    public float[] Values()
    {
        var random = new Random(20240301);
        return [.. Enumerable.Range(0, (int)Shape.Aggregate(1L, (a, b) => a * b)).Select(i => Fill(random, i))];
    }

    public Tensor Tensor()
    {
        using var flat = torch.tensor(Values());
        return flat.view(Shape);
    }

    static float Normal(Random random, int _) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
    static float Relu(Random random, int i) => Math.Max(0, Normal(random, i));

    public static readonly IReadOnlyList<AwkwardMap> All =
    [
        new("one element", [1], Normal),
        new("a scalar", [], Normal),
        new("one axis", [300], Normal),
        new("a line", [1, 5], Normal),
        new("vectors of a head", [7, 300], Normal),
        new("tokens by features", [3, 65, 48], Normal),
        new("planes of whole blocks", [2, 3, 32, 48], Normal),
        new("ragged planes", [2, 3, 33, 19], Normal),
        new("planes below a block", [4, 6, 7, 5], Normal),
        new("planes of 2 x 2", [3, 64, 2, 2], Normal),
        new("planes of 1 x 1", [3, 64, 1, 1], Normal),
        new("rows of one element", [2, 3, 1, 40], Normal),
        new("columns of one element", [2, 3, 40, 1], Normal),
        new("volumes", [1, 2, 8, 16, 16], Normal),
        new("ragged volumes", [1, 2, 9, 17, 11], Normal),
        new("a rank of six", [2, 2, 1, 5, 6, 7], Normal),
        new("after a relu", [2, 3, 32, 32], Relu),
        new("after a relu, ragged", [1, 2, 9, 17, 11], Relu),
        new("all zeros", [2, 2, 16, 16], (_, _) => 0),
        new("constant", [2, 2, 17, 16], (_, _) => 3.25f),
        new("negative constant", [2, 2, 16, 16], (_, _) => -2),
        new("minus zeros beside a relu's", [2, 2, 16, 16], (random, i) => i % 3 == 0 ? -0f : Relu(random, i)),
        new("minus zeros alone", [2, 2, 16, 16], (_, _) => -0f),
        new("zeros and one negative", [2, 2, 16, 16], (_, i) => i == 700 ? -1 : 0),
        new("denormal", [2, 2, 16, 16], (random, i) => Normal(random, i) * 1e-40f),
        new("denormal after a relu", [2, 2, 16, 16], (random, i) => Relu(random, i) * 1e-40f),
        new("huge range", [2, 2, 16, 16], (random, i) => Normal(random, i) * MathF.Pow(10, random.Next(-30, 25))),
        new("huge", [2, 2, 17, 16], (random, _) => 9e27f * (float)(2 * random.NextDouble() - 1)),
        new("one spike", [2, 2, 20, 20], (_, i) => i == 137 ? 1e6f : 0),
        new("ties of one magnitude", [2, 2, 16, 16], (random, _) => random.Next(2) == 0 ? 1 : -1),
    ];

    public static TheoryData<AwkwardMap> Rows => [.. All];
}
