using static TorchSharp.torch;

namespace Actipress.Transforms;

// The transform in torch operations, on any device. Along an axis each tap of the filters is one multiply-add of a strided view.
sealed partial record Wavelet
{
    /// <inheritdoc/>
    public override Tensor Forward(Tensor map, MapShape shape)
    {
        var rest = map.view(shape.Maps, shape.Depth, shape.Height, shape.Width);
        var details = new Stack<Tensor[]>();
        foreach (var extents in Sizes(shape).SkipLast(1))
        {
            // The bands are in the order of their names, because each axis divides all bands so far into low and high.
            Tensor[] bands = [rest];
            foreach (var axis in extents.DividedAxes)
                bands = [.. bands.SelectMany(band =>
                {
                    var halves = Analyse(band, axis + 1);
                    band.Dispose();
                    return halves;
                })];
            rest = bands[0];
            details.Push(bands[1..]);
        }
        Tensor[] all = [rest, .. details.SelectMany(bands => bands)];
        var flat = Array.ConvertAll(all, band => band.reshape(-1));
        var joined = flat.Length == 1 ? flat[0].clone() : cat(flat);
        foreach (var part in flat) part.Dispose();
        foreach (var part in all) part.Dispose();
        return joined;
    }

    /// <inheritdoc/>
    public override Tensor Inverse(Tensor coefficients, MapShape shape)
    {
        var sizes = Sizes(shape);
        var bands = Bands(shape);
        var rest = View(bands[0]);
        for (var level = sizes.Count - 1; level >= 1; level--)
        {
            Tensor[] parts = [rest, .. bands.Where(band => band.Level == level && !band.IsLow).Select(View)];
            foreach (var axis in sizes[level - 1].DividedAxes.Reverse())
                parts = [.. parts.Chunk(2).Select(halves =>
                {
                    var whole = Synthesise(halves[0], halves[1], axis + 1, sizes[level - 1][axis]);
                    foreach (var half in halves) half.Dispose();
                    return whole;
                })];
            rest = parts[0];
        }
        using (rest) return rest.reshape(-1);

        Tensor View(Band band)
        {
            using var part = coefficients.narrow(0, band.Start * shape.Maps, band.Elements * shape.Maps);
            return part.view(shape.Maps, band.Extents.Depth, band.Extents.Height, band.Extents.Width);
        }
    }

    // The taps of all outputs read this part of the periodic axis, which starts F/2 - (F - 1) elements before the first one.
    long[] Stretch(long even) =>
        [.. Enumerable.Range(0, checked((int)even) - 2 + low.Length)
            .Select(i => (long)Modulo(low.Length / 2 - (low.Length - 1) + i, (int)even))];

    Tensor[] Analyse(Tensor x, int axis)
    {
        var length = x.shape[axis];
        var half = (length + 1) / 2;
        using var places = tensor(Array.ConvertAll(Stretch(2 * half), i => Math.Min(i, length - 1)), device: x.device);
        using var stretch = x.index_select(axis, places);
        return [Filter(low), Filter(high)];

        Tensor Filter(double[] filter)
        {
            Tensor? sum = null;
            for (var j = 0; j < filter.Length; j++)
            {
                using var taps = stretch.slice(axis, filter.Length - 1 - j, filter.Length - 1 - j + 2 * half - 1, 2);
                if (sum is null) sum = taps.Mul(filter[j]);
                else sum.Add_(taps, filter[j]);
            }
            return sum!;
        }
    }

    Tensor Synthesise(Tensor lowBand, Tensor highBand, int axis, long length)
    {
        var half = (length + 1) / 2;
        var indices = Stretch(2 * half);
        var sizes = lowBand.shape;
        sizes[axis] = indices.Length;
        using var stretch = zeros(sizes, lowBand.dtype, lowBand.device);
        for (var j = 0; j < low.Length; j++)
        {
            using var taps = stretch.slice(axis, low.Length - 1 - j, low.Length - 1 - j + 2 * half - 1, 2);
            taps.Add_(lowBand, low[j]);
            taps.Add_(highBand, high[j]);
        }
        sizes[axis] = 2 * half;
        using var whole = zeros(sizes, lowBand.dtype, lowBand.device);
        using var places = tensor(indices, device: lowBand.device);
        whole.IndexAdd_(axis, places, stretch);
        return whole.narrow(axis, 0, length);
    }
}
