using System.Runtime.InteropServices;
using System.Text;

namespace Actipress.Autograd;

/// <summary>
/// libtorch's own dispatcher (<c>c10::Dispatcher</c>), which registers and calls kernels that libtorch's stable interface cannot: those
/// with numbers of any type among their arguments, and those of any dispatch key. It takes arguments on a stack of <c>c10::IValue</c>s.
/// </summary>
/// <remarks>
/// The layouts here are those of libtorch 2.10 on Linux. On other systems nothing is registered. Each kernel is called in a trial before it
/// is relied on.
/// </remarks>
static unsafe class Dispatcher
{
    // class KernelFunction: a functor, the function for a stack, two functions for plain arguments, and the tokens of its handles. The
    // second of the two gets sizes that may be symbolic.
    const int KernelWords = 5, OfStack = 1, OfSizes = 3;

    // A std::string: the address of its letters, their number, and either the capacity or up to 15 letters. An OperatorName is two of them.
    const int TextWords = 4, LettersInside = 15;

    // The std::function that would remove the kernel.
    const int RegistrationWords = 4;

    const string RegisterName =
        "_ZN3c1010Dispatcher12registerImplENS_12OperatorNameESt8optionalINS_11DispatchKeyEENS_14KernelFunctionES2_INS_4impl12" +
        "CppSignatureEESt10unique_ptrINS_14FunctionSchemaESt14default_deleteISA_EENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE";

    // The empty std::optional<CppSignature> is two words of zeros.
    [StructLayout(LayoutKind.Sequential)]
    struct NoSignature
    {
        public nint Type, HasValue;
    }

    /// <summary>Whether kernels can be registered here.</summary>
    public static bool IsAvailable { get; } = OperatingSystem.IsLinux() && LibTorch.SymbolOrNull(RegisterName) != 0;

    // The address of libtorch's dispatcher, and its methods.
    static readonly Lazy<nint> dispatcher = new(
        () => ((delegate* unmanaged[Cdecl]<nint>)LibTorch.Symbol("_ZN3c1010Dispatcher13realSingletonEv"))());

    static readonly Lazy<nint> include = new(
        () => LibTorch.Symbol("_ZN3c104impl29tls_set_dispatch_key_includedENS_11DispatchKeyEb"));

    static readonly Lazy<nint> call = new(
        () => LibTorch.Symbol("_ZNK3c1010Dispatcher9callBoxedERKNS_14OperatorHandleEPSt6vectorINS_6IValueESaIS5_EE"));

    /// <summary>The number of a dispatch key, such as "Meta".</summary>
    /// <exception cref="PlatformNotSupportedException">libtorch has no such function.</exception>
    public static ushort Key(string name)
    {
        var keyOf = (delegate* unmanaged[Cdecl]<nint*, ushort>)LibTorch.Symbol(
            "_ZN3c1016parseDispatchKeyERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
        var text = stackalloc nint[TextWords];
        Write(text, name);
        return keyOf(text);
    }

    /// <summary>Registers a kernel, which stays until the process ends.</summary>
    /// <param name="operation">The operation's full name.</param>
    /// <param name="key">The dispatch key.</param>
    /// <param name="kernel">A function of a functor, the operation, the dispatch keys, and the stack.</param>
    /// <param name="ofSizes">
    /// A native function of a functor, the dispatch keys and the operation's own arguments; null where calls without a stack make one.
    /// </param>
    public static void Implement(
        string operation, ushort key, delegate* unmanaged<nint, nint, ulong, BoxedStack*, void> kernel, nint ofSizes = 0)
    {
        var register = (delegate* unmanaged[Cdecl]<nint*, nint, nint*, uint, nint*, NoSignature, nint*, nint*, nint*>)
            LibTorch.Symbol(RegisterName);
        nint* name = stackalloc nint[2 * TextWords], note = stackalloc nint[TextWords];
        nint* function = stackalloc nint[KernelWords], registration = stackalloc nint[RegistrationWords];
        nint schema = 0;
        new Span<nint>(function, KernelWords).Clear();
        (function[OfStack], function[OfSizes]) = ((nint)kernel, ofSizes);
        Write(name, operation);
        Write(name + TextWords, "");
        Write(note, "actipress");
        var letters = name[0];
        register(registration, dispatcher.Value, name, key | 1u << 16, function, default, &schema, note);
        // libtorch may have taken the letters of the name.
        if (name[0] == letters) Free(name, operation);
    }

    /// <summary>Makes all operations without a kernel of a dispatch key pass that key over, until the process ends.</summary>
    /// <remarks>libtorch ends the process where a key has a fallback already.</remarks>
    public static void PassOver(ushort key)
    {
        var register = (delegate* unmanaged[Cdecl]<nint*, nint, ushort, nint*, nint*, nint*>)LibTorch.Symbol(
            "_ZN3c1010Dispatcher16registerFallbackENS_11DispatchKeyENS_14KernelFunctionENSt7__cxx1112basic_stringIcSt11char_traits" +
            "IcESaIcEEE");
        nint* function = stackalloc nint[KernelWords], registration = stackalloc nint[RegistrationWords], note = stackalloc nint[TextWords];
        new Span<nint>(function, KernelWords).Clear();
        function[OfStack] = LibTorch.Symbol(
            "_ZN3c1018fallthrough_kernelEPNS_14OperatorKernelERKNS_14OperatorHandleENS_14DispatchKeySetEPSt6vectorINS_6IValueESaIS7_EE");
        Write(note, "actipress");
        register(registration, dispatcher.Value, key, function, note);
    }

    /// <summary>Puts a dispatch key among those of every operation on this thread, or takes it out.</summary>
    public static void Include(ushort key, bool isIncluded) =>
        ((delegate* unmanaged[Cdecl]<ushort, byte, void>)include.Value)(key, (byte)(isIncluded ? 1 : 0));

    /// <summary>Finds an operation of libtorch.</summary>
    /// <param name="operation">The operation's full name.</param>
    /// <param name="overload">The name of its overload.</param>
    /// <exception cref="PlatformNotSupportedException">There is none.</exception>
    public static BoxedOperation Find(string operation, string overload)
    {
        var find = (delegate* unmanaged[Cdecl]<nint*, nint, nint*, nint*>)LibTorch.Symbol(
            "_ZN3c1010Dispatcher10findSchemaERKNS_12OperatorNameE");
        // A std::optional of an operation: its two words and whether it is there.
        nint* found = stackalloc nint[3], name = stackalloc nint[2 * TextWords];
        Write(name, operation);
        Write(name + TextWords, overload);
        find(found, dispatcher.Value, name);
        Free(name, operation);
        Free(name + TextWords, overload);
        return (byte)found[2] != 0
            ? new(found[0], found[1]) : throw LibTorch.Unsupported($"no operation {operation}.{overload}", "one for the backward pass");
    }

    /// <summary>Calls an operation, which takes its arguments from the stack and leaves its results there.</summary>
    public static void Call(BoxedOperation operation, BoxedStack* stack) =>
        ((delegate* unmanaged[Cdecl]<nint, BoxedOperation*, BoxedStack*, void>)call.Value)(dispatcher.Value, &operation, stack);

    /// <summary>The full name of the operation that a kernel received.</summary>
    /// <param name="operation">
    /// The address of the operation. It begins with the address of its definition, which begins with its name.
    /// </param>
    public static string NameOf(nint operation) => Encoding.ASCII.GetString(CppAbi.Text(*(nint**)operation));

    // Writes a std::string, whose letters are on the heap where they are many (libtorch's operator delete is free).
    static void Write(nint* text, string value)
    {
        var at = IsInside(value) ? (byte*)(text + 2) : (byte*)NativeMemory.Alloc((nuint)value.Length + 1);
        var length = Encoding.ASCII.GetBytes(value, new Span<byte>(at, value.Length));
        at[length] = 0;
        (text[0], text[1]) = ((nint)at, length);
        if (!IsInside(value)) text[2] = length;
    }

    static void Free(nint* text, string value)
    {
        if (!IsInside(value)) NativeMemory.Free((void*)text[0]);
    }

    static bool IsInside(string value) => value.Length <= LettersInside;
}

/// <summary>An operation of libtorch's dispatcher (<c>c10::OperatorHandle</c>), valid as long as the process lives.</summary>
/// <param name="Definition">The address of its definition.</param>
/// <param name="Place">Its place in the dispatcher's list.</param>
readonly record struct BoxedOperation(nint Definition, nint Place);

/// <summary>A number, text or tensor among the arguments of an operation (<c>c10::IValue</c>).</summary>
/// <param name="Payload">The number's bits, or the address of a counted object.</param>
/// <param name="Tag">One of <see cref="ValueTag"/>.</param>
readonly record struct BoxedValue(nint Payload, int Tag)
{
    /// <summary>A value that holds a new reference to a tensor.</summary>
    public static unsafe BoxedValue Of(Tensor tensor)
    {
        nint implementation;
        LibTorch.Return(tensor, (nint)(&implementation));
        return new(implementation, ValueTag.Tensor);
    }

    /// <summary>The same value, with a new reference to the object of a text.</summary>
    public BoxedValue Again()
    {
        if (Tag == ValueTag.Text) StorageReference.Retain(Payload);
        return this;
    }

    /// <summary>Gives the value's reference up.</summary>
    public void Release()
    {
        if (Tag == ValueTag.Tensor) LibTorch.Own(Payload).Dispose();
        if (Tag == ValueTag.Text) StorageReference.Release(Payload);
    }
}

/// <summary>The arguments that an operation received, whose references this holds.</summary>
sealed class BoxedArguments(BoxedValue[] values) : IDisposable
{
    /// <summary>An argument that is a tensor; the caller disposes it.</summary>
    public Tensor Tensor(int place) => values[place].Tag == ValueTag.Tensor
        ? LibTorch.OfImplementation(values[place].Payload)
        : throw new InvalidOperationException($"libtorch passed a value of type {values[place].Tag} where a tensor was wanted.");

    /// <summary>Calls another operation with the same numbers and texts, and other tensors.</summary>
    /// <param name="operation">An operation that writes its result to its last argument, and has the other arguments of this one.</param>
    /// <param name="tensors">The tensors in place of those of this operation, in their order, and last the one for the result.</param>
    public unsafe void Call(BoxedOperation operation, params ReadOnlySpan<Tensor> tensors)
    {
        var count = values.Length + 1;
        var used = 0;
        var arguments = stackalloc BoxedValue[count];
        for (var i = 0; i < values.Length; i++)
            arguments[i] = values[i].Tag == ValueTag.Tensor ? BoxedValue.Of(tensors[used++]) : values[i].Again();
        arguments[values.Length] = BoxedValue.Of(tensors[used]);
        var stack = new BoxedStack(arguments, count);
        Dispatcher.Call(operation, &stack);
        foreach (var result in stack.Take(1)) result.Release();
    }

    public void Dispose()
    {
        foreach (var value in values) value.Release();
    }
}

/// <summary>The stack of an operation's arguments and results: libtorch's <c>std::vector</c> of <c>c10::IValue</c>s.</summary>
[StructLayout(LayoutKind.Sequential)]
unsafe struct BoxedStack(BoxedValue* first, int count)
{
    readonly BoxedValue* first = first;
    BoxedValue* end = first + count;
    readonly BoxedValue* capacity = first + count;

    /// <summary>Takes the last values from the stack, first to last. Their references are the caller's.</summary>
    public BoxedValue[] Take(int count)
    {
        end -= count;
        return new Span<BoxedValue>(end, count).ToArray();
    }

    /// <summary>Puts a result on the stack, where an argument was before.</summary>
    /// <param name="handle">A handle, which is given up.</param>
    public void Put(nint handle)
    {
        nint implementation;
        LibTorch.Move(handle, (nint)(&implementation));
        *end++ = new(implementation, ValueTag.Tensor);
    }
}
