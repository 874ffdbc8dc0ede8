using System.Runtime.InteropServices;
using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class OrientationTests
{
    public static TheoryData<string, string> Lines() =>
        [.. File.ReadAllLines(TestData.Golden("orientation.txt")).Skip(1)
            .Select(line => (line[..line.IndexOf(" | ", StringComparison.Ordinal)], line))];

    static Volume Parsed(string text)
    {
        var parts = text.Split(" | ");
        var affine = new Affine(MemoryMarshal.Cast<byte, double>(Convert.FromHexString(parts[^2])).ToArray());
        var (depth, height, width) = affine.Spacing;
        return new(MemoryMarshal.Cast<byte, float>(Convert.FromHexString(parts[^1])).ToArray(),
            [.. parts[^3].Split(' ').Select(int.Parse)], [width, height, depth], affine);
    }

    [Theory]
    [MemberData(nameof(Lines))]
    public void Volumes_are_turned_and_resampled_as_nibabel_and_SciPy_do(string name, string line)
    {
        var (own, wanted) = (Parsed(line.Split(" || ")[0]), Parsed(line.Split(" || ")[1]));
        if (name.StartsWith("onto", StringComparison.Ordinal))
        {
            var isLabel = name.Contains("labels", StringComparison.Ordinal);
            var grid = new VolumeGrid("grid", wanted);
            var there = grid.Resampled(name, own, isLabel);
            for (var i = 0; i < there.Length; i++) Assert.Equal(wanted.Values[i], there[i], isLabel ? 0 : 1e-4f);
            Assert.False(grid.TryPlace(own, out _));
            return;
        }
        var orientation = Orientation.Of(own.Affine);
        Assert.Equal(wanted.Extents.AsEnumerable(), [.. orientation.Turn(own.Extents), .. own.Extents.Skip(3)]);
        Assert.Equal(wanted.Values, orientation.Turn(own.Values, own.Extents));
        var affine = orientation.Turn(own.Affine, own.Extents);
        for (var i = 0; i < 12; i++) Assert.Equal(wanted.Affine.Rows[i], affine.Rows[i], 1e-9);
        if (name.Length == "ras LPS".Length) Assert.Equal(name[^3..], $"{orientation}");
        // The same voxels have the same positions in the scanner, in whichever order they are stored.
        Assert.True(new VolumeGrid("grid", wanted).TryPlace(own, out var values));
        Assert.Equal(wanted.Values, values);
    }

    [Theory, InlineData(0.9e-3, true), InlineData(1.1e-3, false)]
    public void A_thousandth_of_a_voxel_apart_is_the_same_place(double voxels, bool isSame)
    {
        var volume = new Volume(new float[24], [2, 3, 4], [2, 2, 2], Affine.Of(2, 2, 2));
        var moved = new Affine([2, 0, 0, 2 * voxels, 0, 2, 0, 0, 0, 0, 2, 0]);
        Assert.Equal(isSame, new VolumeGrid("grid", volume).TryPlace(volume with { Affine = moved }, out _));
        // A wrong scale moves the far corner most.
        var wider = new Affine([2 + 2 * voxels, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0]);
        Assert.Equal(isSame, new VolumeGrid("grid", volume).TryPlace(volume with { Affine = wider }, out _));
    }

    [Fact]
    public void Axes_that_span_no_space_cannot_be_placed()
    {
        var flat = new Volume(new float[24], [2, 3, 4], [1, 1, 0], Affine.Of(1, 1, 0));
        Assert.Contains("grid cannot be placed",
            Assert.Throws<InvalidDataException>(() => new VolumeGrid("grid", flat).Orientation).Message, StringComparison.Ordinal);
        Assert.True(new VolumeGrid("grid", flat).TryPlace(flat, out _));
        Assert.False(new VolumeGrid("grid", flat).TryPlace(flat with { Affine = Affine.Of(1, 1, 1) }, out _));
    }
}
