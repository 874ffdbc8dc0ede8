using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>The laws that hold for every line of the table of operations.</summary>
public sealed class OperationLaws : IDisposable
{
    readonly int threads = get_num_threads();

    // The maps are small, so that more threads would wait for one another.
    public OperationLaws()
    {
        EngineHooks.EnsureInstalled();
        set_num_threads(1);
    }

    public void Dispose() => set_num_threads(threads);

    public static TheoryData<OperationCase> Cases => [.. OperationCases.All];

    [Theory, MemberData(nameof(Cases))]
    public void Gradients_from_compressed_maps_point_where_the_plain_ones_do(OperationCase given)
    {
        using var everything = NewDisposeScope();
        var plain = given.Gradients();
        var rebuilt = given.Gradients(() => SavedTensors.Compress(ActivationCodec.Dct(10)));
        Assert.NotEmpty(plain);
        Assert.Equal(plain.Count, rebuilt.Count);
        for (var leaf = 0; leaf < plain.Count; leaf++)
        {
            var (a, b) = (plain[leaf].norm().ToDouble(), rebuilt[leaf].norm().ToDouble());
            if (a == 0 && b == 0) continue;
            var cosine = (plain[leaf] * rebuilt[leaf]).sum().ToDouble() / (a * b);
            Assert.True(cosine >= 0.95, $"{given}: cosine {cosine:0.000} (norm ratio {b / a:0.00}) of leaf {leaf}; wanted 0.95.");
            Assert.True(
                b / a is >= 0.8 and <= 1.25,
                $"{given}: norm ratio {b / a:0.00} (cosine {cosine:0.000}) of leaf {leaf}; wanted 0.8 to 1.25.");
        }
    }

    [Theory, MemberData(nameof(Cases))]
    public void A_case_shows_its_lines_saving_and_no_map_that_the_table_does_not_know(OperationCase given)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(5);
        using var leaves = new Leaves();
        var observed = new Observed();
        using (SavedTensorsScope.Enter(observed)) given.Run(leaves);
        Assert.Empty(observed.Unknown);
        Assert.All(given.Lines, line => Assert.Contains(line, observed.Saving));
    }

    [Fact]
    public void Every_line_has_a_case_or_a_reason()
    {
        var lines = Operations.All.Select(line => line.Name).ToHashSet();
        var shown = OperationCases.All.SelectMany(given => given.Lines).ToHashSet();
        Assert.Equal([], lines.Where(line => !shown.Contains(line) && !OperationCases.WithoutCase.ContainsKey(line)));
        Assert.Equal([], OperationCases.WithoutCase.Keys.Where(line => shown.Contains(line) || !lines.Contains(line)));
        Assert.Equal([], shown.Except(lines));
    }

    [Fact]
    public void Every_line_names_an_operation_of_libtorch()
    {
        Assert.Equal([], Operations.All.Select(line => $"aten::{line.Name}").Where(name => !OperationObserver.AllNames.Contains(name)));
    }

    [Fact]
    public void Every_module_that_a_line_names_is_one_of_TorchSharp()
    {
        var modules = typeof(nn).Assembly.GetTypes().Where(type => type.IsAssignableTo(typeof(nn.Module)))
            .Select(type => type.Name).ToHashSet();
        Assert.Equal([], Operations.All.SelectMany(line => line.Modules).Where(name => !modules.Contains(name)));
        Assert.Equal([], Operations.All.SelectMany(line => line.Modules).CountBy(name => name).Where(pair => pair.Value > 1));
    }

    // Leaves every tensor as it is, and records the operation that saved it.
    sealed class Observed : SavedTensorHooks
    {
        public HashSet<string> Saving { get; } = [];

        public List<string> Unknown { get; } = [];

        public override bool WatchesOperations => true;

        public override SavedTensor Pack(Tensor tensor)
        {
            var running = OperationObserver.Running!;
            for (var level = 0; level < running.Depth; level++) Saving.Add(running.At(level).Operation.ShortName);
            var by = SavedBy.Of(tensor, running, Operations.Of);
            var line = Operations.Of(by.Operation);
            var covered = line is not null && (by.Operation.IsInPlace || (by.IsArgument ? line.Arguments : line.Results).Length > 0);
            if (tensor.is_floating_point() && !covered)
                Unknown.Add($"{by.Operation} saves {(by.IsArgument ? "an argument" : "a result")} of {string.Join(" x ", tensor.shape)}");
            return new PassedOn(tensor);
        }
    }
}
