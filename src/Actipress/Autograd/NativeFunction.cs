using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>Makes a <c>std::function&lt;void()&gt;</c> of a function that is not C++.</summary>
static unsafe class NativeFunction
{
    /// <summary>The number of words of a <c>std::function</c>: 8 on Windows, 4 elsewhere.</summary>
    public const int Words = 8;

    static readonly ConcurrentDictionary<string, nint> microsofts = new();

    /// <summary>Makes a function that throws a C++ exception, by calling a function of the C++ library that only throws.</summary>
    /// <param name="function">The memory of the <c>std::function</c>.</param>
    /// <param name="why">The exception's text, of up to 15 letters.</param>
    public static void MakeThrowing(nint* function, string why)
    {
        // On Windows the <c>std::function</c> is room for a small object, followed by the address of the object that is called.
        if (CppAbi.IsMicrosofts)
        {
            function[Words - 1] = microsofts.GetOrAdd(why, MakeObject);
            return;
        }
        // The called function is libstdc++'s std::__throw_runtime_error(const char*), with the address of the text.
        var text = stackalloc nint[2];
        (text[0], text[1]) = (0, 0);
        System.Text.Encoding.UTF8.GetBytes(why, new Span<byte>(text, 2 * sizeof(nint) - 1));
        Make(function, text[0], text[1], LibTorch.Symbol("_ZSt21__throw_runtime_errorPKc"));
    }

    /// <summary>Makes a function that calls another function with the address of two words.</summary>
    /// <exception cref="PlatformNotSupportedException">On Windows.</exception>
    public static void Make(nint* function, nint first, nint second, nint target)
    {
        if (CppAbi.IsMicrosofts) throw LibTorch.Unsupported("Windows", "Linux, for calls at the end of a backward pass");
        // The layout is 16 bytes of the function's own data, followed by two functions: one that manages the data, and one that is called
        // with the data's address.
        (function[0], function[1]) = (first, second);
        function[2] = (nint)(delegate* unmanaged[Cdecl]<nint*, nint*, int, byte>)&ManageWords;
        function[3] = target;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static byte ManageWords(nint* to, nint* from, int what)
    {
        const int Clone = 2;
        if (what == Clone) (to[0], to[1]) = (from[0], from[1]);
        return 0;
    }

    // The object has the virtual functions copy, move, call, target type, delete and target. It lives as long as the process, so that copy
    // returns the object itself. Call jumps to std::_Xruntime_error(const char*) with the text, so that the exception crosses no managed
    // frame.
    static nint MakeObject(string why)
    {
        var throws = NativeLibrary.GetExport(NativeLibrary.Load("msvcp140.dll"), "?_Xruntime_error@std@@YAXPEBD@Z");
        var code = new MachineCode();
        var call = code.Here;
        code.Add([0x48, 0xB9], Marshal.StringToCoTaskMemUTF8(why));                   // mov rcx, text
        code.Add([0x48, 0xB8], throws);                                             // mov rax, _Xruntime_error
        code.Add([0xFF, 0xE0]);                                                     // jmp rax
        code.Seal();
        var self = (nint)(delegate* unmanaged[Cdecl]<nint, nint>)&Self;
        nint[] functions = [self, self, call, self, self, self];
        var thrower = (nint*)NativeMemory.Alloc((nuint)functions.Length + 1, (nuint)sizeof(nint));
        functions.CopyTo(new Span<nint>(thrower + 1, functions.Length));
        thrower[0] = (nint)(thrower + 1);
        return (nint)thrower;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint Self(nint self) => self;
}
