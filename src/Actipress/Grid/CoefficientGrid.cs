using Actipress.Autograd;
using Actipress.Codecs;
using Actipress.Encodings;
using static TorchSharp.torch;

namespace Actipress.Grid;

/// <summary>
/// Grid storage of the coefficients of a user's own transform on the CPU. The coefficients fill the tiles in their order.
/// </summary>
sealed class CoefficientGrid : Implementation
{
    public override string Name => "grid, of a user's transform";

    public override bool Covers(ActivationCodec codec) => codec.Encoding is GridStorage && !GridFormat.Covers(codec.Transform);

    public override bool RunsOn(Device device) => device.type == DeviceType.CPU;

    public override unsafe Stored? Pack(Tensor map, ActivationCodec codec, PackLimits limits, out LeftRaw why)
    {
        if (!MapValues.IsUsable(map, out var isPositive, out why)) return null;
        var zeroBytes = codec.ExactZeros && isPositive ? ExactZeros.Bytes(map.NumberOfElements) : 0;
        using var x = MapValues.Flat(map);
        using var coefficients = codec.Transform.Forward(x, MapShape.Of(map.shape));
        using var contiguous = coefficients.contiguous();
        var grid = GridMap.Pack(
            (void*)LibTorch.Data(contiguous), ScalarType.Float32, GridFormat.Tiles(contiguous.NumberOfElements), codec.Keep,
            exactZeros: false, limits with { Bytes = limits.Bytes - zeroBytes }, get_num_threads(), out why);
        return grid is null ? null : new GridOfCoefficients(zeroBytes > 0 ? ExactZeros.Of(map) : null, grid);
    }
}

/// <summary>The coefficients of a map in grid storage in the host's memory, and the map's exact zeros.</summary>
sealed class GridOfCoefficients : Stored
{
    readonly Tensor? zeros;
    readonly GridMap grid;

    /// <param name="zeros">The bits of <see cref="ExactZeros"/>; null where there are none. This object disposes them.</param>
    /// <param name="grid">The coefficients, which this object disposes.</param>
    public GridOfCoefficients(Tensor? zeros, GridMap grid) => (this.zeros, this.grid) = (zeros?.DetachFromDisposeScope(), grid);

    public override long Bytes => grid.Bytes + (zeros?.NumberOfElements ?? 0);

    public override bool HasZeros => zeros is not null;

    public override double? RelativeError => grid.RelativeError;

    public override unsafe Tensor Unpack(MapHeader header)
    {
        using var coefficients = empty(header.Codec.Transform.Coefficients(header.Shape), float32);
        grid.Unpack(
            (void*)LibTorch.Data(coefficients), ScalarType.Float32, GridFormat.Tiles(coefficients.NumberOfElements), get_num_threads());
        using var x = header.Codec.Transform.Inverse(coefficients, header.Shape);
        if (zeros is not null) ExactZeros.Restore(x, zeros, header.Type, grid.Step);
        return MapValues.InType(x, header);
    }

    public override void Write(BinaryWriter writer)
    {
        PackedReader.WriteZeros(writer, zeros);
        grid.Write(writer);
    }

    public override void Dispose()
    {
        zeros?.Dispose();
        grid.Dispose();
    }
}
