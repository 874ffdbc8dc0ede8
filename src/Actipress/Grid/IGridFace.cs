using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;

namespace Actipress.Grid;

/// <summary>All arithmetic of grid storage. Faces differ in speed only: every one gives the same bits.</summary>
interface IGridFace : ITileFace, IWaveletFace, IBitFace;
