using Actipress.Fuzz;

namespace Actipress.Tests;

/// <summary>
/// Every reader of foreign bytes reads the inputs that fuzzing found and those that the project's own writers make (docs/testing.md).
/// </summary>
public class FuzzSeedsTests
{
    public static TheoryData<string> Targets => [.. Target.All.Select(target => target.Name)];

    [Theory, MemberData(nameof(Targets))]
    public void What_fuzzing_found_is_read_or_refused_as_documented(string name)
    {
        var (target, folder) = (Target.All.Single(target => target.Name == name), Path.Combine(TestData.Repository, "fuzz", "seeds", name));
        using var scratch = new Scratch();
        foreach (var file in Directory.Exists(folder)
            ? Directory.GetFiles(folder).Order(StringComparer.Ordinal) : Enumerable.Empty<string>())
        {
            var failure = Record.Exception(() => target.Run(File.ReadAllBytes(file), scratch));
            Assert.True(failure is null, $"{file}: {failure}");
        }
    }

    [Theory, MemberData(nameof(Targets))]
    public void What_the_own_writers_make_is_read_but_for_what_is_no_such_thing(string name)
    {
        var target = Target.All.Single(target => target.Name == name);
        using var scratch = new Scratch();
        byte[][] seeds = [.. target.Seeds(scratch)];
        var refused = seeds.Select(seed => target.Run(seed, scratch)).OfType<Exception>().ToArray();
        // Neither two axes nor two channels are a volume with labels. Files with MNIST's names are checked against MNIST's checksums.
        Assert.Equal(name switch { "labels" => 2, "idx" => seeds.Length, _ => 0 }, refused.Length);
    }

    [Fact]
    public void Every_folder_of_seeds_is_a_readers()
    {
        var folders = Directory.GetDirectories(Path.Combine(TestData.Repository, "fuzz", "seeds"))
            .Select(folder => Path.GetFileName(folder)!).ToArray();
        Assert.NotEmpty(folders);
        Assert.Subset(Target.All.Select(target => target.Name).ToHashSet(), folders.ToHashSet());
    }
}
