namespace Actipress.Gpu;

/// <summary>
/// The kernels as PTX, which ./dev kernels compiles from the C# of src/Actipress.Kernels. The library carries the text, so that it needs no
/// compiler, and the first map on a GPU does not wait for one.
/// </summary>
static class KernelText
{
    /// <summary>The oldest GPU that runs the PTX: Volta. Newer GPUs run it too.</summary>
    public const int OldestMajor = 7, OldestMinor = 0;

    /// <summary>The most threads of a group, for which the PTX is compiled; fewer must be a multiple of 16.</summary>
    public const int MostThreads = 128;

    /// <summary>The PTX of a kernel, for groups of <see cref="MostThreads"/>.</summary>
    public static string Of(GridKernel kernel)
    {
        using var text = new StreamReader(typeof(KernelText).Assembly.GetManifestResourceStream($"{kernel}.ptx")!);
        return text.ReadToEnd();
    }

    /// <summary>The name of a kernel in its PTX.</summary>
    public static string Entry(GridKernel kernel) => $"Kernel_{kernel}";
}
