namespace Actipress.Autograd;

/// <summary>
/// How C++ is compiled where this process runs: by Microsoft's conventions on Windows, by those of Itanium elsewhere. Both return an object
/// of a class through a pointer to its place; a method takes that pointer before <c>this</c>, or on Windows after it.
/// </summary>
static unsafe class CppAbi
{
    public static bool IsMicrosofts { get; } = OperatingSystem.IsWindows();

    /// <summary>
    /// Words in front of a virtual table's first function that belong to it: on Windows the type, elsewhere the offset to the top of the
    /// object too.
    /// </summary>
    public static int WordsBeforeTable => IsMicrosofts ? 1 : 2;

    /// <summary>Calls a method without arguments that returns an object of a class.</summary>
    /// <param name="method">The address of the method.</param>
    /// <param name="self">The object.</param>
    /// <param name="result">Where the returned object is to be.</param>
    public static void Call(nint method, nint self, nint result)
    {
        var (first, second) = IsMicrosofts ? (self, result) : (result, self);
        ((delegate* unmanaged[Cdecl]<nint, nint, nint>)method)(first, second);
    }

    /// <summary>
    /// Destroys an object and frees it, by its virtual table: the second entry, or on Windows the first, which takes whether to free.
    /// </summary>
    public static void Delete(nint self)
    {
        var table = *(nint**)self;
        if (IsMicrosofts) ((delegate* unmanaged[Cdecl]<nint, int, nint>)table[0])(self, 1);
        else ((delegate* unmanaged[Cdecl]<nint, void>)table[1])(self);
    }

    /// <summary>The letters of a <c>std::string</c>.</summary>
    /// <remarks>
    /// Four words. On Linux the first two are the address of the letters and their number. On Windows the first two are room for 15 letters
    /// and a zero, or the address of more; the third is the number of letters, the fourth how many there is room for.
    /// </remarks>
    public static ReadOnlySpan<byte> Text(nint* text)
    {
        const int LettersInside = 16;
        if (!IsMicrosofts) return new((void*)text[0], checked((int)text[1]));
        return new(text[3] < LettersInside ? text : (void*)text[0], checked((int)text[2]));
    }
}
