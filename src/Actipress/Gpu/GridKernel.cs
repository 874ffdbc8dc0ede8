namespace Actipress.Gpu;

/// <summary>
/// The kernels of grid storage on a GPU. Each is a method of the class <c>GridKernels</c> of src/Actipress.Kernels.
/// </summary>
enum GridKernel
{
    Sample, Tally, Narrow, Settle, Measure, Lay, Write, Unpack, Look, Divide, KeepZeros, Combine,
}
