using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>A <c>std::function&lt;void()&gt;</c> of functions that are not C++.</summary>
static unsafe class NativeFunction
{
    /// <summary>Words of a <c>std::function</c>: 8 on Windows, 4 elsewhere.</summary>
    public const int Words = 8;

    static readonly ConcurrentDictionary<string, nint> microsofts = new();

    /// <summary>Makes one that throws a C++ exception, by a function of the C++ library that does nothing else.</summary>
    /// <param name="function">Room for it.</param>
    /// <param name="why">The exception's text: up to 15 letters.</param>
    public static void MakeThrowing(nint* function, string why)
    {
        // On Windows: room for a small object, then the address of the object that does it.
        if (CppAbi.IsMicrosofts)
        {
            function[Words - 1] = microsofts.GetOrAdd(why, MakeObject);
            return;
        }
        // What is called with the address of a text is libstdc++'s std::__throw_runtime_error(const char*).
        var text = stackalloc nint[2];
        (text[0], text[1]) = (0, 0);
        System.Text.Encoding.UTF8.GetBytes(why, new Span<byte>(text, 2 * sizeof(nint) - 1));
        Make(function, text[0], text[1], LibTorch.Symbol("_ZSt21__throw_runtime_errorPKc"));
    }

    /// <summary>Makes one that calls a function with the address of two words.</summary>
    /// <exception cref="PlatformNotSupportedException">On Windows.</exception>
    public static void Make(nint* function, nint first, nint second, nint target)
    {
        if (CppAbi.IsMicrosofts) throw LibTorch.Unsupported("Windows", "Linux, for calls at the end of a backward pass");
        // 16 bytes of the function's own data, then two functions: one that manages the data, and one that is called with their address.
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

    // An object with virtual functions: copy, move, call, the target's type, delete, the target. This one lives as long as the process, so
    // that a copy of it is itself, and being called it goes on to std::_Xruntime_error(const char*) with a text, by a jump: the exception
    // passes no frame of ours.
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
