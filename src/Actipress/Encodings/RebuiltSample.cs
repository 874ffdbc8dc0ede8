using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Encodings;

/// <summary>A sample of a map's values, and the values to which these will be rebuilt.</summary>
sealed class RebuiltSample
{
    const int Most = 1 << 12;

    readonly List<double> values = [], rebuilt = [];

    public IReadOnlyList<double> Values => values;

    public IReadOnlyList<double> Rebuilt => rebuilt;

    /// <summary>Samples values of some ranges.</summary>
    /// <param name="map">The map: row-major, or in any layout where one range covers the whole map.</param>
    /// <param name="ranges">Ranges that are spread over the map.</param>
    /// <param name="rebuild">Rebuilds a range; the result is disposed here.</param>
    public static RebuiltSample Of(Tensor map, IReadOnlyList<MapRange> ranges, Func<MapRange, Tensor> rebuild)
    {
        var (sample, shape) = (new RebuiltSample(), MapShape.Of(map.shape));
        foreach (var range in ranges)
        {
            using var found = rebuild(range);
            sample.Add(map, shape, range, found, ranges.Count);
        }
        return sample;
    }

    /// <summary>
    /// The norm of the error, divided by the norm of the values. Where the map is a ReLU's result and its argument is rebuilt, it is the
    /// error of the result.
    /// </summary>
    public double RelativeError(bool isOfArgument)
    {
        var (error, energy) = (0.0, 0.0);
        for (var i = 0; i < values.Count; i++)
        {
            if (double.IsNaN(values[i]) && double.IsNaN(rebuilt[i])) continue;
            var back = !isOfArgument ? rebuilt[i] : values[i] > 0 ? Math.Max(rebuilt[i], 0) : 0;
            error += (values[i] - back) * (values[i] - back);
            energy += values[i] * values[i];
        }
        return error == 0 ? 0 : Math.Sqrt(error / energy);
    }

    void Add(Tensor map, MapShape shape, MapRange range, Tensor found, int ranges)
    {
        using var scope = NewDisposeScope();
        var of = range == MapRange.Whole(shape, 0, shape.Maps) ? map : range.Of(map);
        var step = Math.Max(1, found.NumberOfElements * ranges / Most) | 1;    // odd, so that no column of a map is left out
        values.AddRange(Some(of));
        rebuilt.AddRange(Some(found));

        double[] Some(Tensor all) =>
            all.reshape(-1).slice(0, 0, all.NumberOfElements, step).to(ScalarType.Float64).data<double>().ToArray();
    }
}
