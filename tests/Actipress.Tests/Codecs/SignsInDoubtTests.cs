using Actipress.Encodings;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>The exact zeros of a ReLU's result, stored beside an argument that was rebuilt with errors.</summary>
public sealed class SignsInDoubtTests : IDisposable
{
    const int Chunk = 1 << 16;

    readonly DisposeScope scope = NewDisposeScope();

    public void Dispose() => scope.Dispose();

    // Makes a ReLU's argument, and the argument as it is rebuilt.
    static (Tensor Argument, Tensor Rebuilt) Make(int elements, double error)
    {
        var argument = randn(elements);
        return (argument, argument + error * randn(elements));
    }

    static MapRange Whole(Tensor map) => MapRange.Whole(MapShape.Of(map.shape), 0, MapShape.Of(map.shape).Maps);

    static SignsInDoubt? Pack(Tensor result, Tensor rebuilt) =>
        SignsInDoubt.Pack(result, RebuiltSample.Of(result, [Whole(result)], _ => rebuilt.alias()), range => range.Of(rebuilt));

    static void AssertSame(Tensor argument, Tensor rebuilt, SignsInDoubt signs, string what)
    {
        var result = argument.relu();
        var back = rebuilt.clone();
        signs.Rectify(back, Whole(back));
        var (expected, found, told) = (result.data<float>().ToArray(), back.data<float>().ToArray(), rebuilt.data<float>().ToArray());
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.True(expected[i] > 0 == found[i] > 0 && !(found[i] < 0), $"{what}, element {i}: {found[i]} in place of {expected[i]}");
            if (expected[i] > 0 && told[i] > 0) Assert.Equal(told[i], found[i]);
        }
    }

    [Theory]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(1000)]
    [InlineData(Chunk - 1)]
    [InlineData(Chunk)]
    [InlineData(Chunk + 1)]
    [InlineData(3 * Chunk + 77)]
    public void Zeros_come_back_exactly_and_the_rest_is_above_zero(int elements)
    {
        foreach (var error in (double[])[0, 1e-3, 0.05, 0.2])
        {
            var (argument, rebuilt) = Make(elements, error);
            using var signs = Pack(argument.relu(), rebuilt);
            // in a small map the counts of the chunks take a large share
            if (signs is null) Assert.True(elements < 200, $"{elements} elements, error {error}");
            else AssertSame(argument, rebuilt, signs, $"{elements} elements, error {error}");
        }
    }

    [Fact]
    public void The_nearer_the_argument_the_fewer_the_bits()
    {
        const int Elements = 1 << 20;
        var bits = new List<double>();
        foreach (var error in (double[])[0, 0.01, 0.05, 0.1, 0.2])
        {
            var (argument, rebuilt) = Make(Elements, error);
            using var signs = Pack(argument.relu(), rebuilt)!;
            bits.Add(8.0 * signs.Bytes / Elements);
        }
        Assert.Equal(bits.Order(), bits);
        Assert.InRange(bits[0], 0, 0.01);
        Assert.InRange(bits[2], 0.05, 0.2);    // one element in ten is within two standard errors of zero
        Assert.InRange(bits[4], 0.2, 0.6);
    }

    [Fact]
    public void Elements_that_are_told_wrongly_far_from_zero_are_known_by_their_places()
    {
        var argument = randn(2 * Chunk);
        var rebuilt = argument.clone();
        long[] places = [0, 7, 8, Chunk - 1, Chunk, Chunk + 9, 2 * Chunk - 1];
        foreach (var place in places) rebuilt[place] = argument[place].item<float>() > 0 ? -5f : 5f;
        using var signs = Pack(argument.relu(), rebuilt)!;
        AssertSame(argument, rebuilt, signs, "told wrongly");
        Assert.InRange(signs.Bytes, 2 * places.Length, 100);
    }

    [Fact]
    public void What_is_above_zero_and_rebuilt_below_it_gets_the_mean_of_such_values()
    {
        var (argument, rebuilt) = Make(1 << 20, 0.2);
        using var signs = Pack(argument.relu(), rebuilt)!;
        var lost = argument.gt(0) & rebuilt.le(0);
        var back = rebuilt.clone();
        signs.Rectify(back, Whole(back));
        var found = back[lost];
        Assert.Equal(found.min().item<float>(), found.max().item<float>());
        Assert.Equal(argument[lost].mean().item<float>(), found.mean().item<float>(), 0.01);
    }

    [Fact]
    public void Where_a_bit_for_each_would_take_no_more_or_a_value_is_no_number_there_are_none()
    {
        Assert.Null(Pack(randn(Chunk).relu(), randn(Chunk)));    // the rebuilt argument is unrelated
        var (argument, rebuilt) = Make(Chunk, 0.01);
        argument[Chunk / 2] = float.NaN;
        Assert.Null(Pack(argument.relu(), rebuilt));
    }

    [Fact]
    public void Another_argument_than_that_of_packing_is_refused()
    {
        var (argument, rebuilt) = Make(3 * Chunk, 0.1);
        using var signs = Pack(argument.relu(), rebuilt)!;
        var other = rebuilt.clone();
        using (var part = other.narrow(0, Chunk, Chunk)) part.copy_(randn(Chunk));
        Assert.Throws<InvalidDataException>(() => signs.Rectify(other, Whole(other)));
    }

    [Fact]
    public void Constant_maps_have_their_signs_too()
    {
        foreach (var (argument, rebuilt) in ((float, float)[])[(0, 0), (0, -0.01f), (0, 0.01f), (1, 1), (1, -1), (-1, 1)])
        {
            var (all, told) = (full(1000, argument), full(1000, rebuilt));
            using var signs = Pack(all.relu(), told);
            if (signs is not null) AssertSame(all, told, signs, $"{argument} rebuilt to {rebuilt}");
        }
    }
}
