using System.Runtime.InteropServices;
using Actipress.Autograd;

namespace Actipress.Backward;

/// <summary>
/// Registers kernels for operations whose arguments are numbers of any type, which libtorch's stable interface cannot pass. libtorch's own
/// dispatcher calls such a kernel with its arguments on a stack of <c>c10::IValue</c>s (<c>c10::Dispatcher::registerImpl</c>).
/// </summary>
/// <remarks>
/// The layouts here are those of libtorch 2.10 on Linux. On other systems nothing is registered. <see cref="BackwardKernels"/> calls each
/// kernel in a trial before it relies on it.
/// </remarks>
static unsafe class BoxedKernels
{
    // class KernelFunction: a functor, the function for a stack, two functions for plain arguments, and the tokens of its handles.
    const int KernelWords = 5, KernelsFunction = 1;

    // A std::string: the address of its letters, their number, and either the capacity or up to 15 letters. An OperatorName is two of them.
    const int TextWords = 4, LettersInside = 15;

    // The std::function that would remove the kernel.
    const int RegistrationWords = 4;

    const string RegisterName =
        "_ZN3c1010Dispatcher12registerImplENS_12OperatorNameESt8optionalINS_11DispatchKeyEENS_14KernelFunctionES2_INS_4impl12CppSignatureEESt10" +
        "unique_ptrINS_14FunctionSchemaESt14default_deleteISA_EENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE";

    // The empty std::optional<CppSignature> is two words of zeros.
    [StructLayout(LayoutKind.Sequential)]
    struct NoSignature
    {
        public nint Type, HasValue;
    }

    /// <summary>Whether kernels can be registered here.</summary>
    public static bool AreAvailable => OperatingSystem.IsLinux() && LibTorch.SymbolOrNull(RegisterName) != 0;

    /// <summary>Registers a kernel for the device "meta". The kernel stays until the process ends.</summary>
    /// <param name="operation">The operation's full name.</param>
    /// <param name="kernel">A function of a functor, the operation, the dispatch keys, and the stack.</param>
    public static void Implement(ReadOnlySpan<byte> operation, delegate* unmanaged<nint, nint, ulong, BoxedStack*, void> kernel)
    {
        var dispatcher = ((delegate* unmanaged[Cdecl]<nint>)LibTorch.Symbol("_ZN3c1010Dispatcher13realSingletonEv"))();
        var keyOf = (delegate* unmanaged[Cdecl]<nint*, ushort>)LibTorch.Symbol(
            "_ZN3c1016parseDispatchKeyERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
        var register = (delegate* unmanaged[Cdecl]<nint*, nint, nint*, uint, nint*, NoSignature, nint*, nint*, nint*>)
            LibTorch.Symbol(RegisterName);
        nint* key = stackalloc nint[TextWords], name = stackalloc nint[2 * TextWords], note = stackalloc nint[TextWords];
        nint* function = stackalloc nint[KernelWords], registration = stackalloc nint[RegistrationWords];
        nint schema = 0;
        new Span<nint>(function, KernelWords).Clear();
        function[KernelsFunction] = (nint)kernel;
        Write(key, "Meta"u8);
        Write(name, operation);
        Write(name + TextWords, ""u8);
        Write(note, "actipress"u8);
        var letters = name[0];
        register(registration, dispatcher, name, keyOf(key) | 1u << 16, function, default, &schema, note);
        // libtorch may have taken the letters of the name.
        if (name[0] == letters && operation.Length > LettersInside) NativeMemory.Free((void*)letters);
    }

    // Writes a std::string, whose letters are on the heap where they are many (libtorch's operator delete is free).
    static void Write(nint* text, ReadOnlySpan<byte> letters)
    {
        var inside = letters.Length <= LettersInside;
        var at = inside ? (byte*)(text + 2) : (byte*)NativeMemory.Alloc((nuint)letters.Length + 1);
        letters.CopyTo(new(at, letters.Length));
        at[letters.Length] = 0;
        (text[0], text[1]) = ((nint)at, letters.Length);
        if (!inside) text[2] = letters.Length;
    }
}

/// <summary>The stack of a kernel's arguments and results: libtorch's <c>std::vector</c> of <c>c10::IValue</c>s.</summary>
[StructLayout(LayoutKind.Sequential)]
unsafe struct BoxedStack
{
    [StructLayout(LayoutKind.Sequential)]
    struct Value
    {
        public nint Payload;
        public int Tag;
    }

    readonly Value* first;
    Value* end;
    readonly Value* capacity;

    /// <summary>Takes the last argument, which must be a number, from the stack.</summary>
    public double TakeNumber()
    {
        var value = *--end;
        return value.Tag switch
        {
            ValueTag.Double => BitConverter.Int64BitsToDouble(value.Payload),
            ValueTag.Integer => value.Payload,
            _ => throw new InvalidOperationException($"libtorch passed a value of type {value.Tag} where a number was wanted."),
        };
    }

    /// <summary>Takes the last argument, which must be a tensor, from the stack. The caller disposes it.</summary>
    public Tensor TakeTensor()
    {
        var value = *--end;
        if (value.Tag != ValueTag.Tensor)
            throw new InvalidOperationException($"libtorch passed a value of type {value.Tag} where a tensor was wanted.");
        return LibTorch.Own(value.Payload);
    }

    /// <summary>Puts a result on the stack, where an argument was before.</summary>
    /// <param name="handle">A handle, which is given up.</param>
    public void Put(nint handle)
    {
        nint implementation;
        LibTorch.Move(handle, (nint)(&implementation));
        *end++ = new Value { Payload = implementation, Tag = ValueTag.Tensor };
    }
}
