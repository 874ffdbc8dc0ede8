using Actipress.Autograd;

namespace Actipress.Tests.Autograd;

public sealed class OperationNamesTests
{
    [Theory]
    [InlineData("aten::relu")]
    [InlineData("aten::max_pool2d_with_indices")]
    public void A_name_that_libtorch_has_is_taken(string name) => Assert.Equal(name, Operation.Existing(name).Name);

    // A name without a namespace is compared as a name of aten.
    [Theory]
    [InlineData("relu", "aten::relu")]
    [InlineData("conv2", "aten::conv2d")]
    [InlineData("aten::softmx", "aten::softmax")]
    [InlineData("ten::sigmoid", "aten::sigmoid")]
    public void An_unknown_name_is_refused_and_the_nearest_come_first(string name, string nearest)
    {
        var message = Assert.Throws<ArgumentException>(() => Operation.Existing(name)).Message;
        Assert.StartsWith($"libtorch has no operation '{name}'. Near names: {nearest}", message, StringComparison.Ordinal);
    }
}
