using System.Runtime.InteropServices;
using Actipress.Gpu;
using Actipress.Grid.Gpu;

namespace Actipress;

/// <summary>What is known of GPUs here, and of the kernels that pack maps on them.</summary>
public static class GpuKernels
{
    /// <summary>
    /// The GPU behind a device and its driver, such as <c>NVIDIA A100-SXM4-40GB (compute capability 8.0), driver for CUDA 12.8</c>; why
    /// there is none where there is none.
    /// </summary>
    /// <param name="device">A CUDA device.</param>
    public static string Describe(torch.Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        try
        {
            var (name, major, minor) = CudaDriver.Here.Describe(Math.Max(0, device.index));
            return $"{name} (compute capability {major}.{minor}), driver for CUDA {CudaDriver.Dotted(CudaDriver.Here.Version)}";
        }
        catch (Exception failure) when (failure is PlatformNotSupportedException or ExternalException) { return failure.Message; }
    }

    /// <summary>The GPU's name alone; null where there is none.</summary>
    /// <param name="device">A CUDA device.</param>
    public static string? NameOf(torch.Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        try { return device.type == DeviceType.CUDA ? CudaDriver.Here.Describe(Math.Max(0, device.index)).Name : null; }
        catch (Exception failure) when (failure is PlatformNotSupportedException or ExternalException) { return null; }
    }

    /// <summary>
    /// Why maps on a device do not go through the kernels but through torch's own operations; null where they do. The first time
    /// loads the kernels and tries them on a few small maps.
    /// </summary>
    /// <param name="device">A CUDA device.</param>
    public static string? Refusal(torch.Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return GpuGrid.Refusal(Math.Max(0, device.index));
    }
}
