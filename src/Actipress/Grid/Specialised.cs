using System.Runtime.Intrinsics;
using Actipress.Grid.Tiles;
using Actipress.Machine;

namespace Actipress.Grid;

/// <summary>Work that is compiled for each width of registers and each type of a map's elements.</summary>
interface ISpecialised<out TResult>
{
    TResult Run<TFace, TCells>() where TFace : struct, IGridFace where TCells : struct, IGridCells;
}

/// <summary>Chooses the width of registers and the type of elements, here and nowhere else.</summary>
static class Specialised
{
    /// <summary>The widest registers that this processor has.</summary>
    public static string Width =>
        Vector512.IsHardwareAccelerated ? "Vector512"
        : Vector256.IsHardwareAccelerated ? "Vector256"
        : Vector128.IsHardwareAccelerated ? "Vector128"
        : "plain";

    /// <summary>Runs the work with the widest registers.</summary>
    public static TResult Run<TWork, TResult>(torch.ScalarType type, TWork work) where TWork : struct, ISpecialised<TResult> =>
        Vector512.IsHardwareAccelerated ? Run<GridLanes<Lanes16>, TWork, TResult>(type, work)
        : Vector256.IsHardwareAccelerated ? Run<GridLanes<Lanes8>, TWork, TResult>(type, work)
        : Vector128.IsHardwareAccelerated ? Run<GridLanes<Lanes4>, TWork, TResult>(type, work)
        : Run<GridPlain, TWork, TResult>(type, work);

    /// <summary>Runs the work with a chosen face.</summary>
    public static TResult Run<TFace, TWork, TResult>(torch.ScalarType type, TWork work)
        where TFace : struct, IGridFace where TWork : struct, ISpecialised<TResult> => type switch
        {
            torch.ScalarType.Float32 => work.Run<TFace, SingleCells>(),
            torch.ScalarType.Float64 => work.Run<TFace, DoubleCells>(),
            torch.ScalarType.Float16 => work.Run<TFace, HalfCells>(),
            torch.ScalarType.BFloat16 => work.Run<TFace, BFloat16Cells>(),
            _ => throw new ArgumentException($"No map of {type} is packed on the CPU: wanted a floating-point type.", nameof(type)),
        };
}
