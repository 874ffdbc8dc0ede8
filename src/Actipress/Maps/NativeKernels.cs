namespace Actipress.Maps;

/// <summary>
/// libtorch's native kernels for small convolutions on the CPU. They lay out matrices that are many times as large as their input, where
/// oneDNN does not.
/// </summary>
static class NativeKernels
{
    // libtorch uses oneDNN where the product of an example's first three extents is larger.
    const long Most = 20480;

    /// <summary>Whether libtorch would use them for one example without groups.</summary>
    /// <param name="channels">The number of the example's channels.</param>
    /// <param name="rows">The first spatial extent.</param>
    /// <param name="columns">The second spatial extent.</param>
    public static bool Take(long channels, long rows, long columns) => channels * rows * columns <= Most;
}
