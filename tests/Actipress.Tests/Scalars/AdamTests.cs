using static TorchSharp.torch;
using OptimizerHelper = TorchSharp.Modules.OptimizerHelper;
using Parameter = TorchSharp.Modules.Parameter;

namespace Actipress.Tests.Scalars;

public sealed class AdamTests
{
    [Fact]
    public void Its_steps_are_torch_s_own_to_the_bit_and_each_reads_the_other_s_state()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var start = randn(5, 7);
        using Parameter held = nn.Parameter(start.clone()), unusedHeld = nn.Parameter(ones(3));
        using Parameter torchs = nn.Parameter(start.clone()), unusedTorchs = nn.Parameter(ones(3));
        OptimizerHelper first = new Actipress.Experiments.Adam([unusedHeld, held], 0.02), second = optim.Adam([unusedTorchs, torchs], 0.02);
        for (var step = 0; step < 12; step++)
        {
            if (step == 6)
            {
                var (ofFirst, ofSecond) = (State(first), State(second));
                Assert.Equal(ofSecond, ofFirst);
                first.Dispose();
                second.Dispose();
                (first, second) = (optim.Adam([unusedHeld, held], 0.02), new Actipress.Experiments.Adam([unusedTorchs, torchs], 0.02));
                first.load_state_dict(new BinaryReader(new MemoryStream(ofFirst)));
                second.load_state_dict(new BinaryReader(new MemoryStream(ofSecond)));
            }
            foreach (var group in first.ParamGroups.Concat(second.ParamGroups)) group.LearningRate = 0.02 / (1 + step);
            var pull = randn(5, 7);
            foreach (var (optimizer, parameter) in ((OptimizerHelper, Parameter)[])[(first, held), (second, torchs)])
            {
                optimizer.zero_grad();
                parameter.mul(parameter).mul(pull).sum().backward();
                optimizer.step();
            }
            Assert.True(held.Equals(torchs), $"step {step}");
        }
        Assert.False(held.Equals(start));
        first.Dispose();
        second.Dispose();
    }

    static byte[] State(OptimizerHelper optimizer)
    {
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream)) optimizer.save_state_dict(writer);
        return stream.ToArray();
    }
}
