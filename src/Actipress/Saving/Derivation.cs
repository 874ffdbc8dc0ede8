using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Saving;

/// <summary>
/// How the result of an operation follows from maps that are held: a normalisation is x a + b with two numbers a channel, and what follows
/// it is a function of that, element by element.
/// </summary>
/// <remarks>
/// A derivation is built while the operations run, from the very tensors that they were given and gave (<see cref="Lineage"/>). Nothing is
/// guessed from values or from layers. The operations are those of which the hooks are told the results
/// (<see cref="Operation.TellsResults"/>).
/// </remarks>
abstract class Derivation
{
    /// <summary>The held maps, each as often as its values are needed.</summary>
    public abstract IEnumerable<SavedMap> Sources { get; }

    /// <summary>The maps whose bits are needed, and no values.</summary>
    public virtual IEnumerable<SavedMap> Rectified => [];

    /// <summary>The numbers of the normalisations.</summary>
    public abstract IEnumerable<NormalisationNumbers> Numbers { get; }

    /// <summary>The values in row-major order, in a tensor of their own that the caller disposes.</summary>
    public abstract Tensor Rebuild();

    /// <summary>Whether a range of maps of a shape can be rebuilt without the rest.</summary>
    public virtual bool HasRanges(MapShape shape) => false;

    /// <summary>
    /// A range of the values: (maps, rows, elements of a row), the same to the bit as in <see cref="Rebuild()"/>, in a tensor of its own
    /// that the caller disposes.
    /// </summary>
    public virtual Tensor Rebuild(MapRange range) => throw new InvalidOperationException($"{GetType().Name} has no ranges.");

    /// <summary>
    /// The same of what is held now, whatever becomes of the maps: <see cref="Rebuild()"/> gives the same values to the bit as long as it
    /// lives. Where <see cref="CanSettle"/>.
    /// </summary>
    public abstract Derivation Settled();

    /// <summary>Whether what is held now can be kept until the maps are released, and tells the values alone.</summary>
    public virtual bool CanSettle => !Rectified.Any() && Sources.All(source => source.CanPin);

    /// <summary>A held map itself.</summary>
    /// <param name="map">The map.</param>
    /// <param name="pinned">How it was held when this was settled; null for how it is held.</param>
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
    /// <param name="input">Its input.</param>
    /// <param name="shape">The input's shape.</param>
    /// <param name="numbers">What it multiplies by and adds.</param>
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

    /// <summary>What an operation makes of each element.</summary>
    public sealed class Function(Operation operation, Derivation of) : Derivation
    {
        // Exponential functions differ in their last bit between a vector's lanes and its rest, and so with the number of threads.
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
            "hardswish" => nn.functional.hardswish(values, inplace: true),
            _ => nn.functional.gelu(values),
        };
    }

    /// <summary>A ReLU's result, whose exact zeros are told by the bits that are held of it.</summary>
    /// <param name="of">The ReLU's argument.</param>
    /// <param name="map">Its result.</param>
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
            // What is held of it may have become finer since: then its values tell the zeros too.
            if (map.BitsFor(Need.Sign) is not { } bits) return new Held(map).Rebuild();
            var values = of.Rebuild();
            bits.Rectify(values);
            return values;
        }
    }

    /// <summary>The sum of two, or their product.</summary>
    /// <param name="first">With as many elements as the result.</param>
    /// <param name="second">Likewise, or a factor for each channel.</param>
    /// <param name="isProduct">Whether they are multiplied.</param>
    /// <param name="shape">The result's shape.</param>
    /// <param name="ofSecond">That of the second one, seen beside the result.</param>
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
