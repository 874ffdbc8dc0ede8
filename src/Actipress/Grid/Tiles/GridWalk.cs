namespace Actipress.Grid.Tiles;

/// <summary>
/// Walks over tiles and knows where their blocks lie in the map. <see cref="GridMover{TCells}"/> reads or writes each tile once.
/// </summary>
struct GridWalk
{
    readonly GridTiles tiles;
    long end;

    /// <summary>The tile's first block; the mover advances it to the first block of the next tile.</summary>
    public BlockWalk Blocks;

    /// <param name="tiles">The map's tiles.</param>
    /// <param name="tile">The first tile.</param>
    public GridWalk(GridTiles tiles, long tile)
    {
        (this.tiles, Tile) = (tiles, tile);
        Enter();
    }

    public long Tile { get; private set; }

    /// <summary>The tile's region; null where tiles have no transform.</summary>
    public GridTiles.Region? Region { get; private set; }

    public readonly MapShape Shape => tiles.Shape;

    /// <summary>The number of values in the tile, without its fill.</summary>
    public readonly int Elements => tiles.Elements(Region, Tile);

    /// <summary>The number of blocks in the tile.</summary>
    public readonly int BlocksHere => (int)Math.Min(
        Region!.BlocksPerTile, Region.Blocks - (Tile - Region.FirstTile) * Region.BlocksPerTile);

    /// <summary>
    /// The tile's first block and the number of its blocks; where tiles have no transform, its first value and the number of its values.
    /// </summary>
    public readonly (long First, int Count) Items =>
        Region is { } region ? ((Tile - region.FirstTile) * region.BlocksPerTile, BlocksHere) : (256 * Tile, Elements);

    /// <summary>Advances to the next tile, after the mover has moved this one.</summary>
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

/// <summary>Walks over the blocks of a region.</summary>
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
        var (z, y) = (region.Depth.Start + slice * region.Depth.Points, region.Height.Start + down * region.Height.Points);
        Start = ((map * shape.Depth + z) * shape.Height + y) * shape.Width + region.Width.Start + across * region.Width.Points;
    }

    /// <summary>The index of the block's first value in the map.</summary>
    public long Start { get; private set; }

    /// <summary>Returns <paramref name="wanted"/> where so many blocks lie side by side, else 1.</summary>
    public readonly int Neighbours(int wanted) => across + wanted <= region.Width.Count ? wanted : 1;

    /// <summary>Advances by blocks that lie side by side.</summary>
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
