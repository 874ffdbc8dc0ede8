using Actipress.Autograd;
using Actipress.Saving;
using TorchSharp.Modules;

namespace Actipress;

/// <summary>
/// The choice of the layers whose saved activation maps are compressed, and of their codecs. Where several rules apply to a layer, the last
/// one decides. The report names each rule that decided nothing, because no layer matched it or because later rules overruled it on every
/// layer.
/// </summary>
/// <example><code>
/// model.CompressActivations(options => options
///     .Default(ActivationCodec.Dct(ratio: 10))
///     .Where(layer => layer.Is&lt;BatchNorm3d>(), ActivationCodec.Wavelet("db3", 100))
///     .Except("head.*")
///     .DisposeIntermediates());
/// </code></example>
public sealed class CompressionOptions
{
    readonly List<Rule> rules = [];
    readonly Dictionary<string, OperationNeeds> operations = [];
    string[] blocks = [];

    /// <summary>The defaults.</summary>
    /// <exception cref="ArgumentException">The environment forces an implementation of codecs that there is not.</exception>
    public CompressionOptions() => Pipeline.Check();

    /// <summary>The codec of every layer that no other rule names.</summary>
    public CompressionOptions Default(ActivationCodec codec)
    {
        ArgumentNullException.ThrowIfNull(codec);
        DefaultCodec = codec;
        return this;
    }

    /// <summary>
    /// The codec of the layers for which <paramref name="layer"/> is true; <see cref="ActivationCodec.None"/> leaves them as they are.
    /// </summary>
    public CompressionOptions Where(Func<Layer, bool> layer, ActivationCodec codec)
    {
        ArgumentNullException.ThrowIfNull(layer);
        ArgumentNullException.ThrowIfNull(codec);
        rules.Add(new(rules.Count + 1, null, layer, codec));
        return this;
    }

    /// <summary>
    /// The codec of the layers that <paramref name="pattern"/> names: a layer, all below it, or a pattern such as <c>layer?.*.bn*</c>.
    /// </summary>
    public CompressionOptions Where(string pattern, ActivationCodec codec)
    {
        ArgumentException.ThrowIfNullOrEmpty(pattern);
        ArgumentNullException.ThrowIfNull(codec);
        rules.Add(new(rules.Count + 1, pattern, layer => layer.Matches(pattern), codec));
        return this;
    }

    /// <summary>Leaves the layers that any of <paramref name="patterns"/> names as they are.</summary>
    public CompressionOptions Except(params string[] patterns)
    {
        ArgumentNullException.ThrowIfNull(patterns);
        foreach (var pattern in patterns) Where(pattern, ActivationCodec.None);
        return this;
    }

    /// <summary>Compresses only inside these parts of the model.</summary>
    /// <param name="names">Names of submodules, such as <c>layer1</c>, or patterns.</param>
    public CompressionOptions Blocks(params string[] names)
    {
        ArgumentNullException.ThrowIfNull(names);
        blocks = names;
        return this;
    }

    /// <summary>
    /// Limits each step to a number of bytes. <see cref="MemoryBudget"/> measures the first step, and then chooses the codec of each layer
    /// that no rule names.
    /// </summary>
    /// <param name="bytes">The limit, above zero.</param>
    /// <param name="of">
    /// The limited quantity: the peak of the whole step above the level at its begin, or the bytes held in place of saved maps.
    /// </param>
    /// <remarks>A forward pass throws <see cref="BudgetException"/> after a step has shown that the budget cannot be kept.</remarks>
    public CompressionOptions Budget(long bytes, BudgetOf of = BudgetOf.Step)
    {
        if (bytes <= 0) throw new ArgumentOutOfRangeException(nameof(bytes), $"No budget of {bytes} bytes: wanted more than zero.");
        BudgetGiven = (bytes, of);
        return this;
    }

    /// <summary>
    /// Adapts the codec of a layer to the need of the operation that saves a map: on by default. A ReLU's map is kept as signs, and
    /// pooling's as a shape. Vectors (inputs of <see cref="Linear"/> after flattening) get 8-bit quantisation in place of a transform, and
    /// so do matrices and tokens of which a transform gathers little. When it is off, every layer gets the codec of its rule, except for
    /// maps that must be held to 16 bits or exactly.
    /// </summary>
    /// <param name="on">Whether codecs are adapted.</param>
    public CompressionOptions AdaptToLayers(bool on = true)
    {
        AdaptsToLayers = on;
        return this;
    }

    /// <summary>
    /// Derives a map that follows from a held map, in place of holding both: on by default, with the codecs of the default storage. The
    /// output of a normalisation, of an activation function behind it, and of a sum or product of these is computed from the input of the
    /// normalisation, which gets a finer step in return, and from bits for a ReLU's exact zeros. When it is off, every saved map is
    /// compressed by itself.
    /// </summary>
    /// <param name="on">Whether maps are derived.</param>
    public CompressionOptions DeriveMaps(bool on = true)
    {
        DerivesMaps = on;
        return this;
    }

    /// <summary>
    /// Lets the backward passes of convolutions and batch norms read large maps in pieces, so that no such map is rebuilt whole: on by
    /// default, on the CPU, for float32 maps of 8 MiB and more under the codecs of the default storage except wavelets. Gradients differ
    /// from those of whole maps by the order of sums, by some 1e-5. When it is off, each map is rebuilt whole.
    /// </summary>
    /// <param name="on">Whether maps are read in pieces.</param>
    public CompressionOptions ReadInPieces(bool on = true)
    {
        ReadsInPieces = on;
        return this;
    }

    /// <summary>Leaves saved tensors of fewer bytes as they are: 4 KiB by default.</summary>
    /// <param name="bytes">The size in bytes; 0 compresses every map.</param>
    /// <exception cref="ArgumentOutOfRangeException">The size is below zero.</exception>
    public CompressionOptions SmallestBytes(int bytes)
    {
        if (bytes < 0)
            throw new ArgumentOutOfRangeException(
                nameof(bytes), $"{nameof(SmallestBytes)} {bytes}: wanted 0, which compresses every map, or more.");
        LeastBytes = bytes;
        return this;
    }

    /// <summary>
    /// Keeps the whole gradient at a cosine to the exact gradient. <see cref="KeptFidelity"/> measures the first steps, and then gives each
    /// map that no rule names the coarsest codec that keeps the cosine. Call <see cref="ActivationCompression.Backward"/> in place of
    /// <c>loss.backward()</c>.
    /// </summary>
    /// <param name="cosine">The cosine, above 0 and below 1, such as 0.98.</param>
    /// <param name="batches">The number of steps that are measured. Each takes the memory of a plain step.</param>
    public CompressionOptions KeepFidelity(double cosine, int batches = 4)
    {
        if (cosine is not (> 0 and < 1))
            throw new ArgumentOutOfRangeException(
                nameof(cosine), $"No cosine of {cosine} can be kept: wanted more than 0 and less than 1.");
        ArgumentOutOfRangeException.ThrowIfLessThan(batches, 1);
        FidelityGiven = (cosine, batches);
        return this;
    }

    /// <summary>
    /// Moves packed maps from a GPU to the host's pinned memory until the backward pass needs them, on a stream of their own, so that the
    /// forward pass need not wait. It is off by default, and has no effect on the CPU, without a CUDA driver, or where the host has no
    /// memory left.
    /// </summary>
    /// <param name="on">Whether packed maps are moved.</param>
    public CompressionOptions OffloadToHost(bool on = true)
    {
        OffloadsToHost = on;
        return this;
    }

    /// <summary>
    /// Disposes the tensors that a module's <c>call</c> makes and does not return, at the end of the call: off by default. Code that keeps
    /// the handles of its intermediate results holds their maps whole until the forward pass is over, and often longer, so that packing
    /// these maps frees nothing.
    /// </summary>
    /// <remarks>
    /// The tensors of the call's result (tensors, tuples, collections, objects with fields of these) move to the dispose scope around the
    /// call, and belong to the caller where there is none. Inputs, parameters and buffers stay. Nothing happens under <c>forward</c>, which
    /// TorchSharp's hooks do not see, nor to a call whose result is opaque, such as a lazy sequence. A call throws
    /// <see cref="InvalidOperationException"/> where a field of the module holds one of the tensors afterwards. Other code that keeps such
    /// a tensor, such as a forward hook that collects features, must call <c>DetachFromDisposeScope()</c> on it.
    /// </remarks>
    /// <param name="on">Whether such tensors are disposed.</param>
    public CompressionOptions DisposeIntermediates(bool on = true)
    {
        DisposesIntermediates = on;
        return this;
    }

    /// <summary>
    /// Sets the need of an operation's backward pass for the maps that it saves, for operations that Actipress does not know, or treats too
    /// strictly.
    /// </summary>
    /// <param name="name">The operation's name in libtorch, such as <c>aten::celu</c>, which includes its form in place.</param>
    /// <param name="need">The need for every floating-point map that the operation saves, except parameters.</param>
    /// <exception cref="ArgumentException">libtorch has no such operation, or another need was given for it before.</exception>
    public CompressionOptions Operation(string name, SavedNeed need)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        var known = Autograd.Operation.Existing(name);
        var needs = Enumerable.Repeat(Need.Of(need), Frame.MostArguments).ToArray();
        var line = new OperationNeeds(known.ShortName, needs, needs);
        if (operations.TryGetValue(known.ShortName, out var other) && other.OfArgument(0) != line.OfArgument(0))
            throw new ArgumentException($"Two needs of the operation '{name}': found {need} after another one, wanted one.", nameof(need));
        operations[known.ShortName] = line;
        return this;
    }

    internal OperationNeeds? Line(Operation operation) =>
        operations.TryGetValue(operation.ShortName, out var own) ? own : Operations.Of(operation);

    internal ActivationCodec DefaultCodec { get; private set; } = ActivationCodec.Dct(ratio: 10);

    internal bool AdaptsToLayers { get; private set; } = true;

    internal bool DerivesMaps { get; private set; } = true;

    internal bool ReadsInPieces { get; private set; } = true;

    internal bool OffloadsToHost { get; private set; }

    internal bool DisposesIntermediates { get; private set; }

    internal int LeastBytes { get; private set; } = 4096;

    internal (long Bytes, BudgetOf Of)? BudgetGiven { get; private set; }

    internal (double Cosine, int Batches)? FidelityGiven { get; private set; }

    internal ActivationCodec Adapt(ActivationCodec codec, Tensor map, Need need, Zeros zeros) =>
        AdaptsToLayers && codec.ExactZeros ? Sensitivity.Adapt(codec, map, need, zeros) : codec;

    internal IEnumerable<(ActivationCodec Codec, double MostError)> Finer(ActivationCodec codec, Tensor map, Need need) =>
        AdaptsToLayers && (codec.ExactZeros || codec.RoundsToSixteenBits) ? Sensitivity.Finer(codec, map, need)
            : [(codec, double.PositiveInfinity)];

    internal ActivationCodec CodecFor(Layer layer, out bool noRule)
    {
        noRule = false;
        if (blocks.Length > 0 && !blocks.Any(layer.Matches)) return ActivationCodec.None;
        if (rules.FindLast(rule => rule.Applies(layer)) is not { } last)
        {
            noRule = true;
            return DefaultCodec;
        }
        last.Decides = true;
        foreach (var earlier in rules.TakeWhile(rule => rule != last))
            if (!earlier.Decides && earlier.OverruledBy is null && earlier.Applies(layer)) earlier.OverruledBy = last;
        return last.Codec;
    }

    /// <summary>A note for each rule that decided nothing so far.</summary>
    internal IReadOnlyList<Note> IdleRules() =>
        [.. rules.Where(rule => !rule.Decides).Select(rule => new Note($"rule {rule.Number}", rule.WhyIdle))];

    sealed class Rule(int number, string? pattern, Func<Layer, bool> applies, ActivationCodec codec)
    {
        public int Number => number;
        public string? Pattern => pattern;
        public ActivationCodec Codec => codec;
        public bool Applies(Layer layer) => applies(layer);

        /// <summary>Whether the rule has decided on a map.</summary>
        public bool Decides { get; set; }

        /// <summary>The later rule that decided on the first map that this rule matched too.</summary>
        public Rule? OverruledBy { get; set; }

        public string WhyIdle => OverruledBy is { } later
            ? $"Rule {this} was overruled in the first step on every layer that it met: the first of them goes by rule {later}, " +
              "which is written later. Write the rule for fewer layers last, or leave one of the two out."
            : $"Rule {this} met nothing in the first step: no such layer saved a map. " +
              "A layer without parameters that is run by forward is known by its place in the model alone.";

        public override string ToString() =>
            $"{number} ('{codec}' for {(pattern is null ? "layers that meet a condition" : $"'{pattern}'")})";
    }

    /// <exception cref="ArgumentException">A pattern names no layer of the model.</exception>
    internal void Check(IReadOnlyList<Layer> layers)
    {
        if (BudgetGiven is not null && FidelityGiven is not null)
            throw new ArgumentException(
                $"{nameof(Budget)} and {nameof(KeepFidelity)} would both choose the codecs: found both, wanted one.");
        foreach (var pattern in rules.Select(rule => rule.Pattern).Concat(blocks))
            if (pattern is not null && !layers.Any(layer => layer.Matches(pattern)))
                throw new ArgumentException(
                    $"No layer matches '{pattern}'. The model's layers: " +
                    $"{string.Join(", ", layers.Select(layer => layer.Name).Where(name => name.Length > 0))}.");
    }
}
