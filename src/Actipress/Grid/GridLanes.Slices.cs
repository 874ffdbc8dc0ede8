using System.Runtime.CompilerServices;
using Actipress.Grid.Tiles;
using Actipress.Machine;

namespace Actipress.Grid;

// The transform along the depth of a volume's blocks, whose slices are slots of a tile.
unsafe partial struct GridLanes<T>
{
    static void Slices(float* x, GridTiles.Region region, bool inverse)
    {
        var (depth, width) = (region.Depth.Points, region.Width.Points);
        if (region.IsVolume && T.Count <= 8) SlicesOfVolume(x, inverse);
        else if (region.IsVolume) GridLanes<Lanes8>.SlicesOfVolume(x, inverse);
        else if (depth == 3 || width % 4 != 0) GridPlain.Slices(x, region, inverse);
        else if (width % T.Count == 0) SlicesOfEven(x, region, inverse);
        else if (width % 8 == 0) GridLanes<Lanes8>.SlicesOfEven(x, region, inverse);
        else GridLanes<Lanes4>.SlicesOfEven(x, region, inverse);
    }

    // The tile is one block of 4 x 8 x 8, with slices 0 and 1 above slices 2 and 3.
    static void SlicesOfVolume(float* x, bool inverse)
    {
        var m = GridCosines.Of<T>(4);
        for (var row = 0; row < 8; row++)
            for (var i = 16 * row; i < 16 * row + 8; i += T.Count)
            {
                var at = x + i;
                T a = T.Load(at), b = T.Load(at + 8), c = T.Load(at + 128), d = T.Load(at + 136);
                if (inverse) Sums4(ref a, ref b, ref c, ref d, m);
                else Cosines4(ref a, ref b, ref c, ref d, m);
                a.Store(at); b.Store(at + 8); c.Store(at + 128); d.Store(at + 136);
            }
    }

    // The blocks have two or four slices.
    [SkipLocalsInit]
    static void SlicesOfEven(float* x, GridTiles.Region region, bool inverse)
    {
        var (depth, height, width, across) = (region.Depth.Points, region.Height.Points, region.Width.Points, region.Across);
        var m = GridCosines.Of<T>(depth);
        for (var slot = 0; slot < region.BlocksPerTile * depth; slot += depth)
        {
            float* first = Slice(0), second = Slice(1), third = Slice(2 % depth), fourth = Slice(3 % depth);
            for (var row = 0; row < height; row++)
                for (var i = 16 * row; i < 16 * row + width; i += T.Count)
                {
                    T a = T.Load(first + i), b = T.Load(second + i);
                    if (depth == 2)
                    {
                        // In the table the cosine of the even coefficient follows that of the odd one.
                        if (inverse) (a, b) = (T.Times(a, m + 1), T.Times(b, m));
                        (a, b) = (a + b, a - b);
                        if (!inverse) (a, b) = (T.Times(a, m + 1), T.Times(b, m));
                    }
                    else
                    {
                        T c = T.Load(third + i), d = T.Load(fourth + i);
                        if (inverse) Sums4(ref a, ref b, ref c, ref d, m);
                        else Cosines4(ref a, ref b, ref c, ref d, m);
                        c.Store(third + i);
                        d.Store(fourth + i);
                    }
                    a.Store(first + i);
                    b.Store(second + i);
                }

            float* Slice(int z) => x + 16 * ((slot + z) / across * height) + (slot + z) % across * width;
        }
    }
}
