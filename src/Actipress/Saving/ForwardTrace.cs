using Actipress.Autograd;
using Actipress.Saving;

namespace Actipress;

/// <summary>The role of a saved tensor in the model.</summary>
enum SavedKind
{
    /// <summary>An activation map, a mask or indices, which the forward pass made.</summary>
    Map,

    /// <summary>A parameter or buffer of the model, or a view of one.</summary>
    Parameter,

    /// <summary>The forward pass's input, which its caller holds.</summary>
    Input,
}

/// <summary>One tensor that one operation saved. Two operations may save the same storage.</summary>
/// <param name="Layer">The layer that ran; a layer without a module where it was not known.</param>
/// <param name="Kind">The role of the tensor.</param>
/// <param name="Type">The elements' type.</param>
/// <param name="Elements">The number of elements of the saved tensor, which may be a view of its storage.</param>
/// <param name="Storage">
/// The index of the storage, counted from 0 in the order in which the storages of a forward pass were first saved.
/// </param>
/// <param name="StorageBytes">The bytes of the whole storage.</param>
sealed record TracedSave(Layer Layer, SavedKind Kind, torch.ScalarType Type, long Elements, int Storage, long StorageBytes);

/// <summary>The tensors that one forward pass saves for its backward pass, save by save, without compression.</summary>
/// <param name="Saves">The saved tensors, in the order of the forward pass.</param>
/// <param name="ParameterBytes">The bytes of the model's parameters and buffers.</param>
/// <param name="InputBytes">The bytes of the input.</param>
/// <param name="OutputBytes">The bytes of the output.</param>
/// <param name="OutputStorage">The index of the output's storage if an operation saved it, else null.</param>
sealed record ForwardTrace(IReadOnlyList<TracedSave> Saves, long ParameterBytes, long InputBytes, long OutputBytes, int? OutputStorage)
{
    /// <summary>The saves of activation maps, masks and indices.</summary>
    public IEnumerable<TracedSave> Maps => Saves.Where(save => save.Kind == SavedKind.Map);

    /// <summary>The bytes of all saved maps, each storage counted once.</summary>
    public long MapBytes => Maps.DistinctBy(save => save.Storage).Sum(save => save.StorageBytes);

    /// <summary>
    /// The bytes that the plain network holds after the forward pass: parameters and buffers, input, output, and each saved storage once
    /// (the paper's M_BL, without a target).
    /// </summary>
    public long AfterForwardBytes => ParameterBytes + InputBytes + OutputBytes + MapBytes - SavedOutputBytes;

    /// <summary>The bytes of the output if its storage is saved too, else 0.</summary>
    public long SavedOutputBytes => OutputStorage is null ? 0 : OutputBytes;

    /// <summary>Runs <paramref name="model"/> once by <c>call</c> and records the tensors that autograd saves.</summary>
    /// <param name="model">
    /// The model, which keeps its mode. In training mode the statistics of its batch norms change, as in any forward pass.
    /// </param>
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

        EngineHooks.EnsureInstalled();
        // The graph holds every saved tensor until the output is disposed, so that no two storages have the same address.
        using var hooks = SavedTensorsScope.Enter(new UserHooks(tensor =>
        {
            var address = StorageReference.AddressOf(tensor);
            var kind = parameters.Contains(address) ? SavedKind.Parameter : address == inputStorage ? SavedKind.Input : SavedKind.Map;
            if (!storages.TryGetValue(address, out var storage)) storages.Add(address, storage = storages.Count);
            saves.Add(new(
                watch.Current ?? Layer.Unknown, kind, tensor.dtype, tensor.NumberOfElements, storage, StorageReference.BytesOf(tensor)));
            return tensor;
        }, kept => ((Tensor)kept!).alias()));
        using var output = model.call(input);
        return new(saves, own.Sum(TensorMemory.Bytes), input.Bytes(), output.Bytes(),
            storages.TryGetValue(StorageReference.AddressOf(output), out var saved) ? saved : null);
    }

    /// <summary>
    /// Extrapolates the trace of a batch of <paramref name="batch"/> examples from those of <see cref="SmallBatch"/> examples and of one
    /// more, because sizes grow linearly. A single example would not do: there a layer may share storages that it copies in a batch.
    /// </summary>
    /// <exception cref="ArgumentException">The two traces have different saves.</exception>
    public static ForwardTrace Extrapolate(ForwardTrace small, ForwardTrace larger, int batch)
    {
        ArgumentNullException.ThrowIfNull(small);
        ArgumentNullException.ThrowIfNull(larger);
        if (small.Saves.Count != larger.Saves.Count || small.Saves.Zip(larger.Saves).Any(pair => pair.First.Storage != pair.Second.Storage))
            throw new ArgumentException($"A batch of {SmallBatch} saves otherwise than one of {SmallBatch + 1} ({small.Saves.Count} "
                + $"tensors and {larger.Saves.Count}): nothing can be told of larger batches.");
        long At(long first, long second) => first + (second - first) * (batch - SmallBatch);
        return new(
            [.. small.Saves.Zip(
                larger.Saves,
                (a, b) => a with { Elements = At(a.Elements, b.Elements), StorageBytes = At(a.StorageBytes, b.StorageBytes) })],
            small.ParameterBytes, At(small.InputBytes, larger.InputBytes), At(small.OutputBytes, larger.OutputBytes), small.OutputStorage);
    }

    /// <summary>The smaller batch of <see cref="Extrapolate"/>.</summary>
    public const int SmallBatch = 2;
}
