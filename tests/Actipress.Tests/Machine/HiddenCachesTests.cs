using Actipress.Machine;
using static TorchSharp.torch;

namespace Actipress.Tests.Machine;

public sealed class HiddenCachesTests
{
    const int Enti = 0x69746E65, Intel = 0x49656E69, FirstLevelData = 0x121;

    [Theory]
    [InlineData(Enti, 0, null, true)]
    [InlineData(Enti, 0, "AVX2", true)]
    [InlineData(Enti, 0, "sse41", false)]
    [InlineData(Enti, FirstLevelData, null, false)]
    [InlineData(Intel, 0, null, false)]    // Intel reports caches by another function
    public void A_processor_of_AMD_that_does_not_report_its_caches_is_told(int vendor, int cache, string? kernels, bool isWrong)
    {
        var fault = HiddenCaches.Fault(function => (uint)function == 0x8000001D ? (cache, 0) : (0, vendor), kernels);
        Assert.Equal(isWrong, fault is not null);
        if (isWrong) Assert.Contains("ONEDNN_MAX_CPU_ISA=SSE41", fault, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_architecture_is_not_told() => Assert.Null(HiddenCaches.Fault(_ => null, null));

    // These shapes are wrong on a processor without caches, because their channels do not fill a block.
    [Fact]
    public void Where_nothing_is_told_convolutions_are_right()
    {
        if (HiddenCaches.Here is { } wrong) Assert.Skip(wrong);
        using var everything = NewDisposeScope();
        foreach (var (batch, from, to, size, kernel) in ((int, int, int, int, int)[])[(4, 4, 4, 6, 3), (8, 8, 1, 5, 3), (6, 20, 64, 17, 3)])
        {
            var (input, weight) = (randn(batch, from, size, size), randn(to, from, kernel, kernel));
            Assert.True(RelativeError(Gradients(float32), Gradients(float64)) < 1e-5);

            Tensor[] Gradients(ScalarType type)
            {
                var (x, w) = (input.to(type).detach().requires_grad_(), weight.to(type).detach().requires_grad_());
                using var output = nn.functional.conv2d(x, w, padding: [kernel / 2, kernel / 2]);
                output.square().sum().backward();
                return [output.detach().clone(), x.grad!, w.grad!];
            }
        }

        static double RelativeError(Tensor[] found, Tensor[] wanted) => found.Zip(wanted)
            .Max(pair => (pair.First.to(float64).sub(pair.Second).norm() / pair.Second.norm()).item<double>());
    }
}
