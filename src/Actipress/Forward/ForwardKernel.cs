using System.Runtime.InteropServices;
using Actipress.Autograd;
using Actipress.Maps;
using static TorchSharp.torch;
using unsafe NativeConvolution = delegate* unmanaged[Cdecl]<
    nint, nint, nint*, long*, long, long*, long, long*, long, int, long*, long, long, nint*, int>;

namespace Actipress.Forward;

/// <summary>
/// Actipress's own kernel for libtorch's <c>convolution</c> in the forward pass. It computes a large convolution in pieces
/// (<see cref="PiecewiseForward"/>), where a scope of the calling thread wants that.
/// </summary>
/// <remarks>
/// The kernel is registered under a dispatch key between autograd and the devices, "Fake", which libtorch itself gives to no tensor and has
/// no kernels for. All other operations pass the key over. libtorch calls some machine code, which asks <see cref="Compute"/>. Where that
/// declines, the code jumps to libtorch's own convolution with the same arguments, as if there were no kernel. No managed frame then lies
/// between libtorch and the caller, so that libtorch's exceptions reach the caller as ever.
/// </remarks>
static unsafe class ForwardKernel
{
    const string Convolution = "aten::convolution", Key = "Fake", Registered = "Actipress.Forward";

    static readonly Lazy<PlatformNotSupportedException?> installed = new(Install, LazyThreadSafetyMode.ExecutionAndPublication);

    static NativeConvolution convolution;
    [ThreadStatic] static bool isComputing;
    [ThreadStatic] static long computed;

    /// <summary>Why this platform has no such kernel; null where it has. The first read of this property registers the kernel.</summary>
    public static PlatformNotSupportedException? Refusal => installed.Value;

    /// <summary>The number of convolutions of this thread that were computed in pieces.</summary>
    public static long Computed => computed;

    static PlatformNotSupportedException? Install()
    {
        try
        {
            if (!Dispatcher.IsAvailable) throw LibTorch.Unsupported("another system", "linux-x64 for convolutions in pieces");
            // A second copy of this library in the process would end it by a second fallback.
            if (AppContext.GetData(Registered) is not null)
                throw LibTorch.Unsupported("a second copy of Actipress in this process", "one for convolutions in pieces");
            EngineHooks.EnsureInstalled();
            convolution = (NativeConvolution)LibTorch.Symbol("aoti_torch_cpu_convolution");
            var key = Dispatcher.Key(Key);
            var code = Code();
            AppContext.SetData(Registered, true);
            Dispatcher.PassOver(key);
            Dispatcher.Implement(Convolution, key, &OfStack, code);
            ConvolutionKey.Set(key);
            SelfCheck();
            return null;
        }
        catch (PlatformNotSupportedException refusal) { return refusal; }
        catch (Exception failure) when (failure is ExternalException or InvalidOperationException)
        {
            return LibTorch.Unsupported(failure.Message, "results of a convolution of our own in a trial");
        }
    }

    // The kernel. It has libtorch's calling convention for (result, functor, keys, input, weight, bias, stride, padding, dilation,
    // transposed, output padding, groups): six registers, and from the stride on the stack. libtorch's own function has no functor, so that
    // its sixth register is the flag, and what follows the flag on the stack moves up by a word.
    static nint Code()
    {
        var original = LibTorch.Symbol(
            "_ZN2at4_ops11convolution10redispatchEN3c1014DispatchKeySetERKNS_6TensorES6_RKSt8optionalIS4_ENS2_8ArrayRefINS2_6SymIntEEESD_" +
            "SD_bSD_SC_");
        var code = new MachineCode(near: original);
        var begin = code.Here;
        code.Add([0x57, 0x56, 0x52, 0x51, 0x41, 0x50, 0x41, 0x51]);                 // push rdi, rsi, rdx, rcx, r8, r9
        code.Add([0x48, 0x83, 0xEC, 0x08]);                                         // sub rsp, 8
        code.Add([0x48, 0x8D, 0x7C, 0x24, 0x08]);                                   // lea rdi, [rsp + 8]: the registers
        code.Add([0x48, 0x8D, 0x74, 0x24, 0x40]);                                   // lea rsi, [rsp + 64]: the arguments on the stack
        code.Add([0x48, 0xB8], (nint)(delegate* unmanaged<nint*, nint*, byte>)&Compute);    // mov rax, Compute
        code.Add([0xFF, 0xD0]);                                                     // call rax
        code.Add([0x48, 0x83, 0xC4, 0x08]);                                         // add rsp, 8
        code.Add([0x41, 0x59, 0x41, 0x58, 0x59, 0x5A, 0x5E, 0x5F]);                 // pop r9, r8, rcx, rdx, rsi, rdi
        code.Add([0x84, 0xC0, 0x74, 0x04]);                                         // test al, al; jz over the next line
        code.Add([0x48, 0x89, 0xF8, 0xC3]);                                         // mov rax, rdi; ret
        code.Add([0x48, 0x89, 0xD6, 0x48, 0x89, 0xCA]);                             // mov rsi, rdx; mov rdx, rcx
        code.Add([0x4C, 0x89, 0xC1, 0x4D, 0x89, 0xC8]);                             // mov rcx, r8; mov r8, r9
        code.Add([0x44, 0x0F, 0xB6, 0x4C, 0x24, 0x38]);                             // movzx r9d, byte [rsp + 56]: the flag
        code.Add([0x48, 0x8B, 0x44, 0x24, 0x40, 0x48, 0x89, 0x44, 0x24, 0x38]);     // mov [rsp + 56], [rsp + 64] by rax
        code.Add([0x48, 0x8B, 0x44, 0x24, 0x48, 0x48, 0x89, 0x44, 0x24, 0x40]);     // mov [rsp + 64], [rsp + 72] by rax
        code.Add([0x48, 0x8B, 0x44, 0x24, 0x50, 0x48, 0x89, 0x44, 0x24, 0x48]);     // mov [rsp + 72], [rsp + 80] by rax
        code.Add([0x48, 0x0F, 0xBD, 0xC6, 0x48, 0x0F, 0xB3, 0xC6]);                 // bsr rax, rsi; btr rsi, rax: without the highest key
        code.Add([0x48, 0xB8], original);                                           // mov rax, libtorch's own
        code.Add([0xFF, 0xE0]);                                                     // jmp rax
        code.Seal();
        return begin;
    }

    // Computes a convolution where a scope wants it and it is large. The registers lie in the order bias, weight, input, keys, functor,
    // result. A failure declines, and libtorch's own convolution meets the cause.
    [UnmanagedCallersOnly]
    static byte Compute(nint* registers, nint* arguments)
    {
        if (isComputing) return 0;
        isComputing = true;
        try
        {
            if (SavedTensorsScope.ConvolutionPieces is not { } scale) return 0;
            using var paused = SavedTensorsScope.Pause();
            using var untracked = no_grad();
            using var scope = NewDisposeScope();
            using Tensor input = LibTorch.Wrap(registers[2]), weight = LibTorch.Wrap(registers[1]);
            using var bias = OptionalTensor(registers[0]);
            var given = new ConvolutionArguments(
                Numbers(arguments), Numbers(arguments + 2), Numbers(arguments + 4), (byte)arguments[6] != 0, Numbers(arguments + 7),
                *(long*)arguments[9]);
            if (PiecewiseForward.Run(given, input, weight, bias, scale) is not { } result) return 0;
            computed++;
            LibTorch.Return(result, registers[5]);
            return 1;
        }
        catch (Exception) { return 0; }
        finally { isComputing = false; }
    }

    // A std::optional of a tensor: the tensor, and whether it is there. An undefined tensor has no storage.
    static Tensor? OptionalTensor(nint optional) =>
        (byte)((nint*)optional)[1] != 0 && StorageReference.AddressOf(*(nint*)optional) != 0 ? LibTorch.Wrap(optional) : null;

    // A c10::ArrayRef of sizes: its address and length. Sizes of real tensors are numbers.
    static long[] Numbers(nint* list) => new ReadOnlySpan<long>((void*)list[0], (int)list[1]).ToArray();

    // A call by a stack comes from TorchScript alone, where inference mode was begun within a scope.
    [UnmanagedCallersOnly]
    static void OfStack(nint functor, nint operation, ulong keys, BoxedStack* stack)
    {
        var key = Dispatcher.Key(Key);
        Dispatcher.Include(key, false);
        Dispatcher.Call(*(BoxedOperation*)operation, stack);
        Dispatcher.Include(key, true);
    }

    /// <summary>Calls libtorch's own convolution on the CPU, through the interface that returns an error code for an exception.</summary>
    /// <returns>The result, which the caller disposes.</returns>
    /// <exception cref="InvalidOperationException">libtorch failed, and has written the cause to standard error.</exception>
    public static Tensor Whole(ConvolutionArguments given, Tensor input, Tensor weight, Tensor? bias)
    {
        nint biasHandle = bias?.Handle ?? 0, result;
        fixed (long* stride = given.Stride, padding = given.Padding, dilation = given.Dilation, outputPadding = given.OutputPadding)
        {
            var axes = given.Stride.Length;
            var failed = convolution(
                input.Handle, weight.Handle, bias is null ? null : &biasHandle, stride, axes, padding, axes, dilation, axes,
                given.IsTransposed ? 1 : 0, outputPadding, given.OutputPadding.Length, given.Groups, &result);
            if (failed != 0) throw new InvalidOperationException("libtorch could not compute a piece of a convolution.");
        }
        return Tensor.UnsafeCreateTensor(result);
    }

    // Computes known convolutions in pieces and whole.
    static void SelfCheck()
    {
        using var outer = NewDisposeScope();
        using var normal = inference_mode(false);
        using var untracked = no_grad();
        // Convolutions with groups are divided whatever their size.
        var (volumes, filters) = (linspace(-1, 1, 8064).reshape(2, 4, 48, 3, 7), linspace(1, 2, 324).reshape(6, 2, 3, 3, 3));
        Check(() => nn.functional.conv3d(volumes, filters, linspace(0, 1, 6), strides: [2, 1, 3], padding: [1, 0, 2], groups: 2));
        Check(() => nn.functional.conv_transpose3d(volumes, filters.narrow(0, 0, 4), strides: [3, 3, 3], groups: 2));
        var planes = volumes.flatten(3, 4);
        Check(() => nn.functional.conv2d(planes, filters.select(2, 0), dilation: [1, 2], padding: [2, 1], groups: 2));

        static void Check(Func<Tensor> convolution)
        {
            var (whole, before) = (convolution(), computed);
            Tensor? pieces = null;
            SavedTensorsScope.RunApart(new Trial(), () =>
            {
                ConvolutionKey.Include(true);
                try { pieces = convolution(); }
                finally { ConvolutionKey.Include(false); }
            });
            if (computed == before) throw LibTorch.Unsupported("no call of our convolution in a trial", "one");
            using var error = (whole - pieces!).abs().max();
            using var most = whole.abs().max();
            if (!(error.item<float>() <= 1e-5f * most.item<float>()))
                throw LibTorch.Unsupported($"an error of {error.item<float>()} of our convolution in a trial", "rounding alone");
        }
    }

    // Divides convolutions of every size.
    sealed class Trial : SavedTensorHooks
    {
        public override double? ConvolutionPieces => 0;

        public override SavedTensor Pack(Tensor tensor) => new PassedOn(tensor);
    }
}
