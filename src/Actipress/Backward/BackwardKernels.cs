using System.Collections.Frozen;
using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;
using unsafe NativeConvolutionBackward = delegate* unmanaged[Cdecl]<
    nint, nint, nint, long**, long, long*, long, long*, long, long*, long, int, long*, long, long, int*, long, nint*, nint*, nint*, int>;

namespace Actipress.Backward;

/// <summary>
/// Actipress's own kernels for libtorch's backward operations. They receive a <see cref="Placeholder"/> in place of a saved map, and read
/// the map in pieces.
/// </summary>
/// <remarks>
/// A placeholder is a tensor on libtorch's device "meta", which has no data. libtorch dispatches by that device, whatever the devices of
/// the other arguments are. So the kernels are registered through libtorch's stable C interface, for "meta" alone. Maps that Actipress does
/// not hold take libtorch's own path. An operation without a kernel of Actipress refuses a placeholder beside other tensors.
/// </remarks>
static unsafe partial class BackwardKernels
{
    // Version 2.10 of the stable interface.
    const ulong InterfaceVersion = 0x20A0000000000000;

    static readonly Lazy<PlatformNotSupportedException?> installed = new(Install, LazyThreadSafetyMode.ExecutionAndPublication);

    static NativeConvolutionBackward convolutionBackward;
    static delegate* unmanaged[Cdecl]<nint, ulong*, int> listSize;
    static delegate* unmanaged[Cdecl]<nint, ulong, ulong*, int> listItem;
    static delegate* unmanaged[Cdecl]<nint, int> deleteList;
    static delegate* unmanaged[Cdecl]<nint*, int> newEmpty;

    // The gradients of each way of calling a kernel.
    static readonly Holders ofBatchNorm = new();

    // The elementwise functions, by their backward operations.
    static readonly FrozenDictionary<string, Elementwise> elementwise =
        ElementwiseFunction.All.ToFrozenDictionary(function => function.Backward, function => new Elementwise(function));

    /// <summary>Why this platform has no kernels; null where it has. The first read of this property registers the kernels.</summary>
    public static PlatformNotSupportedException? Refusal => installed.Value;

    /// <summary>Whether the kernels recognise a gradient that nobody else reads, where <see cref="Refusal"/> is null.</summary>
    public static bool KnowOwnGradients =>
        ofBatchNorm.AreKnown && (!HasElementwise || elementwise.Values.All(own => own.Holders.AreKnown));

    /// <summary>
    /// Whether the backward passes of <see cref="ElementwiseFunction"/>s have kernels, where <see cref="Refusal"/> is null.
    /// </summary>
    public static bool HasElementwise => Dispatcher.IsAvailable;

    static PlatformNotSupportedException? Install()
    {
        try
        {
            // The trial below uses hooks.
            EngineHooks.EnsureInstalled();
            convolutionBackward = (NativeConvolutionBackward)LibTorch.Symbol("aoti_torch_cpu_convolution_backward");
            listSize = (delegate* unmanaged[Cdecl]<nint, ulong*, int>)LibTorch.Symbol("torch_list_size");
            listItem = (delegate* unmanaged[Cdecl]<nint, ulong, ulong*, int>)LibTorch.Symbol("torch_list_get_item");
            deleteList = (delegate* unmanaged[Cdecl]<nint, int>)LibTorch.Symbol("torch_delete_list");
            newEmpty = (delegate* unmanaged[Cdecl]<nint*, int>)LibTorch.Symbol("aoti_torch_new_uninitialized_tensor");
            Implement("convolution_backward\0"u8, &ConvolutionBackward);
            Implement("native_batch_norm_backward\0"u8, &BatchNormBackward);
            if (HasElementwise)
            {
                var meta = Dispatcher.Key("Meta");
                foreach (var backward in elementwise.Keys) Dispatcher.Implement(backward, meta, &ElementwiseBackward);
            }
            SelfCheck();
            return null;
        }
        catch (PlatformNotSupportedException refusal) { return refusal; }
        catch (Exception failure) when (failure is ExternalException or InvalidOperationException)
        {
            return LibTorch.Unsupported(failure.Message, "gradients of kernels of our own in a trial");
        }
    }

    // Registers a kernel. The library handle lives as long as the process, because deleting it would remove the kernel.
    static void Implement(ReadOnlySpan<byte> operation, delegate* unmanaged<ulong*, ulong, ulong, void> kernel)
    {
        var begin = (delegate* unmanaged[Cdecl]<byte*, byte*, byte*, uint, nint*, int>)LibTorch.Symbol("aoti_torch_library_init_impl");
        var implement = (delegate* unmanaged[Cdecl]<nint, byte*, nint, ulong, int>)LibTorch.Symbol("torch_library_impl");
        nint place;
        fixed (byte* space = "aten\0"u8, device = "Meta\0"u8, file = "actipress\0"u8, name = operation)
            if (begin(space, device, file, 1, &place) != 0 || implement(place, name, (nint)kernel, InterfaceVersion) != 0)
                throw LibTorch.Unsupported(
                    "a refusal", $"a kernel of ours for {System.Text.Encoding.UTF8.GetString(operation[..^1])} on meta");
    }

    /// <summary>
    /// Calls libtorch's own convolution_backward on the CPU, through the interface that returns an error code for an exception.
    /// </summary>
    /// <returns>The gradients that <paramref name="call"/> asks for, which the caller disposes; null for the others.</returns>
    /// <exception cref="InvalidOperationException">
    /// libtorch failed, most often for lack of memory, and has written the cause to standard error.
    /// </exception>
    public static (Tensor? Input, Tensor? Weight, Tensor? Bias) Convolution(
        ConvolutionCall call, Tensor gradient, Tensor input, Tensor weight)
    {
        var results = stackalloc nint[3];
        var wants = stackalloc int[] { call.Wants.Input ? 1 : 0, call.Wants.Weight ? 1 : 0, call.Wants.Bias ? 1 : 0 };
        var given = call.Arguments;
        fixed (long* bias = call.BiasSizes, stride = given.Stride, padding = given.Padding)
        fixed (long* dilation = given.Dilation, outputPadding = given.OutputPadding)
        {
            long* sizes = bias;
            var axes = given.Stride.Length;
            var failed = convolutionBackward(
                gradient.Handle, input.Handle, weight.Handle, bias == null ? null : &sizes, call.BiasSizes?.Length ?? 0,
                stride, axes, padding, axes, dilation, axes, given.IsTransposed ? 1 : 0, outputPadding, given.OutputPadding.Length,
                given.Groups, wants, 3, &results[0], &results[1], &results[2]);
            if (failed != 0)
                throw new InvalidOperationException(
                    "libtorch could not compute a convolution's gradient of a piece; it has written why to standard error.");
        }
        return (Take(results[0], call.Wants.Input), Take(results[1], call.Wants.Weight), Take(results[2], call.Wants.Bias));

        static Tensor? Take(nint handle, bool wanted)
        {
            var tensor = Tensor.UnsafeCreateTensor(handle);
            if (wanted) return tensor;
            tensor.Dispose();
            return null;
        }
    }

    [UnmanagedCallersOnly]
    static void ConvolutionBackward(ulong* stack, ulong arguments, ulong results) => Run(stack, results, () =>
    {
        var (gradient, input, weight) = (Take(stack[0]), Take(stack[1]), Take(stack[2]));
        var bias = stack[3] == 0 ? null : TakeList(TakeOptional(stack[3]));
        var given = new ConvolutionArguments(
            TakeList(stack[4]), TakeList(stack[5]), TakeList(stack[6]), (byte)stack[7] != 0, TakeList(stack[8]), (long)stack[9]);
        var wants = TakeList(stack[10]);
        var call = new ConvolutionCall(
            bias, given.OfAxes((int)weight.dim() - 2), (wants[0] != 0, wants[1] != 0, wants[2] != 0));
        if (OfPieces(input, [gradient, weight], pieces => PiecewiseConvolution.Run(call, gradient, pieces, weight)) is { } found)
            return found;
        var (byInput, byWeight) = (Lost(input, call.Wants.Input), Lost(weight, call.Wants.Weight));
        return (byInput, byWeight, call.Wants.Bias ? empty([weight.shape[0]], weight.dtype, META) : null);
    });

    [UnmanagedCallersOnly]
    static void BatchNormBackward(ulong* stack, ulong arguments, ulong results) => Run(stack, results, () =>
    {
        var (gradient, input) = (Take(stack[0]), Take(stack[1]));
        var (weight, mean, variance) = (TakeTensor(stack[2]), TakeTensor(stack[3]), TakeTensor(stack[4]));
        var (savedMean, savedInverse) = (TakeTensor(stack[5]), TakeTensor(stack[6]));
        var (isTraining, epsilon, wants) = ((byte)stack[7] != 0, BitConverter.UInt64BitsToDouble(stack[8]), TakeList(stack[9]));
        var call = new BatchNormCall(
            weight, isTraining ? savedMean : mean, isTraining ? savedInverse : variance, isTraining, epsilon,
            (wants[0] != 0, wants[1] != 0, wants[2] != 0));
        var ofPieces = OfPieces(input, [gradient], pieces =>
        {
            var mayOverwrite = ofBatchNorm.AreOne(gradient);
            return pieces is SharedBatchNorm.Input shared
                ? shared.Run(call, gradient, mayOverwrite) : PiecewiseBatchNorm.Run(call, gradient, pieces, mayOverwrite);
        });
        if (ofPieces is { } found) return found;
        var channels = (long[])[input.shape[1]];
        return (Lost(input, wants[0] != 0), OfChannels(wants[1]), OfChannels(wants[2]));

        Tensor? OfChannels(long wanted) => wanted != 0 ? empty(channels, float32, META) : null;
    });

    [UnmanagedCallersOnly]
    static void ElementwiseBackward(nint functor, nint operation, ulong keys, BoxedStack* stack)
    {
        var found = Guarded(() =>
        {
            var own = elementwise[Dispatcher.NameOf(operation)];
            using var arguments = new BoxedArguments(stack->Take(own.Function.Arguments));
            using Tensor gradient = arguments.Tensor(0), map = arguments.Tensor(own.Function.Saved);
            var ofPieces = OfPieces(map, [gradient], pieces => (PiecewiseElementwise.Run(
                gradient, pieces, mayOverwrite: own.Holders.AreOne(gradient),
                (of, values, to) => arguments.Call(own.Backward, of, values, to)), null, null));
            return ofPieces ?? (Lost(map, true), null, null);
        });
        stack->Put(Give(found.Item1));
    }

    sealed class Elementwise(ElementwiseFunction function)
    {
        readonly Lazy<BoxedOperation> backward = new(() => Dispatcher.Find(function.Backward, "grad_input"));

        public ElementwiseFunction Function => function;

        /// <summary>The gradients of the backward operation.</summary>
        public Holders Holders { get; } = new();

        /// <summary>The overload of the backward operation that writes its result to a given place.</summary>
        public BoxedOperation Backward => backward.Value;
    }

    // Runs a kernel on the map of a placeholder. Returns null where the tensor is no placeholder, where the kernel fails, and where another
    // argument was lost by an earlier failure of this backward pass.
    static (Tensor?, Tensor?, Tensor?)? OfPieces(Tensor input, Tensor[] others, Func<IMapPieces, (Tensor?, Tensor?, Tensor?)> kernel)
    {
        if (Placeholder.PiecesOf(input) is not { } pieces || others.Any(other => other.device_type == DeviceType.META)) return null;
        try { return kernel(pieces); }
        catch (Exception failure)
        {
            pieces.Failed(failure);
            UnpackFailures.FailBackward(failure);
            return null;
        }
    }

    // A computation on "meta" returns such a tensor too.
    static Tensor? Lost(Tensor like, bool wanted) => wanted ? empty(like.shape, like.dtype, META) : null;

    static void Run(ulong* stack, ulong results, Func<(Tensor?, Tensor?, Tensor?)> kernel)
    {
        var found = Guarded(kernel);
        (stack[0], stack[1], stack[2]) = ((ulong)Give(found.Item1), (ulong)Give(found.Item2), (ulong)Give(found.Item3));
    }

    // An exception that leaves a kernel would end the process.
    static (Tensor?, Tensor?, Tensor?) Guarded(Func<(Tensor?, Tensor?, Tensor?)> kernel)
    {
        using var paused = SavedTensorsScope.Pause();
        using var untracked = no_grad();
        using var scope = NewDisposeScope();
        try
        {
            var found = kernel();
            foreach (var tensor in (Tensor?[])[found.Item1, found.Item2, found.Item3]) tensor?.DetachFromDisposeScope();
            return found;
        }
        catch (Exception failure)
        {
            UnpackFailures.FailBackward(failure);
            return default;
        }
    }

    static nint Give(Tensor? tensor)
    {
        using (tensor)
            if (tensor is not null) return LibTorch.NewHandle(tensor.Handle);
        nint none;
        _ = newEmpty(&none);
        return none;
    }

    static Tensor Take(ulong handle) => Tensor.UnsafeCreateTensor((nint)handle);

    static Tensor? TakeTensor(ulong optional)
    {
        if (optional == 0) return null;
        var tensor = Take(TakeOptional(optional));
        if (*(nint*)tensor.Handle != 0 && StorageReference.AddressOf(*(nint*)tensor.Handle) != 0) return tensor;
        tensor.Dispose();
        return null;
    }

    // An optional is returned as a value on the heap (libtorch's operator new is malloc).
    static ulong TakeOptional(ulong optional)
    {
        var value = *(ulong*)optional;
        NativeMemory.Free((void*)optional);
        return value;
    }

    static long[] TakeList(ulong list)
    {
        ulong size;
        _ = listSize((nint)list, &size);
        var values = new long[size];
        for (ulong i = 0; i < size; i++)
        {
            ulong value;
            _ = listItem((nint)list, i, &value);
            values[i] = (long)value;
        }
        _ = deleteList((nint)list);
        return values;
    }
}

/// <summary>The arguments of a convolution's backward pass, beside its tensors.</summary>
/// <param name="BiasSizes">The sizes of the bias; null where the convolution has none.</param>
/// <param name="Arguments">The convolution's arguments, with a number for each spatial axis in every list.</param>
/// <param name="Wants">Which gradients are wanted.</param>
sealed record ConvolutionCall(long[]? BiasSizes, ConvolutionArguments Arguments, (bool Input, bool Weight, bool Bias) Wants);

/// <summary>The arguments of a batch norm's backward pass, beside its input and gradient.</summary>
/// <param name="Weight">The weight of each channel; null where the batch norm has none.</param>
/// <param name="Mean">The batch's mean in training, else the running mean.</param>
/// <param name="Deviation">The inverse of the batch's standard deviation in training, else the running variance.</param>
/// <param name="IsTraining">Whether the statistics are the batch's.</param>
/// <param name="Epsilon">The number that is added to the variance.</param>
/// <param name="Wants">Which gradients are wanted.</param>
sealed record BatchNormCall(
    Tensor? Weight, Tensor? Mean, Tensor? Deviation, bool IsTraining, double Epsilon, (bool Input, bool Weight, bool Bias) Wants);
