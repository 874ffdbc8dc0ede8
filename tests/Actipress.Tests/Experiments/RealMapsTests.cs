using Actipress.Benchmarks;
using static TorchSharp.torch;

namespace Actipress.Tests.Experiments;

public sealed class RealMapsTests
{
    [Fact]
    public void Large_maps_are_small_ones_side_by_side()
    {
        using var scope = NewDisposeScope();
        var small = RealMaps.Read("unet3d.down1.relu1");
        var (depth, height, width) = (small.shape[2], small.shape[3], small.shape[4]);
        var pieces = small.flatten(0, 1);

        var large = RealMaps.ReadLarge("unet3d.down1.relu1", 2, depth + 1, height, 2 * width - 1);

        Assert.Equal([1, 2, depth + 1, height, 2 * width - 1], large.shape);
        Assert.True(large.is_contiguous());
        // Each map has four pieces, two a slice. The second and the third are compared.
        for (var map = 0; map < 2; map++)
        {
            Assert.True(large[0, map, ..(int)depth, .., (int)width..].allclose(
                Piece(4 * map + 1)[.., .., ..(int)(width - 1)], rtol: 0, atol: 0));
            Assert.True(large[0, map, (int)depth, .., ..(int)width].allclose(Piece(4 * map + 2)[0], rtol: 0, atol: 0));
        }

        Tensor Piece(int i) => pieces[i % pieces.shape[0]];
    }

    [Fact]
    public void Large_maps_have_the_small_ones_axes()
    {
        var error = Assert.Throws<ArgumentException>(() => RealMaps.ReadLarge("resnet20.relu", 1, 64, 64, 64));
        Assert.Contains("wanted 2 extents, found 3", error.Message, StringComparison.Ordinal);
    }
}
