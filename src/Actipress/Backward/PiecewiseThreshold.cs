using System.Numerics;
using Actipress.Autograd;
using Actipress.Machine;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Backward;

/// <summary>
/// The backward pass of a ReLU whose result is read in pieces: the incoming gradient where the result is above the threshold, else zero.
/// </summary>
/// <remarks>The gradient by the input overwrites the incoming gradient where nobody else reads that.</remarks>
static unsafe class PiecewiseThreshold
{
    // The number of elements that one thread takes at a time.
    const long Stretch = 1 << 15;

    /// <param name="gradient">The gradient by the output: float32 on the CPU.</param>
    /// <param name="result">The saved map.</param>
    /// <param name="threshold">libtorch's threshold, 0 for a ReLU.</param>
    /// <param name="mayOverwrite">Whether nobody else reads <paramref name="gradient"/> afterwards.</param>
    /// <returns>The gradient by the input.</returns>
    public static Tensor Run(Tensor gradient, IMapPieces result, float threshold, bool mayOverwrite)
    {
        var shape = MapShape.Of(result.Sizes);
        var given = gradient.contiguous();
        var byInput = Pieces.ByInput(gradient, given, mayOverwrite);
        foreach (var piece in new Strips(shape).Pieces((long)(Strips.PieceElements * result.Scale)))
        {
            using var scope = NewDisposeScope();
            Mask(given, Placeholder.Read(result, piece).contiguous(), byInput, piece, shape, threshold);
        }
        return byInput;
    }

    static void Mask(Tensor given, Tensor values, Tensor byInput, MapRange piece, MapShape shape, float threshold)
    {
        var ((parts, elements), ofMap) = (piece.Contiguous(shape), shape.MapElements);
        float* g = (float*)LibTorch.Data(given), y = (float*)LibTorch.Data(values), to = (float*)LibTorch.Data(byInput);
        var (first, stretches) = (piece.FirstElement(shape), (elements + Stretch - 1) / Stretch);
        CpuTeam.Each(parts * stretches, 1, (from, end) =>
        {
            for (var i = from; i < end; i++)
            {
                var (part, start) = (i / stretches, i % stretches * Stretch);
                var at = first + part * ofMap + start;
                Mask(g + at, y + part * elements + start, to + at, (int)Math.Min(Stretch, elements - start), threshold);
            }
        });
    }

    // A gradient passes where its value is not a number, as in libtorch.
    static void Mask(float* g, float* y, float* to, int count, float threshold)
    {
        var (limit, i) = (new Vector<float>(threshold), 0);
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
            *(Vector<float>*)(to + i) =
                Vector.ConditionalSelect(Vector.LessThanOrEqual(*(Vector<float>*)(y + i), limit), default, *(Vector<float>*)(g + i));
        for (; i < count; i++) to[i] = y[i] <= threshold ? 0 : g[i];
    }
}
