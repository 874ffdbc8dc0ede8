using ILGPU.IR.Intrinsics;
using ILGPU.Runtime.Cuda;

namespace Actipress;

/// <summary>Operations that ILGPU does not offer.</summary>
static class GpuMath
{
    /// <summary>a b + c, rounded once. In PTX the operation is <see cref="FusedInPtx"/>.</summary>
    [IntrinsicImplementation]
    public static float Fused(float a, float b, float c) => MathF.FusedMultiplyAdd(a, b, c);

    internal static float FusedInPtx(float a, float b, float c)
    {
        CudaAsm.Emit("fma.rn.f32 %0, %1, %2, %3;", out float fused, a, b, c);
        return fused;
    }
}
