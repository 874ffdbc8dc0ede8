namespace Actipress.Tests.Cli;

/// <summary>Command lines with one random mistake, from a seed.</summary>
public sealed class WrongCommandLinesTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    // These end quickly where a mistake leaves them correct.
    string[][] Right =>
    [
        [
            "train", "--model", "lenet", "--epochs", "1", "--batch", "16", "--train-examples", "16", "--test-examples", "4", "--seed", "2",
            "--learning-rate", "0.001", "--layers", "all", "--out", folder,
        ],
        [
            "train", "--model", "unet2d", "--epochs", "1", "--batch", "2", "--train-examples", "4", "--test-examples", "2", "--extents",
            "16x16x16", "--loss", "both", "--schedule", "cosine", "--augmentation", "flips", "--out", folder,
        ],
        ["memory", "LeNet", "--batch", "2", "--input", "1x28x28", "--codec", "dct:10", "--layers", "conv1", "--json"],
        ["memory", "LeNet", "--batch", "2", "--predict"],
        ["memory", "LeNet", "--batch", "2", "--timeline", Path.Combine(folder, "level.svg"), "--device", "cpu"],
        ["compress", "/no/such.npy", "--codec", "wt:haar:10", "--out", folder],
        ["sweep", folder, "--workers", "1", "--threads", "1", "--list"],
        ["reproduce", "fig5", "--show-only", "--out", folder, "--experiments", folder],
        ["report", "--out", Path.Combine(folder, "page.html"), "--experiments", folder],
        ["bench", "rivals", "--codec", "none:", "--map", "resnet20.relu", "--rounds", "1", "--out", folder],
        ["status", "--data-dir", folder],
    ];

    static readonly string[] slips =
    [
        "", " ", "abc", "-1", "0", "1.5", "1e9", "NaN", "∞", "99999999999999999999", "0x10", "--", "-", "--no-such", "@nowhere", "\n", "'",
        "{0}", "[red]", "\u0000", "٣", "😀", "a/b", "/proc/nowhere", "/dev/null/x", "3x3", "0x0x0", "16x16x-16", "dct", "dct:", "dct:x",
        "dct:0", "dct:1e400", "dct:10,storage=", "dct:10,storage=mine", "wt:db9:4", "wt::", "quant:99", "quant:-1", "block9", "block1-0",
        "conv*:bn", ":", ",", "*:norm", "cuda:99", "lenet", new('x', 5000),
    ];

    string[] Wrong(Random chance)
    {
        var line = Right[chance.Next(Right.Length)].ToList();
        for (var slip = chance.Next(1, 3); slip > 0; slip--)
        {
            var (at, word) = (chance.Next(line.Count), slips[chance.Next(slips.Length)]);
            switch (chance.Next(5))
            {
                case 0: line.Insert(at, word); break;
                case 1: line.RemoveAt(at); break;
                case 2 when line[at].Length > 1: line[at] = line[at].Remove(chance.Next(line[at].Length), 1); break;
                case 3: line[at] = $"{line[at]}={word}"; break;
                default: line[at] = word; break;
            }
            if (line.Count == 0) line.Add(word);
        }
        // The operating system's calls take no zero byte.
        return [.. line.Select(word => word.Replace("\0", "", StringComparison.Ordinal))];
    }

    void EndWithAMessage(int count, int seed)
    {
        var chance = new Random(seed);
        for (var i = 0; i < count; i++)
        {
            var line = Wrong(chance);
            var ended = ChildProcess.Run([.. ChildProcess.Cli, .. line], folder, ("OMP_NUM_THREADS", "1"));
            Assert.True(ended.ExitCode is 0 or 2, $"{string.Join(' ', line)}\n{ended.All}");
            Assert.DoesNotContain("   at ", ended.All, StringComparison.Ordinal);
            if (ended.ExitCode == 2) Assert.Contains("actipress: ", ended.Error, StringComparison.Ordinal);
            foreach (var left in Directory.GetFiles(folder, "training.state*")) File.Delete(left);
        }
    }

    [Fact]
    public void Some_wrong_command_lines_end_with_a_message() => EndWithAMessage(12, seed: 1);

    [LongFact]
    public void Five_hundred_wrong_command_lines_end_with_a_message() => EndWithAMessage(500, seed: 2);
}
