using System.Text.Json;
using Actipress.Accounting;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Accounting;

/// <summary>In a process whose allocator is not glibc's, the blocks are counted.</summary>
public sealed class OtherAllocatorsTests
{
    const long MiB = 1 << 20;

    public static TheoryData<string> Libraries => ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"];

    [Theory, MemberData(nameof(Libraries))]
    public void Without_a_level_blocks_are_counted(string library) =>
        ChildProcess.RunScenario(typeof(Scenario), nameof(Scenario.Counts_a_whole_step), ("LD_PRELOAD", Installed(library)));

    [Fact]
    public void Counted_blocks_change_as_the_level_does() =>
        ChildProcess.RunScenario(typeof(Scenario), nameof(Scenario.Counts_beside_the_level));

    [Theory, MemberData(nameof(Libraries))]
    public void The_command_line_says_what_its_figures_count(string library)
    {
        var file = Installed(library);
        using var folder = new TemporaryFolder();
        string[] train =
        [
            .. ChildProcess.Cli, "train", "--model", "lenet", "--epochs", "1", "--batch", "100", "--train-examples", "200",
            "--test-examples", "100", "--out", folder.Path, "--json",
        ];
        var trained = Run(train, file);
        foreach (var run in (string[])["baseline", "compressed"])
        {
            var result = JsonDocument.Parse(trained).RootElement.GetProperty(run);
            Assert.True(result.GetProperty("peak_bytes").GetInt64() > result.GetProperty("after_forward_bytes").GetInt64(), trained);
            Assert.True(result.GetProperty("after_forward_bytes").GetInt64() > 0, trained);
        }
        // glibc's level counts what .NET allocates and frees for itself within the steps: up to a MiB of 49, and on a busy machine now and
        // then several.
        string[] memory = [.. ChildProcess.Cli, "memory", "ResNet20", "--batch", "32", "--json"];
        var counted = Eta(Run(memory, file));
        Assert.Contains(Enumerable.Range(0, 3).Select(_ => Eta(Run(memory, null))), exact => Math.Abs(counted - exact) < 4);

        double Eta(string result) => JsonDocument.Parse(result).RootElement.GetProperty("eta_of_floor_percent").GetDouble();

        string Run(string[] command, string? preload)
        {
            var run = ChildProcess.Run(command, null, ("LD_PRELOAD", preload ?? ""));
            Assert.True(run.ExitCode == 0, run.All);
            var notes = run.Error.Split('\n').Where(line => line.Contains("counted, since", StringComparison.Ordinal)).ToArray();
            Assert.Equal(preload is null ? 0 : 1, notes.Length);
            Assert.All(notes, note => Assert.Contains(library, note, StringComparison.Ordinal));
            return run.Output;
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
    public void The_reason_names_the_library()
    {
        Assert.Equal(
            "the process allocates with /usr/lib/libjemalloc.so.2, and a tensor of 64 MiB moves glibc's level by 0.0 MiB",
            CAllocator.Reason(0, "/usr/lib/libjemalloc.so.2"));
        Assert.Contains("an unknown library", CAllocator.Reason(0, null), StringComparison.Ordinal);
        var glibc = CAllocator.Reason(200 * MiB, "/usr/lib/libc.so.6");
        Assert.Contains("by 200.0 MiB", glibc, StringComparison.Ordinal);
        Assert.Contains("other threads", glibc, StringComparison.Ordinal);
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
        // The model's small tensors, which are not counted.
        const long Small = MiB / 4;

        [Fact(Explicit = true)]
        public void Counts_a_whole_step()
        {
            Assert.False(AllocatorMeter.IsExactOn(CPU));
            Assert.Contains(
                Path.GetFileName(Environment.GetEnvironmentVariable("LD_PRELOAD")!), AllocatorMeter.SourceOn(CPU),
                StringComparison.Ordinal);
            var before = AllocatorMeter.CurrentBytes;
            using (var meter = AllocatorMeter.Start())
            {
                using (empty(8 * MiB, uint8)) Assert.Equal(8 * MiB, AllocatorMeter.CurrentBytes - before);
                Assert.Equal(before, AllocatorMeter.CurrentBytes);
                Assert.Equal(8 * MiB, meter.PeakBytes - before);
                Assert.ThrowsAny<Exception>(() => empty(1L << 50, uint8));
                Assert.Equal(8 * MiB, meter.PeakBytes - before);
            }

            using var everything = NewDisposeScope();
            using var model = Model();
            var x = randn(8, 1, 64, 64);
            var plain = HeldBy(x, model, compression: null);
            using (var compression = model.CompressActivations(ActivationCodec.Dct(10)))
            {
                var freed = plain - HeldBy(x, model, compression);
                var report = compression.Report();
                Assert.InRange(freed / (double)(report.SavedBytes - report.KeptBytes), 0.98, 1.02);
                using (var timeline = compression.StartTimeline())
                using (var loss = Loss(model, x))
                {
                    compression.Backward(loss);
                    Assert.True(timeline.Peak!.Bytes > MiB && timeline.AliveAtPeak[0].Bytes > MiB / 8, $"{timeline}");
                }
            }
            var predicted = MemoryPrediction.Of(model, [8, 1, 64, 64], ActivationCodec.Dct(10));
            // Its loss saves nothing, and this one its argument.
            Assert.InRange(predicted.Baseline.AfterForwardBytes, plain - MiB / 2 - Small, plain);
            // What a step needs beside its maps depends on the number of threads and on the processor's convolutions.
            var budget = Math.Max((predicted.Baseline.PeakBytes + predicted.Compressed.PeakBytes) / 2, Least(model, x) * 51 / 50);
            using var budgeted = model.CompressActivations(options => options.Budget(budget));
            for (var step = 0; step < 4; step++)
            {
                using var meter = AllocatorMeter.Start();
                var level = AllocatorMeter.CurrentBytes;
                using (var loss = Loss(model, x)) budgeted.Backward(loss);
                if (step == 3) Assert.InRange(meter.PeakBytes - level, 0, budget);
            }
        }

        static long Least(Sequential model, Tensor x)
        {
            using var impossible = model.CompressActivations(options => options.Budget(1));
            return Assert.Throws<BudgetException>(() =>
            {
                for (var step = 0; step < 3; step++)
                    using (var loss = Loss(model, x)) impossible.Backward(loss);
            }).LeastBytes;
        }

        [Fact(Explicit = true)]
        public void Counts_beside_the_level()
        {
            using var everything = NewDisposeScope();
            using var model = Model();
            var x = randn(64, 1, 64, 64);
            using var compression = model.CompressActivations(ActivationCodec.Dct(10));
            for (var step = 0; step < 2; step++)
                using (var loss = Loss(model, x)) compression.Backward(loss);
            Assert.True(AllocatorMeter.IsExactOn(CPU));
            AllocationWatch.Count();
            AllocatorMeter.Settle();
            var counted = CountedBlocks.Bytes;
            // The level also moves by what .NET allocates and frees on its own threads, in some of the steps.
            List<(long Moved, long Seen)> steps = [];
            for (var step = 0; step < 6; step++)
            {
                var level = CAllocator.Level;
                using (var loss = Loss(model, x))
                {
                    steps.Add((CAllocator.Level - level, CountedBlocks.Bytes - counted));
                    compression.Backward(loss);
                }
                foreach (var parameter in model.parameters()) parameter.grad = null;
                AllocatorMeter.Settle();
                Assert.InRange(CountedBlocks.Bytes - counted, -Small, Small);
            }
            Assert.All(steps, one => Assert.InRange(one.Seen, 8 * MiB, steps[0].Seen + Small));
            Assert.Contains(steps, one => one.Seen > one.Moved - MiB && one.Seen < one.Moved + Small);
        }

        static Sequential Model()
        {
            random.manual_seed(1);
            return Sequential(
                Conv2d(1, 16, 3, padding: 1), BatchNorm2d(16), Tanh(), Conv2d(16, 16, 3, padding: 1), BatchNorm2d(16), Tanh(),
                Conv2d(16, 4, 1));
        }

        static Tensor Loss(Sequential model, Tensor x)
        {
            using var y = model.call(x);
            using var square = y.square();
            return square.mean();
        }

        // The bytes that the graph of a step holds after its forward pass.
        static long HeldBy(Tensor x, Sequential model, ActivationCompression? compression)
        {
            var held = 0L;
            for (var step = 0; step < 2; step++)
            {
                var before = AllocatorMeter.CurrentBytes;
                using var loss = Loss(model, x);
                held = AllocatorMeter.CurrentBytes - before;
                if (compression is null) loss.backward();
                else compression.Backward(loss);
            }
            return held;
        }
    }
}
