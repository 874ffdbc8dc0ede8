using System.Text.Json;
using Actipress.Accounting;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

/// <summary>In a process whose allocator is not glibc's there is no meter, and everything else works.</summary>
public sealed class OtherAllocatorsTests
{
    const long MiB = 1 << 20;

    public static TheoryData<string> Libraries => ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"];

    [Theory, MemberData(nameof(Libraries))]
    public void Without_a_level_there_is_a_refusal_and_compression_works(string library)
    {
        var file = Installed(library);
        ChildProcess.RunScenario(typeof(Scenario), nameof(Scenario.Refuses_and_trains), ("LD_PRELOAD", file));
    }

    [Theory, MemberData(nameof(Libraries))]
    public void The_command_line_trains_and_leaves_the_allocator_s_figures_out(string library)
    {
        var file = Installed(library);
        using var folder = new TemporaryFolder();
        string[] train =
        [
            .. ChildProcess.Cli, "train", "--model", "lenet", "--epochs", "1", "--batch", "100", "--train-examples", "200",
            "--test-examples", "100", "--out", folder.Path,
        ];

        var json = ChildProcess.Run([.. train, "--json"], null, ("LD_PRELOAD", file));
        Assert.True(json.ExitCode == 0, json.All);
        Assert.Single(
            json.Error.Split('\n'),
            line => line.Contains("figures are left out", StringComparison.Ordinal) && line.Contains(library, StringComparison.Ordinal));
        foreach (var run in (string[])["baseline", "compressed"])
        {
            var result = JsonDocument.Parse(json.Output).RootElement.GetProperty(run);
            Assert.True(result.GetProperty("train_loss").GetDouble() > 0);
            foreach (var key in (string[])["after_forward_bytes", "peak_bytes"]) Assert.False(result.TryGetProperty(key, out _), key);
        }
        var table = ChildProcess.Run(train, null, ("LD_PRELOAD", file));
        Assert.True(table.ExitCode == 0, table.All);
        Assert.Matches(@"peak memory of a step\W+-\W+-", table.Output);

        foreach (string[] more in (string[][])[[], ["--predict"]])
        {
            var memory = ChildProcess.Run([.. ChildProcess.Cli, "memory", "LeNet", "--batch", "8", .. more], null, ("LD_PRELOAD", file));
            Assert.True(memory.ExitCode == 2 && memory.Output.Length == 0, memory.All);
            Assert.Contains(library, memory.Error, StringComparison.Ordinal);
            Assert.Contains("LD_PRELOAD unset", memory.Error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_level_is_believed_once_a_tensor_moves_it()
    {
        var (level, made) = (1000L, 0);
        Assert.Equal(0, CAllocator.MovedBy(() => 1000, () => Trial(0)));
        Assert.Equal(CAllocator.Tries, made);
        (level, made) = (1000, 0);
        Assert.Null(CAllocator.MovedBy(() => level, () => Trial(64 * MiB)));
        Assert.Equal(1, made);

        // Another thread frees memory in the first two tries.
        (level, made) = (1L << 40, 0);
        Assert.Null(CAllocator.MovedBy(() => level, () => Trial(made < 2 ? -MiB : 64 * MiB)));
        Assert.Equal(3, made);
        (level, made) = (1L << 40, 0);
        Assert.Equal(640 * MiB, CAllocator.MovedBy(() => level, () => Trial(640 * MiB)));

        IDisposable Trial(long moves)
        {
            made++;
            level += moves;
            return new MemoryStream();
        }
    }

    [Fact]
    public void The_real_level_is_believed_while_other_threads_allocate()
    {
        using var ended = new CancellationTokenSource();
        var other = new Thread(() =>
        {
            while (!ended.IsCancellationRequested) empty(48 * MiB, uint8).Dispose();
        });
        other.Start();
        try
        {
            for (var trial = 0; trial < 20; trial++)
                Assert.Null(CAllocator.MovedBy(() => AllocatorMeter.CurrentBytes, () => empty(64 * MiB, uint8)));
        }
        finally
        {
            ended.Cancel();
            other.Join();
        }
    }

    [Fact]
    public void The_refusal_names_the_library_and_the_way_out()
    {
        var preloaded = CAllocator.Refusal(0, "/usr/lib/libjemalloc.so.2", "libjemalloc.so.2");
        Assert.Contains("a tensor of 64 MiB moves glibc's by 0.0 MiB", preloaded, StringComparison.Ordinal);
        Assert.Contains("allocates with /usr/lib/libjemalloc.so.2; wanted glibc's own", preloaded, StringComparison.Ordinal);
        Assert.Contains("LD_PRELOAD unset (now 'libjemalloc.so.2')", preloaded, StringComparison.Ordinal);
        Assert.Contains("without that library", CAllocator.Refusal(0, "/usr/lib/libmimalloc.so", null), StringComparison.Ordinal);
        Assert.Contains("an unknown library", CAllocator.Refusal(0, null, ""), StringComparison.Ordinal);
        var glibc = CAllocator.Refusal(200 * MiB, "/usr/lib/libc.so.6", null);
        Assert.Contains("by 200.0 MiB", glibc, StringComparison.Ordinal);
        Assert.Contains("other threads", glibc, StringComparison.Ordinal);
        Assert.DoesNotContain("LD_PRELOAD", glibc, StringComparison.Ordinal);
    }

    static string Installed(string library)
    {
        string[] folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"];
        if (folders.Select(folder => Path.Combine(folder, library)).FirstOrDefault(File.Exists) is { } file) return file;
        Assert.Skip($"No {library}: on Debian, apt-get install libjemalloc2 libtcmalloc-minimal4.");
        return "";
    }

    sealed class TemporaryFolder : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("actipress-").FullName;
        public void Dispose() => Directory.Delete(Path, recursive: true);
    }

    public class Scenario
    {
        [Fact(Explicit = true)]
        public void Refuses_and_trains()
        {
            using var everything = NewDisposeScope();
            random.manual_seed(1);
            using var model = Sequential(
                Conv2d(1, 16, 3, padding: 1), BatchNorm2d(16), Tanh(), Conv2d(16, 16, 3, padding: 1), BatchNorm2d(16), Tanh(),
                Conv2d(16, 4, 1));
            var x = randn(8, 1, 64, 64);
            using (var plain = model.CompressActivations(ActivationCodec.Dct(10)))
            {
                Refuses(() => AllocatorMeter.CurrentBytes);
                Refuses(() => AllocatorMeter.BytesOn(CPU));
                Refuses(() => AllocatorMeter.Start());
                Refuses(plain.StartTimeline);
                Refuses(() => MemoryPrediction.Of(model, [8, 1, 64, 64], ActivationCodec.Dct(10)));
                using (var loss = model.call(x).square().mean()) plain.Backward(loss);
                Assert.True(plain.Report().KeptBytes < plain.Report().SavedBytes / 4, $"{plain.Report()}");
                Assert.Equal(0, plain.LiveBytes);
                Assert.True(
                    plain.MeasureFidelity([() => model.call(x).square().mean(), () => model.call(x * 2).square().mean()]).Cosine > 0.5);
            }
            Refuses(() => model.CompressActivations(options => options.Budget(1 << 30)));

            const long Bytes = 2 * MiB;
            using var budgeted = model.CompressActivations(options => options.Budget(Bytes, BudgetOf.Maps));
            for (var step = 0; step < 4; step++)
            {
                using var scope = NewDisposeScope();
                using var loss = model.call(x).square().mean();
                budgeted.Backward(loss);
            }
            Assert.InRange(budgeted.Report().KeptBytes, Bytes / 3, Bytes);
            AllocatorMeter.LookIn();
        }

        static void Refuses(Func<object> read)
        {
            var message = Assert.Throws<PlatformNotSupportedException>(read).Message;
            Assert.Contains(Path.GetFileName(Environment.GetEnvironmentVariable("LD_PRELOAD")!), message, StringComparison.Ordinal);
            Assert.Contains("LD_PRELOAD unset", message, StringComparison.Ordinal);
        }
    }
}
