using System.Numerics;
using Actipress.Autograd;
using Actipress.Machine;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Backward;

/// <summary>
/// The backward pass of a batch norm whose input is read in pieces, twice: once for the sums over each channel, and once for the gradient.
/// </summary>
/// <remarks>
/// With the mean m and the inverse deviation r of a channel of n elements, the incoming gradient g and the weight w
/// <code>
/// by weight = r sum(g (x - m))    by bias = sum(g)    by input = w r (g - sum(g) / n - (x - m) r^2 sum(g (x - m)) / n)
/// </code> and w r g where the running statistics were used (Ioffe and Szegedy 2015). Sums are in float64, as in libtorch. The gradient by
/// the input overwrites the incoming gradient where nobody else reads that.
/// <para>
/// Where m is the mean of the batch, the mean of the rebuilt values takes its place. So the gradient by the input adds up to zero in each
/// channel, as the exact one does. The layer before multiplies this sum by the mean of its own input, which may be far from zero.
/// </para>
/// </remarks>
static unsafe class PiecewiseBatchNorm
{
    // The number of elements of one map that one thread takes at a time, and the number that a float32 register sums.
    const long Stretch = 1 << 16;
    const int Added = 1 << 9;

    /// <param name="call">libtorch's arguments.</param>
    /// <param name="gradient">The gradient by the output: float32 on the CPU.</param>
    /// <param name="input">The saved map: (examples, channels, spatial axes).</param>
    /// <param name="mayOverwrite">Whether nobody else reads <paramref name="gradient"/> afterwards.</param>
    /// <param name="shared">The batch of which the input is a part, where other processes have the other parts.</param>
    /// <returns>The gradients that are wanted.</returns>
    public static (Tensor? Input, Tensor? Weight, Tensor? Bias) Run(
        BatchNormCall call, Tensor gradient, IMapPieces input, bool mayOverwrite, SharedBatchNorm? shared = null)
    {
        var (shape, channels) = (MapShape.Of(input.Sizes), input.Sizes[1]);
        var pieces = new Strips(shape).Pieces((long)(Strips.PieceElements * input.Scale));
        var given = gradient.contiguous();
        var elements = shape.Elements / channels;
        double[] means = Numbers(call.Mean, channels, 0), weights = Numbers(call.Weight, channels, 1);
        var inverses = Numbers(call.Deviation, channels, 1);
        if (!call.IsTraining) inverses = [.. inverses.Select(variance => 1 / Math.Sqrt(variance + call.Epsilon))];
        var own = new BatchNormSums((int)channels);
        foreach (var piece in pieces)
        {
            using var scope = NewDisposeScope();
            AddUp(given, Placeholder.Read(input, piece), piece, shape, means, own);
        }
        var all = own;
        if (shared is not null && call.Wants.Input) (all, elements) = (own.OfWholeBatch(shared), shared.Elements);
        var areOfBatch = shared is null ? call.IsTraining : call.Wants.Input;
        double Moved(int c) => areOfBatch ? all.Deviations[c] / elements : 0;
        var byWeight = call.Wants.Weight ? Tensor32(channels, c => own.ProductsAbout(c, Moved(c)) * inverses[c]) : null;
        var byBias = call.Wants.Bias ? Tensor32(channels, c => own.Gradients[c]) : null;
        if (!call.Wants.Input) return (null, byWeight, byBias);

        // The gradient by the input is g a + (x - m) b + c.
        var (ofGradient, ofInput, constant) = (new float[channels], new float[channels], new float[channels]);
        for (var c = 0; c < channels; c++)
        {
            var scale = weights[c] * inverses[c];
            ofGradient[c] = (float)scale;
            if (!areOfBatch) continue;
            var slope = scale * all.ProductsAbout(c, Moved(c)) * inverses[c] * inverses[c] / elements;
            ofInput[c] = (float)-slope;
            constant[c] = (float)(slope * Moved(c) - scale * all.Gradients[c] / elements);
        }
        var byInput = Pieces.ByInput(gradient, given, mayOverwrite);
        foreach (var piece in pieces)
        {
            using var scope = NewDisposeScope();
            Combine(given, Placeholder.Read(input, piece), byInput, piece, shape, means, ofGradient, ofInput, constant);
        }
        return (byInput, byWeight, byBias);
    }

    static double[] Numbers(Tensor? numbers, long channels, double otherwise)
    {
        if (numbers is null) return [.. Enumerable.Repeat(otherwise, (int)channels)];
        using var scope = NewDisposeScope();
        return numbers.to(ScalarType.Float64).contiguous().data<double>().ToArray();
    }

    static Tensor Tensor32(long channels, Func<int, double> number) =>
        tensor([.. Enumerable.Range(0, (int)channels).Select(c => (float)number(c))], float32);

    // A contiguous part of one map: its offset in the piece and in the tensor, its number of elements, and its channel.
    static List<(long InPiece, long At, int Count, int Channel)> Stretches(MapRange piece, MapShape shape, int channels)
    {
        var stretches = new List<(long, long, int, int)>();
        var ofMap = piece.Rows * MapRange.RowElements(shape);
        for (long map = 0; map < piece.Maps; map++)
            for (long start = 0; start < ofMap; start += Stretch)
                stretches.Add((
                    map * ofMap + start, (piece.First + map) * shape.MapElements + piece.FirstRow * MapRange.RowElements(shape) + start,
                    (int)Math.Min(Stretch, ofMap - start), (int)((piece.First + map) % channels)));
        return stretches;
    }

    static void AddUp(Tensor gradient, Tensor values, MapRange piece, MapShape shape, double[] means, BatchNormSums to)
    {
        var (g, x) = (LibTorch.Data(gradient), LibTorch.Data(values));
        var stretches = Stretches(piece, shape, means.Length);
        var found = new (double Gradient, double Product, double Deviation)[stretches.Count];
        CpuTeam.Each(stretches.Count, Together(stretches[0].Count), (first, end) =>
        {
            for (var i = first; i < end; i++)
            {
                var (inPiece, at, count, channel) = stretches[(int)i];
                found[i] = AddUp((float*)g + at, (float*)x + inPiece, count, (float)means[channel]);
            }
        });
        for (var i = 0; i < found.Length; i++)
        {
            var channel = stretches[i].Channel;
            to.Gradients[channel] += found[i].Gradient;
            to.Products[channel] += found[i].Product;
            to.Deviations[channel] += found[i].Deviation;
        }
    }

    // A thread takes several small maps at a time.
    static long Together(int elements) => Math.Max(1, Stretch / elements);

    static (double Gradient, double Product, double Deviation) AddUp(float* g, float* x, int count, float mean)
    {
        var (gradient, product, deviation, middle) = (0.0, 0.0, 0.0, new Vector<float>(mean));
        for (var start = 0; start < count; start += Added)
        {
            var (i, end) = (start, Math.Min(count, start + Added));
            Vector<float> someGradient = default, someProduct = default, someDeviation = default;
            for (; i + Vector<float>.Count <= end; i += Vector<float>.Count)
            {
                var (of, from) = (*(Vector<float>*)(g + i), *(Vector<float>*)(x + i) - middle);
                someGradient += of;
                someProduct += of * from;
                someDeviation += from;
            }
            gradient += Vector.Sum(someGradient);
            product += Vector.Sum(someProduct);
            deviation += Vector.Sum(someDeviation);
            for (; i < end; i++)
            {
                gradient += g[i];
                product += (double)g[i] * (x[i] - mean);
                deviation += x[i] - mean;
            }
        }
        return (gradient, product, deviation);
    }

    static void Combine(
        Tensor gradient, Tensor values, Tensor to, MapRange piece, MapShape shape, double[] means, float[] ofGradient, float[] ofInput,
        float[] constant)
    {
        var (g, x, result) = (LibTorch.Data(gradient), LibTorch.Data(values), LibTorch.Data(to));
        var stretches = Stretches(piece, shape, ofGradient.Length);
        CpuTeam.Each(stretches.Count, Together(stretches[0].Count), (first, end) =>
        {
            for (var i = first; i < end; i++)
            {
                var (inPiece, at, count, channel) = stretches[(int)i];
                Combine(
                    (float*)g + at, (float*)x + inPiece, (float*)result + at, count, (float)means[channel], ofGradient[channel],
                    ofInput[channel], constant[channel]);
            }
        });
    }

    static void Combine(float* g, float* x, float* to, int count, float mean, float ofGradient, float ofInput, float constant)
    {
        var (m, a, b) = (new Vector<float>(mean), new Vector<float>(ofGradient), new Vector<float>(ofInput));
        var (c, i) = (new Vector<float>(constant), 0);
        for (; i + Vector<float>.Count <= count; i += Vector<float>.Count)
            *(Vector<float>*)(to + i) = *(Vector<float>*)(g + i) * a + ((*(Vector<float>*)(x + i) - m) * b + c);
        for (; i < count; i++) to[i] = g[i] * ofGradient + ((x[i] - mean) * ofInput + constant);
    }
}
