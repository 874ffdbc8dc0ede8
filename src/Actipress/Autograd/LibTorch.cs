using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// The functions of libtorch that TorchSharp does not offer, bound by their exported symbols to the <c>libtorch_cpu.so</c> (on Windows
/// <c>torch_cpu.dll</c>) that TorchSharp loaded. An import by name could find a second copy elsewhere.
/// </summary>
static unsafe class LibTorch
{
    /// <summary>Where the library was loaded from.</summary>
    public static string Path { get; }

    static readonly nint library, core;

    static LibTorch()
    {
        if (!(OperatingSystem.IsLinux() || OperatingSystem.IsWindows()) || RuntimeInformation.ProcessArchitecture != Architecture.X64)
            throw new PlatformNotSupportedException(
                $"Actipress's saved-tensor hooks are not available here: found {RuntimeInformation.RuntimeIdentifier}, wanted linux-x64 or "
                    + "win-x64. Train on a 64-bit x86 Linux or Windows, or without compression.");
        torch.InitializeDeviceType(DeviceType.CPU);
        Path = LoadedPath("libtorch_cpu.so") ?? throw new PlatformNotSupportedException(
            $"Actipress's saved-tensor hooks found no {WindowsSymbols.File("libtorch_cpu.so")} in this process; wanted TorchSharp 0.107.0 "
                + "with the native package of the same version.");
        library = NativeLibrary.Load(Path);
        // On Linux the look-up of a symbol also searches the libraries that a library needs.
        core = CppAbi.IsMicrosofts && LoadedPath("libc10.so") is { } path ? NativeLibrary.Load(path) : library;
        newTensorHandle = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Symbol("aoti_torch_new_tensor_handle");
        version = (delegate* unmanaged[Cdecl]<nint, long>)Symbol("_ZNK2at10TensorBase8_versionEv");
        isInference = (delegate* unmanaged[Cdecl]<nint, byte>)Symbol("_ZN2at6native12is_inferenceERKNS_6TensorE");
        isView = (delegate* unmanaged[Cdecl]<nint, byte>)Symbol("_ZNK2at10TensorBase7is_viewEv");
        baseOfView = (delegate* unmanaged[Cdecl]<nint, nint>)Symbol("_ZNK2at10TensorBase5_baseEv");
        dataPointer = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Symbol("aoti_torch_get_data_ptr");
        variableData = Symbol("_ZNK2at10TensorBase13variable_dataEv");
        isLeaf = (delegate* unmanaged[Cdecl]<nint, byte>)Symbol("_ZNK2at10TensorBase7is_leafEv");
        isConjugate = (delegate* unmanaged[Cdecl]<nint, byte>)Symbol("_ZN2at25compositeimplicitautograd7is_conjERKNS_6TensorE");
        isNegative = (delegate* unmanaged[Cdecl]<nint, byte>)Symbol("_ZN2at25compositeimplicitautograd6is_negERKNS_6TensorE");
        engine = (delegate* unmanaged[Cdecl]<nint>)Symbol("_ZN5torch8autograd6Engine18get_default_engineEv");
        queueCallback =
            (delegate* unmanaged[Cdecl]<nint, nint*, void>)Symbol("_ZN5torch8autograd6Engine14queue_callbackESt8functionIFvvEE");
        currentGraphTask = (delegate* unmanaged[Cdecl]<int>)Symbol("_ZN5torch8autograd25get_current_graph_task_idEv");
    }

    static readonly delegate* unmanaged[Cdecl]<nint, nint*, int> newTensorHandle;
    static readonly delegate* unmanaged[Cdecl]<nint, long> version;
    static readonly delegate* unmanaged[Cdecl]<int> currentGraphTask;
    static readonly delegate* unmanaged[Cdecl]<nint> engine;
    static readonly delegate* unmanaged[Cdecl]<nint, nint*, void> queueCallback;
    static readonly nint variableData;
    static readonly delegate* unmanaged[Cdecl]<nint, byte> isInference;
    static readonly delegate* unmanaged[Cdecl]<nint, byte> isView;
    static readonly delegate* unmanaged[Cdecl]<nint, nint> baseOfView;
    static readonly delegate* unmanaged[Cdecl]<nint, byte> isLeaf;
    static readonly delegate* unmanaged[Cdecl]<nint, byte> isConjugate;
    static readonly delegate* unmanaged[Cdecl]<nint, byte> isNegative;
    static readonly delegate* unmanaged[Cdecl]<nint, nint*, int> dataPointer;

    /// <summary>The address of an exported symbol, by its name on Linux.</summary>
    /// <exception cref="PlatformNotSupportedException">The loaded libtorch does not export it.</exception>
    public static nint Symbol(string name) =>
        SymbolOrNull(name) is var address and not 0
            ? address
            : throw Unsupported($"no symbol {WindowsSymbols.Here(name) ?? name}", "libtorch 2.10.0");

    /// <summary>The address of a symbol of libtorch or of a library that libtorch needs; null where there is none.</summary>
    public static nint SymbolOrNull(string name)
    {
        if (WindowsSymbols.Here(name) is not { } here) return 0;
        return NativeLibrary.TryGetExport(library, here, out var address) || NativeLibrary.TryGetExport(core, here, out address)
            ? address : 0;
    }

    /// <summary>The address of a symbol in another library of torch's that the process has loaded; 0 where there is none.</summary>
    /// <param name="file">The library's name on Linux, such as <c>libc10.so</c>.</param>
    /// <param name="name">The symbol's name on Linux.</param>
    public static nint SymbolIn(string file, string name)
    {
        if (WindowsSymbols.Here(name) is not { } here || LoadedPath(file) is not { } path) return 0;
        return NativeLibrary.TryGetExport(NativeLibrary.Load(path), here, out var address) ? address : 0;
    }

    /// <summary>A refusal that says what was found in the loaded libtorch and what was wanted.</summary>
    public static PlatformNotSupportedException Unsupported(string found, string wanted) => new(
        $"Actipress cannot place its saved-tensor hooks in {Path}: found {found}, wanted {wanted}. " +
        "Use TorchSharp 0.107.0 with the native package of the same version.");

    /// <summary>An <c>at::Tensor</c> as a TorchSharp tensor that owns a reference of its own; the caller disposes it.</summary>
    /// <param name="tensor">The address of an <c>at::Tensor</c>.</param>
    public static Tensor Wrap(nint tensor) => Tensor.UnsafeCreateTensor(NewHandle(tensor));

    /// <summary>A new handle for an <c>at::Tensor</c>, which its receiver deletes.</summary>
    /// <param name="tensor">The address of the <c>at::Tensor</c>.</param>
    public static nint NewHandle(nint tensor)
    {
        nint handle;
        if (newTensorHandle(tensor, &handle) != 0) throw new InvalidOperationException("libtorch could not make a tensor handle.");
        return handle;
    }

    /// <summary>
    /// A TorchSharp tensor for an implementation, which the caller disposes. An <c>at::Tensor</c> is one pointer to its implementation.
    /// </summary>
    public static Tensor OfImplementation(nint implementation) => Wrap((nint)(&implementation));

    /// <summary>A TorchSharp tensor that takes over one reference to an implementation; the caller disposes it.</summary>
    public static Tensor Own(nint implementation)
    {
        var handle = (nint*)NativeMemory.Alloc((nuint)sizeof(nint));
        *handle = implementation;
        return Tensor.UnsafeCreateTensor((nint)handle);
    }

    /// <summary>Writes a new reference to <paramref name="tensor"/> where a native caller expects an <c>at::Tensor</c> by value.</summary>
    public static void Return(Tensor tensor, nint result) => Move(NewHandle(tensor.Handle), result);

    /// <summary>
    /// Makes the backward pass of this thread fail, at its end at the latest, and returns a stand-in for the lost tensor: a tensor of the
    /// same shape and type on the meta device. The meta device has priority in dispatch, so that no operation reads memory of the stand-in.
    /// Most operations refuse it beside other tensors, or return a tensor that the engine refuses as a gradient.
    /// </summary>
    /// <remarks>An undefined tensor in place of a lost one ends the process in some operations.</remarks>
    /// <param name="shape">The lost tensor's shape; null where it is not known.</param>
    /// <param name="type">The lost tensor's type.</param>
    /// <param name="result">The address at which the native caller expects an <c>at::Tensor</c> by value.</param>
    public static void ReturnLost(long[]? shape, torch.ScalarType type, nint result)
    {
        FailBackward();
        using var standIn = torch.empty(shape ?? [0], type, torch.META);
        Return(standIn, result);
    }

    /// <summary>Makes this thread's backward pass throw at its end, if a backward pass runs.</summary>
    /// <param name="why">The text of libtorch's error, of up to 15 letters.</param>
    public static void FailBackward(string why = "tensor is lost")
    {
        if (CurrentBackward < 0) return;
        var callback = stackalloc nint[NativeFunction.Words];
        NativeFunction.MakeThrowing(callback, why);
        queueCallback(engine(), callback);
    }

    /// <summary>Calls a function at the end of the backward pass that runs on this thread, unless the pass fails before.</summary>
    /// <param name="first">The first of two words, whose address the function gets.</param>
    /// <param name="second">The second.</param>
    /// <param name="function">A function of one pointer, which points to the two words.</param>
    /// <exception cref="PlatformNotSupportedException">On Windows.</exception>
    public static void AtEndOfBackward(nint first, nint second, nint function)
    {
        var callback = stackalloc nint[NativeFunction.Words];
        NativeFunction.Make(callback, first, second, function);
        queueCallback(engine(), callback);
    }

    /// <summary>
    /// Moves the reference of a handle to <paramref name="result"/>. A handle is an <c>at::Tensor</c> on the heap, which is one counted
    /// pointer; it is freed without its destructor (libtorch's operator new is malloc).
    /// </summary>
    public static void Move(nint handle, nint result)
    {
        *(nint*)result = *(nint*)handle;
        NativeMemory.Free((void*)handle);
    }

    /// <summary>The <c>at::Tensor</c> that a method of <paramref name="self"/> returns by value, for the caller to dispose.</summary>
    public static Tensor Take(nint method, nint self)
    {
        var handle = (nint)NativeMemory.Alloc((nuint)sizeof(nint));
        CppAbi.Call(method, self, handle);
        return Tensor.UnsafeCreateTensor(handle);
    }

    /// <summary>
    /// A tensor of the same memory whose changes in place do not count as those of <paramref name="tensor"/>; the caller disposes it.
    /// </summary>
    public static Tensor SameMemory(Tensor tensor) => Take(variableData, tensor.Handle);

    /// <summary>The address of the tensor's first element in its device's memory.</summary>
    public static nint Data(Tensor tensor)
    {
        nint data;
        if (dataPointer(tensor.Handle, &data) != 0) throw new InvalidOperationException("libtorch gave no data pointer.");
        return data;
    }

    /// <summary>
    /// The number of changes in place of the tensor, or of another tensor with the same version counter. It is 0 for a tensor that was made
    /// under inference mode: such a tensor has no version counter, and libtorch would throw a C++ exception, which ends the process.
    /// </summary>
    public static long Version(Tensor tensor) => IsInference(tensor) ? 0 : version(tensor.Handle);

    /// <summary>
    /// Whether the tensor was made under inference mode: autograd refuses to save such a tensor, or to change it in place.
    /// </summary>
    public static bool IsInference(Tensor tensor) => isInference(tensor.Handle) != 0;

    /// <summary>The number of the innermost backward pass that runs on this thread; -1 where none does.</summary>
    public static int CurrentBackward => currentGraphTask();

    /// <summary>
    /// Whether the tensor is a view that libtorch conjugates or negates only when it is read. The elements of such a view differ from those
    /// of its storage.
    /// </summary>
    public static bool IsLazyView(Tensor tensor) => isConjugate(tensor.Handle) != 0 || isNegative(tensor.Handle) != 0;

    /// <summary>Whether the tensor was made by the user rather than by a differentiable operation.</summary>
    public static bool IsLeaf(Tensor tensor) => isLeaf(tensor.Handle) != 0;

    /// <summary>
    /// Whether the tensor is a parameter (a leaf that wants a gradient) or a view of one, such as the transposed weight of a Linear.
    /// </summary>
    public static bool IsParameterOrView(Tensor tensor)
    {
        using var viewed = BaseOfView(tensor);
        return (viewed ?? tensor) is { requires_grad: true } own && IsLeaf(own);
    }

    /// <summary>
    /// The tensor of which <paramref name="tensor"/> is a view, for the caller to dispose; null where <paramref name="tensor"/> is no view.
    /// </summary>
    public static Tensor? BaseOfView(Tensor tensor) => isView(tensor.Handle) == 0 ? null : Wrap(baseOfView(tensor.Handle));

    static string? LoadedPath(string file) => OnlyPath(file, LoadedFiles());

    /// <summary>The path from which the process has loaded a library of torch's; null where it has not.</summary>
    /// <exception cref="PlatformNotSupportedException">
    /// The process has loaded two copies, whose tensors cannot be distinguished.
    /// </exception>
    internal static string? OnlyPath(string file, IEnumerable<string> loaded)
    {
        var here = WindowsSymbols.File(file);
        var asNamed = CppAbi.IsMicrosofts ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;
        var paths = loaded.Where(path => System.IO.Path.GetFileName(path).Equals(here, asNamed)).Distinct().ToArray();
        return paths.Length < 2 ? paths.SingleOrDefault() : throw new PlatformNotSupportedException(
            $"Actipress cannot place its saved-tensor hooks: found {paths.Length} copies of {here} in this process " +
            $"({string.Join(", ", paths)}), wanted one. Load libtorch from one folder alone.");
    }

    static IEnumerable<string> LoadedFiles()
    {
        if (!CppAbi.IsMicrosofts)
            return from line in File.ReadLines("/proc/self/maps")
                   let path = line.IndexOf('/', StringComparison.Ordinal)
                   where path > 0
                   select line[path..];
        using var process = System.Diagnostics.Process.GetCurrentProcess();
        return [.. process.Modules.Cast<System.Diagnostics.ProcessModule>().Select(module => module.FileName)];
    }
}
