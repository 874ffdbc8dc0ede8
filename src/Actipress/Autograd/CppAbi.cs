namespace Actipress.Autograd;

/// <summary>
/// The C++ ABI of this process: Microsoft's on Windows, Itanium's elsewhere. Both return an object of a class through a pointer to its
/// memory. A method takes this pointer before <c>this</c>, or on Windows after it.
/// </summary>
static unsafe class CppAbi
{
    public static bool IsMicrosofts { get; } = OperatingSystem.IsWindows();

    /// <summary>
    /// The number of words of a virtual table before its first function. On Windows it is the type; elsewhere it is the offset to the top
    /// of the object and the type.
    /// </summary>
    public static int WordsBeforeTable => IsMicrosofts ? 1 : 2;

    /// <summary>Calls a method without arguments that returns an object of a class.</summary>
    /// <param name="method">The address of the method.</param>
    /// <param name="self">The object.</param>
    /// <param name="result">The memory of the returned object.</param>
    public static void Call(nint method, nint self, nint result)
    {
        var (first, second) = IsMicrosofts ? (self, result) : (result, self);
        ((delegate* unmanaged[Cdecl]<nint, nint, nint>)method)(first, second);
    }

    /// <summary>Calls a method with one number that returns an object of a class.</summary>
    public static void Call(nint method, nint self, nint result, nuint number)
    {
        var (first, second) = IsMicrosofts ? (self, result) : (result, self);
        ((delegate* unmanaged[Cdecl]<nint, nint, nuint, nint>)method)(first, second, number);
    }

    /// <summary>
    /// Destroys an object and frees it by its virtual table: by the second entry, or on Windows by the first entry, which has an argument
    /// that says whether to free.
    /// </summary>
    public static void Delete(nint self)
    {
        var table = *(nint**)self;
        if (IsMicrosofts) ((delegate* unmanaged[Cdecl]<nint, int, nint>)table[0])(self, 1);
        else ((delegate* unmanaged[Cdecl]<nint, void>)table[1])(self);
    }

    /// <summary>The letters of a <c>std::string</c>.</summary>
    /// <remarks>
    /// A string has four words. On Linux the first two are the address of the letters and their number. On Windows the first two hold up to
    /// 15 letters and a zero, or the address of more letters; the third is the number of letters, and the fourth is the capacity.
    /// </remarks>
    public static ReadOnlySpan<byte> Text(nint* text)
    {
        const int LettersInside = 16;
        if (!IsMicrosofts) return new((void*)text[0], checked((int)text[1]));
        return new(text[3] < LettersInside ? text : (void*)text[0], checked((int)text[2]));
    }
}
