using Actipress.Models;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Models;

public class NetworkTests
{
    static readonly (string Name, Func<Module<Tensor, Tensor>> Make, long Parameters, long[] Input, long[] Output)[] networks =
    [
        ("LeNet", () => new LeNet(), 150_194, [2, 1, 28, 28], [2, 10]),
        ("ResNet18", () => ResNet.ResNet18(), 11_220_132, [2, 3, 32, 32], [2, 100]),
        ("ResNet20", () => ResNet.ResNet20(), 272_474, [2, 3, 32, 32], [2, 10]),    // He et al. 2016 count 0.27 M
        ("UNet3D, f = 4", () => new UNet3D(1, 3, 4), 0, [1, 1, 16, 32, 16], [1, 3, 16, 32, 16]),
    ];

    public static TheoryData<string> Names => [.. networks.Select(network => network.Name)];

    [Theory, MemberData(nameof(Names))]
    public void A_network_has_its_parameters_and_shapes_and_leaves_nothing_behind(string name)
    {
        var (_, make, parameters, input, output) = networks.Single(network => network.Name == name);
        using var everything = NewDisposeScope();
        using var model = make();
        if (parameters > 0) Assert.Equal(parameters, model.parameters().Sum(parameter => parameter.NumberOfElements));
        var x = randn(input);
        Step(model, x, output);
        Assert.All(model.parameters(), parameter => Assert.NotNull(parameter.grad));
        var before = Tensor.TotalCount;
        Step(model, x, output);
        Assert.Equal(before, Tensor.TotalCount);
    }

    static void Step(Module<Tensor, Tensor> model, Tensor x, long[] output)
    {
        using var y = model.call(x);
        Assert.Equal(output, y.shape);
        using var loss = y.sum();
        loss.backward();
    }

    [Fact]
    public void The_u_net_of_the_paper_has_22_6_million_parameters()
    {
        using var model = new UNet3D();
        Assert.Equal(22.6, model.parameters().Sum(parameter => parameter.NumberOfElements) / 1e6, 0.05);
    }

    [Fact]
    public void What_a_residual_network_and_a_u_net_save_is_alive_nowhere_else()
    {
        foreach (var (name, make, _, input, _) in networks)
        {
            using var everything = NewDisposeScope();
            using var model = make();
            using var compression = model.CompressActivations(ActivationCodec.Dct(10));
            var x = randn(input);
            using (var y = model.call(x))
            using (var loss = y.sum())
                compression.Backward(loss);
            var report = compression.Report();
            Assert.True(report.AliveElsewhereBytes <= report.SavedBytes / 100, $"{name}\n{report}");
            Assert.Equal(0, report.LiveBytes);
        }
    }
}
