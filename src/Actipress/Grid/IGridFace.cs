using Actipress.Grid.Bits;
using Actipress.Grid.Tiles;
using Actipress.Grid.Wavelets;

namespace Actipress.Grid;

/// <summary>All arithmetic of grid storage. Faces differ in speed only; their results are equal bit for bit.</summary>
interface IGridFace : ITileFace, IWaveletFace, IBitFace;
