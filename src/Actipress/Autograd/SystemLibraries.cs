using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// Checks that the system has the libraries that TorchSharp's native library needs. Without this check TorchSharp writes pages of stack
/// traces where one is missing.
/// </summary>
static class SystemLibraries
{
    // The only function of the libstdc++ version that TorchSharp's library requires.
    const string NewestFunction = "_ZSt21ios_base_library_initv";

    /// <exception cref="PlatformNotSupportedException">TorchSharp's native library cannot be loaded on this system.</exception>
    public static void Check()
    {
        if (!OperatingSystem.IsLinux()) return;
        if (RuntimeInformation.RuntimeIdentifier.Contains("musl", StringComparison.Ordinal))
            throw Refusal(
                $"{RuntimeInformation.RuntimeIdentifier}, whose C library is musl", "glibc, such as Debian's, Ubuntu's or Fedora's");
        var isThere = NativeLibrary.TryLoad("libstdc++.so.6", out var standard);
        if (isThere && NativeLibrary.TryGetExport(standard, NewestFunction, out _)) return;
        // A copy of TorchSharp's library that does not require the version loads all the same.
        if (NativeLibrary.TryLoad("LibTorchSharp", typeof(torch).Assembly, null, out _)) return;
        throw Refusal(
            !isThere ? "no libstdc++.so.6" : "a libstdc++.so.6 without GLIBCXX_3.4.32",
            "that of GCC 13.2 or newer: Ubuntu 24.04, Debian 13, Fedora 39 and later have it");
    }

    static PlatformNotSupportedException Refusal(string found, string wanted) =>
        new($"TorchSharp 0.107.0 cannot run here: found {found}, wanted {wanted}.");
}
