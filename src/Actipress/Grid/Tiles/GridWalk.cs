namespace Actipress.Grid.Tiles;

/// <summary>Tiles one after the other, each read or written once by <see cref="GridMover{TCells}"/>, and where their blocks lie in the map.</summary>
struct GridWalk
{
    readonly GridTiles tiles;
    long end;

    /// <summary>The tile's first block; the mover goes on to the next tile's.</summary>
    public BlockWalk Blocks;

    /// <param name="tiles">Of the map.</param>
    /// <param name="tile">The first one.</param>
    public GridWalk(GridTiles tiles, long tile)
    {
        (this.tiles, Tile) = (tiles, tile);
        Enter();
    }

    public long Tile { get; private set; }

    /// <summary>The tile's region; none where tiles are plain values.</summary>
    public GridTiles.Region? Region { get; private set; }

    public readonly MapShape Shape => tiles.Shape;

    /// <summary>Values, not fill, in the tile.</summary>
    public readonly int Elements => tiles.Elements(Region, Tile);

    /// <summary>Blocks in the tile.</summary>
    public readonly int BlocksHere => (int)Math.Min(Region!.BlocksPerTile, Region.Blocks - (Tile - Region.FirstTile) * Region.BlocksPerTile);

    /// <summary>The tile's first block and how many it has; where tiles are plain values, its first value and how many.</summary>
    public readonly (long First, int Count) Items =>
        Region is { } region ? ((Tile - region.FirstTile) * region.BlocksPerTile, BlocksHere) : (256 * Tile, Elements);

    /// <summary>Goes on to the next tile, once the mover has moved this one.</summary>
    public void Next()
    {
        if (++Tile == end && Tile < tiles.Count) Enter();
    }

    void Enter()
    {
        Region = tiles.RegionOf(Tile);
        end = tiles.Count;
        if (Region is not { } region) return;
        end = region.FirstTile + region.Tiles;
        Blocks = new(tiles.Shape, region, (Tile - region.FirstTile) * region.BlocksPerTile);
    }
}

/// <summary>Where the blocks of a region start, one after the other.</summary>
struct BlockWalk
{
    readonly MapShape shape;
    readonly GridTiles.Region region;
    int slice, down, across;

    public BlockWalk(MapShape shape, GridTiles.Region region, long block)
    {
        (this.shape, this.region) = (shape, region);
        (var map, var within) = Math.DivRem(block, region.BlocksPerMap);
        (var lines, across) = Math.DivRem((int)within, region.Width.Count);
        (slice, down) = Math.DivRem(lines, region.Height.Count);
        Start = ((map * shape.Depth + region.Depth.Start + slice * region.Depth.Points) * shape.Height + region.Height.Start + down * region.Height.Points) * shape.Width
            + region.Width.Start + across * region.Width.Points;
    }

    /// <summary>The block's first value.</summary>
    public long Start { get; private set; }

    /// <summary>So many blocks where they lie side by side, else one.</summary>
    public readonly int Neighbours(int wanted) => across + wanted <= region.Width.Count ? wanted : 1;

    /// <summary>Goes on by blocks that lie side by side.</summary>
    public void Skip(int blocks)
    {
        var (depth, height, width) = (region.Depth, region.Height, region.Width);
        Start += blocks * width.Points;
        across += blocks;
        if (across < width.Count) return;
        across = 0;
        Start += (long)height.Points * shape.Width - width.Count * width.Points;
        if (++down < height.Count) return;
        down = 0;
        Start += ((long)depth.Points * shape.Height - height.Count * height.Points) * shape.Width;
        if (++slice < depth.Count) return;
        slice = 0;
        Start += (long)(shape.Depth - depth.Count * depth.Points) * shape.Height * shape.Width;
    }
}
