namespace Actipress.Gpu;

/// <summary>
/// The kernels by which grid storage packs and unpacks on a GPU: methods of the class <c>GridKernels</c> of src/Actipress.Kernels.
/// </summary>
enum GridKernel
{
    Sample, Tally, Narrow, Settle, Measure, Lay, Write, Unpack, Look, Divide, KeepZeros, Combine,
}
