using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// Computes the result of an operation from maps that are held. A normalisation is x a + b with two numbers a channel, and the operations
/// behind it are functions of its elements.
/// </summary>
/// <remarks>
/// A derivation is built while the operations run, from their actual arguments and results (<see cref="Lineage"/>). Nothing is guessed from
/// values or from layers. It covers the operations whose results are reported to the hooks (<see cref="Operation.TellsResults"/>).
/// </remarks>
abstract class Derivation
{
    /// <summary>The held maps. A map is listed as often as its values are needed.</summary>
    public abstract IEnumerable<SavedMap> Sources { get; }

    /// <summary>The maps of which only bits are needed.</summary>
    public virtual IEnumerable<SavedMap> Rectified => [];

    /// <summary>The numbers of the normalisations.</summary>
    public abstract IEnumerable<NormalisationNumbers> Numbers { get; }

    /// <summary>Computes the values in row-major order, in a new tensor that the caller disposes.</summary>
    public abstract Tensor Rebuild();

    /// <summary>Whether a range of maps of a shape can be rebuilt without the rest.</summary>
    public virtual bool HasRanges(MapShape shape) => false;

    /// <summary>
    /// Computes a range of the values, (maps, rows, elements of a row), in a new tensor that the caller disposes. The values equal those of
    /// <see cref="Rebuild()"/> to the bit.
    /// </summary>
    public virtual Tensor Rebuild(MapRange range) => throw new InvalidOperationException($"{GetType().Name} has no ranges.");

    /// <summary>
    /// Pins the present forms of the maps: <see cref="Rebuild()"/> of the returned derivation gives the same values to the bit as long as
    /// it lives. It needs <see cref="CanSettle"/>.
    /// </summary>
    public abstract Derivation Settled();

    /// <summary>Whether the present forms can be kept until the maps are released, and determine the values alone.</summary>
    public virtual bool CanSettle => !Rectified.Any() && Sources.All(source => source.CanPin);

    /// <summary>A held map itself.</summary>
    /// <param name="map">The map.</param>
    /// <param name="pinned">The form of the map when the derivation was settled; null for its present form.</param>
    public sealed class Held(SavedMap map, Holding? pinned = null) : Derivation
    {
        public override Derivation Settled() => new Held(map, map.Pin());

        public override IEnumerable<SavedMap> Sources => [map];

        public override IEnumerable<NormalisationNumbers> Numbers => [];

        public override Tensor Rebuild()
        {
            var values = map.Rebuild(pinned);
            if (SavedMap.IsPacked(pinned ?? map.Values!)) return values;
            using (values) return values.clone();    // the map as it is
        }

        public override bool HasRanges(MapShape shape) => map.HasRanges(pinned) && MapShape.Of(map.Geometry.Sizes) == shape;

        public override Tensor Rebuild(MapRange range) => map.Rebuild(range, pinned);
    }

    /// <summary>The result of a normalisation.</summary>
    /// <param name="input">The input of the normalisation.</param>
    /// <param name="shape">The input's shape.</param>
    /// <param name="numbers">The factors and summands of the normalisation.</param>
    public sealed class Normalised(Derivation input, long[] shape, NormalisationNumbers numbers) : Derivation
    {
        public override bool CanSettle => input.CanSettle;

        public override Derivation Settled() => new Normalised(input.Settled(), shape, numbers);

        public override IEnumerable<SavedMap> Sources => input.Sources;

        public override IEnumerable<NormalisationNumbers> Numbers => [numbers];

        public override Tensor Rebuild()
        {
            var values = input.Rebuild();
            using var shaped = values.view(shape);
            numbers.Apply(shaped);
            return values;
        }

        public override bool HasRanges(MapShape of) => numbers.AreOfMaps && MapShape.Of(shape) == of && input.HasRanges(of);

        public override Tensor Rebuild(MapRange range)
        {
            var values = input.Rebuild(range);
            numbers.Apply(values, range);
            return values;
        }
    }

    /// <summary>A function that an operation applies to each element.</summary>
    /// <param name="operation">The operation.</param>
    /// <param name="of">Its argument.</param>
    /// <param name="first">
    /// Its first number: the slope of a LeakyReLU or PReLU, the alpha of an ELU, or the lower bound of a Hardtanh.
    /// </param>
    /// <param name="second">Its second number: the upper bound of a Hardtanh.</param>
    public sealed class Function(Operation operation, Derivation of, double first, double second) : Derivation
    {
        // An exponential function may differ in the last bit between the lanes of a vector and the remaining elements, and so with the
        // number of threads.
        public override bool CanSettle => false;

        public override Derivation Settled() => throw new InvalidOperationException($"The last bits of {operation} are not certain.");

        public override IEnumerable<SavedMap> Sources => of.Sources;

        public override IEnumerable<SavedMap> Rectified => of.Rectified;

        public override IEnumerable<NormalisationNumbers> Numbers => of.Numbers;

        public override Tensor Rebuild()
        {
            using var values = of.Rebuild();
            return Apply(values);
        }

        public override bool HasRanges(MapShape shape) => of.HasRanges(shape);

        public override Tensor Rebuild(MapRange range)
        {
            using var values = of.Rebuild(range);
            return Apply(values);
        }

        Tensor Apply(Tensor values) => operation.ShortName switch
        {
            "silu" => nn.functional.silu(values, inplace: true),
            "elu" => values.Elu_(first).alias(),
            "hardswish" => nn.functional.hardswish(values, inplace: true),
            "leaky_relu" or "_prelu_kernel" => values.LeakyRelu_(first).alias(),
            "hardtanh" => values.Hardtanh_(first, second).alias(),
            _ => nn.functional.gelu(values),
        };
    }

    /// <summary>A ReLU's result. Its held bits tell where it is exactly zero.</summary>
    /// <param name="of">The argument of the ReLU.</param>
    /// <param name="map">The result of the ReLU.</param>
    public sealed class Relu(Derivation of, SavedMap map) : Derivation
    {
        public SavedMap Result => map;

        public Derivation Argument => of;

        public override Derivation Settled() => throw new InvalidOperationException("Bits of another map are not kept.");

        public override IEnumerable<SavedMap> Sources => of.Sources;

        public override IEnumerable<SavedMap> Rectified => of.Rectified.Append(map);

        public override IEnumerable<NormalisationNumbers> Numbers => of.Numbers;

        public override Tensor Rebuild()
        {
            // The held form of the map may have become finer since. Then its values tell the zeros too.
            if (map.BitsFor(Need.Sign) is not { } bits) return new Held(map).Rebuild();
            var values = of.Rebuild();
            bits.Rectify(values);
            return values;
        }
    }

    /// <summary>Maps that are joined along an axis.</summary>
    /// <param name="parts">The maps in their order, with their shapes.</param>
    /// <param name="axis">The axis.</param>
    /// <param name="shape">The shape of the result.</param>
    public sealed class Joined(IReadOnlyList<(Derivation Map, long[] Shape)> parts, int axis, long[] shape) : Derivation
    {
        // Below the last two axes of a plane, or the last three of a volume, whole maps are joined. Those of one place of the outer axes
        // follow one another in the result, as many of each part as the part has there.
        readonly long together = MapsTogether(shape, axis);

        public IEnumerable<Derivation> Parts => parts.Select(part => part.Map);

        public override bool CanSettle => parts.All(part => part.Map.CanSettle);

        public override Derivation Settled() => new Joined([.. parts.Select(part => (part.Map.Settled(), part.Shape))], axis, shape);

        public override IEnumerable<SavedMap> Sources => parts.SelectMany(part => part.Map.Sources);

        public override IEnumerable<SavedMap> Rectified => parts.SelectMany(part => part.Map.Rectified);

        public override IEnumerable<NormalisationNumbers> Numbers => parts.SelectMany(part => part.Map.Numbers);

        public override Tensor Rebuild()
        {
            var (whole, first) = ((Tensor?)null, 0L);
            foreach (var (map, of) in parts)
            {
                using var values = map.Rebuild();
                whole ??= empty(shape, values.dtype, values.device);
                using var shaped = values.view(of);
                using var place = whole.narrow(axis, first, of[axis]);
                place.copy_(shaped).Dispose();
                first += of[axis];
            }
            return whole!;
        }

        public override bool HasRanges(MapShape of) =>
            together > 0 && MapShape.Of(shape) == of && parts.All(part => part.Map.HasRanges(MapShape.Of(part.Shape)));

        // The maps that a part has of a range follow one another in the part, and its maps of each place of the outer axes in the result.
        public override Tensor Rebuild(MapRange range)
        {
            var ofPlace = together * shape[axis];
            var (first, firstWithin) = Math.DivRem(range.First, ofPlace);
            var (last, lastWithin) = Math.DivRem(range.First + range.Maps, ofPlace);
            var (whole, before) = ((Tensor?)null, 0L);
            foreach (var (map, of) in parts)
            {
                var count = together * of[axis];
                var begin = first * count + Math.Clamp(firstWithin - before, 0, count);
                var end = last * count + Math.Clamp(lastWithin - before, 0, count);
                if (end > begin)
                {
                    var values = map.Rebuild(range with { First = begin, Maps = end - begin });
                    if (end - begin == range.Maps) return values;
                    using (values)
                    {
                        whole ??= empty([range.Maps, .. values.shape[1..]], values.dtype, values.device);
                        Scatter(values, begin, count, whole, before - range.First, ofPlace);
                    }
                }
                before += count;
            }
            return whole!;
        }

        // Map n of a part lies at map n / count * ofPlace + n % count of the result.
        static void Scatter(Tensor values, long begin, long count, Tensor whole, long offset, long ofPlace)
        {
            var (rows, elements) = (values.shape[1], values.shape[2]);
            for (long done = 0, maps = values.shape[0], together; done < maps; done += together)
            {
                var (place, within) = Math.DivRem(begin + done, count);
                var places = within == 0 ? Math.Max(1, (maps - done) / count) : 1;
                together = places > 1 ? places * count : Math.Min(count - within, maps - done);
                using var part = values.narrow(0, done, together);
                using var shaped = part.view(places, together / places, rows, elements);
                var size = rows * elements;
                using var target = whole.as_strided(
                    shaped.shape, [ofPlace * size, size, elements, 1], (offset + place * ofPlace + within) * size);
                target.copy_(shaped).Dispose();
            }
        }

        static long MapsTogether(long[] shape, int axis)
        {
            var places = shape.Length - (shape.Length > 4 ? 3 : 2);
            if (shape.Length < 4 || axis >= places) return 0;
            var maps = 1L;
            for (var inner = axis + 1; inner < places; inner++) maps *= shape[inner];
            return maps;
        }
    }

    /// <summary>The sum or the product of two maps.</summary>
    /// <param name="first">The first operand, with as many elements as the result.</param>
    /// <param name="second">The second operand, with as many elements as the result, or with a factor for each channel.</param>
    /// <param name="isProduct">Whether the operands are multiplied.</param>
    /// <param name="shape">The result's shape.</param>
    /// <param name="ofSecond">The shape of the second operand, broadcast to the result.</param>
    public sealed class Both(Derivation first, Derivation second, bool isProduct, long[] shape, long[] ofSecond) : Derivation
    {
        public override bool CanSettle => first.CanSettle && second.CanSettle;

        public override Derivation Settled() => new Both(first.Settled(), second.Settled(), isProduct, shape, ofSecond);

        public override IEnumerable<SavedMap> Sources => first.Sources.Concat(second.Sources);

        public override IEnumerable<SavedMap> Rectified => first.Rectified.Concat(second.Rectified);

        public override IEnumerable<NormalisationNumbers> Numbers => first.Numbers.Concat(second.Numbers);

        public override Tensor Rebuild()
        {
            var values = first.Rebuild();
            using var other = second.Rebuild();
            using (var shaped = values.view(shape))
            using (var otherShaped = other.view(ofSecond))
                if (isProduct) shaped.mul_(otherShaped).Dispose();
                else shaped.Add_(otherShaped).Dispose();
            return values;
        }

        public override bool HasRanges(MapShape of) =>
            MapShape.Of(shape) == of && shape.AsSpan().SequenceEqual(ofSecond) && first.HasRanges(of) && second.HasRanges(of);

        public override Tensor Rebuild(MapRange range)
        {
            var values = first.Rebuild(range);
            using var other = second.Rebuild(range);
            if (isProduct) values.mul_(other);
            else values.Add_(other);
            return values;
        }
    }
}
