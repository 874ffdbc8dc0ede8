using System.Globalization;
using System.Text.RegularExpressions;
using Actipress.Experiments;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests;

public class ReadmeTests
{
    static string Readme => File.ReadAllText(Path.Combine(TestData.Repository, "README.md"));

    [Fact]
    public void The_example_trains_and_keeps_a_tenth()
    {
        var written = new StringWriter();
        Example(written);
        Assert.Contains("dct:3", written.ToString(), StringComparison.Ordinal);
        Assert.Contains("derived from 1", written.ToString(), StringComparison.Ordinal);
        var share = Assert.Single(Regex.Matches(written.ToString(), @"all +.*?([0-9.]+) %")).Groups[1].Value;
        Assert.InRange(double.Parse(share, CultureInfo.InvariantCulture), 5, 12);
    }

    static void Example(TextWriter Console)
    {
        using var everything = NewDisposeScope();
        // begin
        var model = Sequential(Conv2d(1, 16, 3), BatchNorm2d(16), ReLU(), Conv2d(16, 16, 3), ReLU(), Flatten(), Linear(16 * 24 * 24, 10));
        var optimizer = optim.Adam(model.parameters());
        var (images, labels) = (randn(32, 1, 28, 28), randint(0, 10, [32]));

        using var compression = model.CompressActivations(ActivationCodec.Dct(ratio: 10));

        for (var step = 0; step < 3; step++)
        {
            optimizer.zero_grad();
            using var loss = functional.cross_entropy(model.call(images), labels);
            loss.backward();
            optimizer.step();
        }
        Console.WriteLine(compression.Report());    // a line a layer: bytes as saved, bytes as kept, and how
        // end
    }

    [Fact]
    public void The_example_in_the_readme_is_that_one()
    {
        var source = File.ReadAllText(Path.Combine(TestData.Repository, "tests", "Actipress.Tests", "ReadmeTests.cs"));
        var lines =
            source[(source.IndexOf("// begin", StringComparison.Ordinal) + 9)..source.IndexOf("        // end", StringComparison.Ordinal)]
                .Split('\n').Select(line => line.StartsWith("        ", StringComparison.Ordinal) ? line[8..] : line);
        Assert.Contains(string.Join('\n', lines).TrimEnd(), Readme, StringComparison.Ordinal);
    }

    public static TheoryData<string> Documents => [.. ReadmeTables.Documents];

    [Theory, MemberData(nameof(Documents))]
    public void A_table_is_that_of_the_stored_results(string document) =>
        Assert.Equal(ReadmeTables.Update(TestData.Repository, document), File.ReadAllText(Path.Combine(TestData.Repository, document)));

    [Theory, InlineData("0000000", true), InlineData("0000000-dirty", false)]
    public void A_table_changes_by_figures_of_a_commit_alone(string commit, bool changes)
    {
        var repository = Directory.CreateTempSubdirectory("actipress-readme").FullName;
        try
        {
            foreach (var table in Regex.Matches(Readme, "from (experiments/[^-]*.*) -->")
                .SelectMany(match => match.Groups[1].Value.Split(", ")))
                Copy(table);
            File.WriteAllText(Path.Combine(repository, "README.md"), Readme);
            var results = Path.Combine(repository, "experiments", CodecTable.Folder, "results.jsonl");
            var newest = File.ReadLines(results).Last(line => line.Contains("\"kind\":\"steps\"", StringComparison.Ordinal));
            File.AppendAllText(results, Regex.Replace(newest, "\"commit\":\"[^\"]*\"", $"\"commit\":\"{commit}\"") + "\n");
            if (changes)
            {
                Assert.Contains($"commit {commit}.", ReadmeTables.Update(repository, "README.md"), StringComparison.Ordinal);
                return;
            }
            var message = Assert.Throws<InvalidDataException>(() => ReadmeTables.Update(repository, "README.md")).Message;
            Assert.Contains(
                $"table of experiments/{CodecTable.Folder} in README.md would have figures of {commit}:", message,
                StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(repository, recursive: true);
        }

        void Copy(string folder)
        {
            Directory.CreateDirectory(Path.Combine(repository, folder));
            foreach (var file in Directory.EnumerateFiles(Path.Combine(TestData.Repository, folder)))
                File.Copy(file, Path.Combine(repository, folder, Path.GetFileName(file)));
        }
    }
}
