using Actipress.Autograd;
using Actipress.Saving;

namespace Actipress;

/// <summary>What a saved tensor is to the model.</summary>
public enum SavedKind
{
    /// <summary>An activation map, a mask or indices: made by the forward pass.</summary>
    Map,

    /// <summary>A parameter or buffer of the model, or a view of one.</summary>
    Parameter,

    /// <summary>The forward pass's input, which its caller holds.</summary>
    Input,
}

/// <summary>One tensor that one operation saved. Two operations may save the same storage.</summary>
/// <param name="Layer">The layer that ran; one without a module where none was known.</param>
/// <param name="Kind">What it is to the model.</param>
/// <param name="Type">The elements' type.</param>
/// <param name="Elements">Of the saved tensor, which may be a view of its storage.</param>
/// <param name="Storage">Numbers the storages of a forward pass from 0, in the order in which they were first saved.</param>
/// <param name="StorageBytes">Bytes of the whole storage.</param>
public sealed record TracedSave(Layer Layer, SavedKind Kind, torch.ScalarType Type, long Elements, int Storage, long StorageBytes);

/// <summary>What one forward pass saves for its backward pass, save by save, nothing being compressed.</summary>
/// <param name="Saves">In the order of the forward pass.</param>
/// <param name="ParameterBytes">Parameters and buffers of the model.</param>
/// <param name="InputBytes">The input.</param>
/// <param name="OutputBytes">The output.</param>
/// <param name="OutputStorage">The output's storage where an operation saved it, else null.</param>
public sealed record ForwardTrace(IReadOnlyList<TracedSave> Saves, long ParameterBytes, long InputBytes, long OutputBytes, int? OutputStorage)
{
    /// <summary>The saves of activation maps, masks and indices.</summary>
    public IEnumerable<TracedSave> Maps => Saves.Where(save => save.Kind == SavedKind.Map);

    /// <summary>Bytes of all saved maps, each storage once.</summary>
    public long MapBytes => Maps.DistinctBy(save => save.Storage).Sum(save => save.StorageBytes);

    /// <summary>
    /// What the plain network holds after the forward pass: parameters and buffers, input, output, and each saved storage once (the
    /// paper's M_BL, without a target).
    /// </summary>
    public long AfterForwardBytes => ParameterBytes + InputBytes + OutputBytes + MapBytes - SavedOutputBytes;

    /// <summary>The output's bytes where they are among the saved ones too.</summary>
    public long SavedOutputBytes => OutputStorage is null ? 0 : OutputBytes;

    /// <summary>Runs <paramref name="model"/> once under <c>call</c> and notes what autograd saves.</summary>
    /// <param name="model">Keeps its mode; in train mode its batch norms' statistics move, as in any forward pass.</param>
    /// <param name="input">Not disposed.</param>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch has no place for the hooks.</exception>
    public static ForwardTrace Record(torch.nn.Module<Tensor, Tensor> model, Tensor input)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(input);
        var own = model.parameters().Concat(model.buffers()).Where(tensor => !tensor.IsInvalid).ToArray();
        var parameters = own.Select(StorageReference.AddressOf).ToHashSet();
        var inputStorage = StorageReference.AddressOf(input);
        var saves = new List<TracedSave>();
        var storages = new Dictionary<nint, int>();
        using var watch = new LayerWatch(new ModelLayers(model), _ => { }, _ => { });

        // The graph holds every saved tensor until the output is gone, so no address can come twice.
        using var hooks = SavedTensors.Hook(tensor =>
        {
            var address = StorageReference.AddressOf(tensor);
            var kind = parameters.Contains(address) ? SavedKind.Parameter : address == inputStorage ? SavedKind.Input : SavedKind.Map;
            if (!storages.TryGetValue(address, out var storage)) storages.Add(address, storage = storages.Count);
            saves.Add(new(watch.Current ?? Layer.Unknown, kind, tensor.dtype, tensor.NumberOfElements, storage, StorageReference.BytesOf(tensor)));
            return tensor;
        }, kept => ((Tensor)kept!).alias());
        using var output = model.call(input);
        return new(saves, own.Sum(TensorMemory.Bytes), input.Bytes(), output.Bytes(),
            storages.TryGetValue(StorageReference.AddressOf(output), out var saved) ? saved : null);
    }

    /// <summary>
    /// What a batch of <paramref name="batch"/> examples saves, from the traces of <see cref="SmallBatch"/> and one more: sizes grow
    /// linearly. (A single example would not do: there a layer may share storages that it copies in a batch.)
    /// </summary>
    /// <exception cref="ArgumentException">The two do not save alike.</exception>
    public static ForwardTrace Extrapolate(ForwardTrace small, ForwardTrace larger, int batch)
    {
        ArgumentNullException.ThrowIfNull(small);
        ArgumentNullException.ThrowIfNull(larger);
        if (small.Saves.Count != larger.Saves.Count || small.Saves.Zip(larger.Saves).Any(pair => pair.First.Storage != pair.Second.Storage))
            throw new ArgumentException($"A batch of {SmallBatch} saves otherwise than one of {SmallBatch + 1} ({small.Saves.Count} tensors and {larger.Saves.Count}): nothing can be told of larger batches.");
        long At(long first, long second) => first + (second - first) * (batch - SmallBatch);
        return new(
            [.. small.Saves.Zip(larger.Saves, (a, b) => a with { Elements = At(a.Elements, b.Elements), StorageBytes = At(a.StorageBytes, b.StorageBytes) })],
            small.ParameterBytes, At(small.InputBytes, larger.InputBytes), At(small.OutputBytes, larger.OutputBytes), small.OutputStorage);
    }

    /// <summary>The smaller batch of <see cref="Extrapolate"/>.</summary>
    public const int SmallBatch = 2;
}
