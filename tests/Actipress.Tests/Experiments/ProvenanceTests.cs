using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class ProvenanceTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-provenance-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    void Git(params string[] arguments)
    {
        string[] command = ["git", "-C", folder, "-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", .. arguments];
        var ended = ChildProcess.Run(command);
        Assert.True(ended.ExitCode == 0, ended.All);
    }

    string Write(string path, string text)
    {
        var file = Path.Combine(folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, text);
        return file;
    }

    [Fact]
    public void A_commit_is_dirty_by_changed_sources_and_not_by_stored_results()
    {
        Git("init", "-q");
        Write("experiments/one/results.jsonl", "");
        Write("experiments/one/config.json", "{}");
        var source = Write("src/Program.cs", "a");
        Git("add", "-A");
        Git("commit", "-q", "-m", "first");
        var within = Path.GetDirectoryName(source)!;
        var commit = Provenance.CommitOf(within);
        Assert.Matches("^[0-9a-f]{7,}$", commit);

        Write("experiments/one/results.jsonl", "{}\n");
        Write("src/untracked.txt", "");
        Assert.Equal(commit, Provenance.CommitOf(within));
        Write("experiments/one/config.json", "{ }");
        Assert.Equal($"{commit}-dirty", Provenance.CommitOf(within));
        Write("experiments/one/config.json", "{}");
        Write("src/Program.cs", "b");
        Assert.Equal($"{commit}-dirty", Provenance.CommitOf(within));
        Assert.True(Provenance.IsDirty(Provenance.CommitOf(within)));
        Assert.Equal("unknown", Provenance.CommitOf(Path.GetTempPath()));
    }
}
