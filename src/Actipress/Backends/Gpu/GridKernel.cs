namespace Actipress;

/// <summary>
/// The kernels by which <see cref="GridOnGpu"/> packs and unpacks: methods of the class <c>GridKernels</c> of src/Actipress.Kernels.
/// </summary>
enum GridKernel
{
    Sample, Tally, Narrow, Settle, Measure, Lay, Write, Unpack, Look, Divide, KeepZeros, Combine,
}
