using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>A concatenation: the tensors that it joined, and where each of them lies in the result.</summary>
sealed class Concatenation : IDisposable
{
    Concatenation(int axis, IReadOnlyList<Part> parts) => (Axis, Parts) = (axis, parts);

    /// <summary>The axis along which the tensors are joined.</summary>
    public int Axis { get; }

    /// <summary>The tensors in their order.</summary>
    public IReadOnlyList<Part> Parts { get; }

    /// <summary>One of the joined tensors.</summary>
    /// <param name="origin">Its elements; disposed with this, unless they are taken.</param>
    /// <param name="first">Its first place on the axis of the result.</param>
    /// <param name="length">Its length on the axis.</param>
    public sealed class Part(MapOrigin origin, long first, long length) : IDisposable
    {
        bool isTaken;

        public MapOrigin Origin => origin;

        /// <summary>Narrows the result, or values of its shape, to this part. The caller disposes the view.</summary>
        public Tensor Of(Tensor values, int axis) => values.narrow(axis, first, length);

        /// <summary>Hands the elements over to a map that disposes them.</summary>
        public MapOrigin Take()
        {
            isTaken = true;
            return origin;
        }

        public void Dispose()
        {
            if (!isTaken) origin.Dispose();
        }
    }

    /// <summary>Recognises the operands of a concatenation; null where one of them is no whole contiguous map.</summary>
    /// <param name="operands">The implementations of the operands.</param>
    /// <param name="axis">The axis; negative from the end.</param>
    /// <param name="result">The result.</param>
    public static Concatenation? Of(ReadOnlySpan<nint> operands, double axis, Tensor result)
    {
        if (operands.Length < 2 || operands.Contains(0) || double.IsNaN(axis)) return null;
        var along = (int)(axis < 0 ? axis + result.dim() : axis);
        var (parts, first, isWhole) = (new List<Part>(), 0L, true);
        foreach (var operand in operands)
        {
            using var tensor = LibTorch.OfImplementation(operand);
            var geometry = Geometry.OfMap(tensor);
            isWhole &= tensor.dim() == result.dim() && tensor.dtype == result.dtype && tensor.is_contiguous()
                && geometry.SameLayout(Geometry.Of(tensor)) && !LibTorch.IsParameterOrView(tensor);
            if (!isWhole) break;
            parts.Add(new(new(tensor, geometry), first, tensor.shape[along]));
            first += tensor.shape[along];
        }
        var joined = new Concatenation(along, parts);
        if (isWhole && first == result.shape[along]) return joined;
        joined.Dispose();
        return null;
    }

    public void Dispose()
    {
        foreach (var part in Parts) part.Dispose();
    }
}
