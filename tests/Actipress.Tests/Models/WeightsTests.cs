using Actipress.Models;
using TorchSharp.PyBridge;
using static TorchSharp.torch;

namespace Actipress.Tests.Models;

/// <summary>
/// Weights are loaded from PyTorch's and Hugging Face's files by TorchSharp.PyBridge, since parameters have their published names.
/// </summary>
public sealed class WeightsTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory, InlineData("ResNet20", 16), InlineData("EfficientNetB0", 64)]
    public void A_network_gives_the_same_after_its_weights_went_through_a_file(string name, int extent)
    {
        using var everything = NewDisposeScope();
        manual_seed(1);
        var network = Networks.Find(name);
        using var trained = network.Create();
        var x = randn(2, 3, extent, extent);
        trained.call(x).Dispose();    // changes the statistics of the batch norms
        trained.eval();
        var expected = trained.call(x);

        var (safetensors, pth) = (Path.Combine(folder, "weights.safetensors"), Path.Combine(folder, "weights.pth"));
        trained.save_safetensors(safetensors);
        trained.save_py(pth);
        foreach (var load in (Action<nn.Module>[])[model => model.load_safetensors(safetensors), model => model.load_py(pth)])
        {
            using var fresh = network.Create();
            load(fresh);
            fresh.eval();
            Assert.True(fresh.call(x).bytes.SequenceEqual(expected.bytes));
        }
    }
}
