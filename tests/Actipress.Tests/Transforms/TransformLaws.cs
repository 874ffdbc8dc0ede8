using Actipress.Transforms;
using CsCheck;
using static TorchSharp.torch;

namespace Actipress.Tests.Transforms;

/// <summary>The laws that hold for every transform of the table on every awkward map.</summary>
public class TransformLaws
{
    static readonly IReadOnlyList<Transform> transforms =
    [
        .. KnownTransforms.All,
        new Dct(8), new Dct(4), new Wavelet("haar", 1), new Wavelet("db3", 5), new Wavelet("coif5", 2),
    ];

    [Fact]
    public void The_inverse_gives_the_map_back() => Everywhere((transform, map, x, shape) =>
    {
        var (y, back) = (new float[transform.Coefficients(shape)], new float[x.Length]);
        transform.Forward(x, shape, y);
        transform.Inverse(y, shape, back);
        AssertNear(x, back, transform, map);
    });

    [Fact]
    public void Both_faces_agree() => Everywhere((transform, map, x, shape) =>
    {
        var y = new float[transform.Coefficients(shape)];
        transform.Forward(x, shape, y);
        using var scope = NewDisposeScope();
        var flat = tensor(x);
        var coefficients = transform.Forward(flat, shape);
        AssertNear(y, coefficients.data<float>().ToArray(), transform, map);
        AssertNear(x, transform.Inverse(coefficients, shape).data<float>().ToArray(), transform, map);
    });

    [Fact]
    public void A_part_of_a_tensor_is_transformed_as_its_copy_is()
    {
        using var scope = NewDisposeScope();
        foreach (var transform in transforms)
            foreach (var shape in (MapShape[])[new(3, 1, 33, 20), new(2, 5, 17, 11), new(4, 1, 1, 100)])
            {
                var part = randn(shape.Elements + 77).narrow(0, 77, shape.Elements);
                var (of, ofCopy) = (transform.Forward(part, shape), transform.Forward(part.clone(), shape));
                Assert.True(of.equal(ofCopy).all().item<bool>(), $"{transform} of {shape}");
                var coefficients = cat([zeros(5), of.reshape(-1)]).narrow(0, 5, of.NumberOfElements).view(of.shape);
                var same = transform.Inverse(coefficients, shape).equal(transform.Inverse(of, shape));
                Assert.True(same.all().item<bool>(), $"inverse of {transform} of {shape}");
            }
    }

    [Fact]
    public void Wavelets_are_equal_by_family_and_levels()
    {
        Assert.Equal(new Wavelet("haar", 2), new Wavelet("haar", 2));
        Assert.NotEqual(new Wavelet("haar", 2), new Wavelet("haar", 3));
        Assert.NotEqual(new Wavelet("haar", 2), new Wavelet("db3", 2));
    }

    [Fact]
    public void A_map_that_has_as_many_coefficients_as_elements_keeps_its_energy()
    {
        var checkedMaps = new Dictionary<Transform, int>();
        Everywhere((transform, map, x, shape) =>
        {
            if (transform.Coefficients(shape) == shape.Elements)
            {
                var y = new float[x.Length];
                transform.Forward(x, shape, y);
                double before = Energy(x), after = Energy(y);
                Assert.True(Math.Abs(after - before) <= 1e-5 * before, $"{transform} on {map}: energy {before} became {after}");
                checkedMaps[transform] = checkedMaps.GetValueOrDefault(transform) + 1;
            }
        });
        // Blocks always have as many coefficients as elements, and wavelets do on even extents.
        var all = AwkwardMap.All.Count;
        Assert.All(transforms, transform => Assert.InRange(checkedMaps[transform], transform is Wavelet ? 15 : all, all));
    }

    [Fact]
    public void Transforms_are_linear() =>
        Gen.Select(Gen.Int[0, transforms.Count - 1], Gen.Int[1, 40], Gen.Int[1, 40], Gen.Float[-4, 4], Gen.Int)
            .Sample((t, height, width, factor, seed) =>
            {
                var shape = new MapShape(2, 1, height, width);
                var random = new Random(seed);
                float[] Draw() => [.. Enumerable.Range(0, (int)shape.Elements).Select(_ => (float)random.NextDouble() - 0.5f)];
                var (a, b) = (Draw(), Draw());
                float[] Forward(float[] x)
                {
                    var y = new float[transforms[t].Coefficients(shape)];
                    transforms[t].Forward(x, shape, y);
                    return y;
                }
                var (ya, yb, both) = (Forward(a), Forward(b), Forward([.. a.Zip(b, (p, q) => p + factor * q)]));
                for (var i = 0; i < both.Length; i++) Assert.Equal(ya[i] + factor * yb[i], both[i], 2e-5 * (1 + Math.Abs(factor)) * 16);
            }, iter: 200);

    [Fact]
    public void Unknown_transforms_are_refused_and_the_known_listed()
    {
        Assert.Contains("wt:db3", Assert.Throws<FormatException>(() => KnownTransforms.Named("wt:db99")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Dct(12));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Wavelet("haar", 6));
    }

    static void Everywhere(Action<Transform, AwkwardMap, float[], MapShape> law)
    {
        foreach (var transform in transforms)
            foreach (var map in AwkwardMap.All)
                law(transform, map, map.Values(), MapShape.Of(map.Shape));
    }

    static double Energy(float[] values) => values.Sum(value => (double)value * value);

    // The error is relative to the largest magnitude, because rounding errors of sums grow with it.
    static void AssertNear(float[] expected, float[] actual, Transform transform, AwkwardMap map)
    {
        Assert.Equal(expected.Length, actual.Length);
        var largest = expected.Select(Math.Abs).DefaultIfEmpty().Max();
        for (var i = 0; i < expected.Length; i++)
            Assert.True(
                Math.Abs(expected[i] - actual[i]) <= 1e-5 * largest + 2e-43,
                $"{transform} on {map}, element {i}: {expected[i]} became {actual[i]}");
    }
}
