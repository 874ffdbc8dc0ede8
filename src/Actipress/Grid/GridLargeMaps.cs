using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;
using Actipress.Selection;

namespace Actipress.Grid;

/// <summary>
/// The coefficients of some large maps, or of strips of large maps. Every pass over the coefficients computes them again.
/// </summary>
/// <param name="wavelet">How maps divide.</param>
/// <param name="values">The first element of all maps.</param>
/// <param name="maps">The numbers of the maps.</param>
/// <param name="threads">How many threads work.</param>
sealed unsafe class GridLargeMaps<TFace, TCells>(GridWavelet wavelet, void* values, long[] maps, int threads) : ICoefficients, IDisposable
    where TFace : struct, IGridFace where TCells : struct, IGridCells
{
    readonly GridTeam<TFace> team = new(wavelet, threads, TCells.AreFloats, divides: true);

    public void Dispose() => team.Dispose();

    // Every pass repeats the transform, so that few passes are best.
    public ReadOnlySpan<int> Digits => [16, 15];

    public void Each<TTally>(Func<TTally> begin, Action<TTally> end) where TTally : ITally
    {
        foreach (var map in maps)
        {
            var first = map * wavelet.Elements;
            if (!TCells.AreFloats) GridMover<TCells>.Read(values, first, team.Values, wavelet.Elements);
            team.Forward(TCells.AreFloats ? (float*)values + first : team.Values);
            new CoefficientsInMemory(team.Coefficients, wavelet.Coefficients, threads).Each(begin, end);
        }
    }
}
