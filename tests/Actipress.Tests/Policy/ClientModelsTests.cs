using Actipress.Models;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Actipress.Tests.Policy;

/// <summary>What users' networks make of compression.</summary>
public sealed class ClientModelsTests : IDisposable
{
    const int Steps = 10, Batches = 8;

    // On maps as small as these threads cost more than they give, and sums come out in one order.
    readonly int threads = get_num_threads();
    public ClientModelsTests() => set_num_threads(1);
    public void Dispose() => set_num_threads(threads);

    public static IEnumerable<ITheoryDataRow> Clients => ClientModels.All.SelectMany(client => (TheoryDataRow<string, bool>[])[new(client.Name, true), new(client.Name, false)]);

    static void Train(ClientRun run, int steps)
    {
        using var optimizer = optim.Adam(run.Model.parameters(), 2e-3);
        for (var step = 0; step < steps; step++)
        {
            using var scope = NewDisposeScope();
            optimizer.zero_grad();
            run.Loss(step).backward();
            optimizer.step();
        }
        run.Model.zero_grad();
    }

    [Theory, MemberData(nameof(Clients))]
    public void Gradients_are_near_the_plain_ones(string name, bool byCall)
    {
        using var everything = NewDisposeScope();
        var client = ClientModels.Find(name);
        random.manual_seed(1);
        var run = client.Make(new Habit(byCall, Disposes: !byCall));
        using var model = run.Model;
        using var compression = model.CompressActivations(options =>
        {
            options.Default(ActivationCodec.Dct(10));
            options.DisposeIntermediates = byCall;
        });
        var losses = Enumerable.Range(100, Batches).Select(batch => (Func<Tensor>)(() => run.Loss(batch)));
        var fresh = compression.MeasureFidelity(losses);
        Train(run, Steps);
        var trained = compression.MeasureFidelity(losses);
        var report = compression.Report();
        var numbers = FormattableString.Invariant($"{name} by {(byCall ? "call" : "forward")}: fresh {fresh.Cosine:0.0000} x {fresh.NormRatio:0.00}, trained {trained.Cosine:0.0000} x {trained.NormRatio:0.000}, bias {trained.Bias:0.000}, noise {trained.Noise:0.000}; {report.SavedBytes >> 10} KiB saved, {report.KeptBytes >> 10} kept, {report.AliveElsewhereBytes >> 10} alive elsewhere");
        TestContext.Current.TestOutputHelper!.WriteLine(numbers);
        if (trained.Cosine < client.Cosine) numbers += $"\n{report}\n{string.Join("\n", trained.Worst(8))}";
        Assert.True(trained.Cosine >= client.Cosine, numbers);
        Assert.All([fresh, trained], fidelity => Assert.True(fidelity.NormRatio is > 0.5 and < 2, numbers));
    }
}
