using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Encodings;
using Actipress.Grid.Tiles;
using Actipress.Machine;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Grid;

/// <summary>Grid storage on the CPU: transform, sample, levels and streams in one pass over the map's memory.</summary>
sealed unsafe class CpuGrid : Implementation
{
    public override string Name => "grid, CPU";

    public override bool Covers(ActivationCodec codec) => codec.Encoding is GridStorage && GridFormat.Covers(codec.Transform);

    public override bool RunsOn(Device device) => device.type == DeviceType.CPU;

    public override Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why)
    {
        var tiles = GridFormat.Tiles(codec.Transform, MapShape.Of(map.shape));
        using var contiguous = map.contiguous();
        var grid = GridMap.Pack(
            (void*)LibTorch.Data(contiguous), map.dtype, tiles, codec.Keep, codec.ExactZeros, limits, get_num_threads(), out why);
        return grid is null ? null : new GridOnCpu(grid);
    }

    public override Stored Read(ref PackedReader reader, MapHeader header)
    {
        if (reader.Byte("the flag of exact zeros") != 0)
            throw reader.Wrong("bits of exact zeros before the chunks", "them within the chunks");
        return new GridOnCpu(GridMap.Read(reader.Rest("the chunks"), TilesOf(header)));
    }

    /// <summary>The tiles of a packed map.</summary>
    public static GridTiles TilesOf(MapHeader header) => GridFormat.Tiles(header.Codec.Transform, header.Shape);
}

/// <summary>A map in grid storage in the host's memory.</summary>
sealed unsafe class GridOnCpu(GridMap grid) : Stored
{
    public GridMap Grid => grid;

    public override long Bytes => grid.Bytes;

    public override bool HasZeros => grid.HasZeros;

    public override double? RelativeError => grid.RelativeError;

    public override Tensor Unpack(MapHeader header)
    {
        var map = empty(header.Extents, header.Type);
        HugePages.Advise((void*)LibTorch.Data(map), map.Bytes());
        return Filled(map, header.Type, CpuGrid.TilesOf(header), null);
    }

    public override bool HasRanges(MapHeader header) => CpuGrid.TilesOf(header).HaveRanges;

    public override Tensor Unpack(MapHeader header, MapRange range)
    {
        var tiles = CpuGrid.TilesOf(header);
        var whole = tiles.WholeBlocks(range);
        var rows = empty([whole.Maps, whole.Rows, MapRange.RowElements(header.Shape)], header.Type);
        return range.Within(whole, Filled(rows, header.Type, tiles, whole));
    }

    Tensor Filled(Tensor values, ScalarType type, GridTiles tiles, MapRange? range)
    {
        try
        {
            grid.Unpack((void*)LibTorch.Data(values), type, tiles, get_num_threads(), range);
            return values;
        }
        catch
        {
            values.Dispose();
            throw;
        }
    }

    public override void Write(BinaryWriter writer)
    {
        PackedReader.WriteZeros(writer, null);
        grid.Write(writer);
    }

    public override void Dispose() => grid.Dispose();
}
