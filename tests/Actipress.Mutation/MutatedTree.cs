using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;

namespace Actipress.Mutation;

/// <summary>A copy of the repository whose sources hold the mutants, and the tests built from it.</summary>
/// <param name="repository">The repository's root.</param>
/// <param name="folder">The folder of the copy.</param>
sealed class MutatedTree(string repository, string folder)
{
    static readonly string[] projects = ["Actipress", "Actipress.Data", "Actipress.Experiments", "Actipress.Models", "Actipress.Cli"];

    readonly string tests = Path.Combine(folder, "artifacts", "bin", "Actipress.Tests", "release_linux-x64", "Actipress.Tests");

    /// <summary>A text that changes with every source and test.</summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var path in Files().Where(path => IsIn("src", path) || IsIn("tests/Actipress.Tests", path)).Order(StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(path));
            hash.AppendData(File.ReadAllBytes(Path.Combine(repository, path)));
        }
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    /// <summary>
    /// Copies the files that git tracks or would track, and builds the copy unchanged, so that references and generated files exist.
    /// </summary>
    public void Copy()
    {
        foreach (var old in new[] { "src", "tests" }.Select(old => Path.Combine(folder, old)).Where(Directory.Exists))
            Directory.Delete(old, recursive: true);
        foreach (var path in Files())
        {
            var copy = new FileInfo(Path.Combine(folder, path));
            copy.Directory!.Create();
            File.Copy(Path.Combine(repository, path), copy.FullName, overwrite: true);
        }
        foreach (var project in projects) File.WriteAllText(Path.Combine(folder, "src", project, "Mutants.cs"), Inserted("Mutants.cs"));
        File.WriteAllText(Path.Combine(folder, "tests", "Actipress.Tests", "RecordReached.cs"), Inserted("RecordReached.cs"));
        Build();
    }

    /// <summary>Puts the wanted mutants into the sources and builds them. Those that do not compile are left out.</summary>
    /// <param name="edits">The edits that may be made.</param>
    /// <param name="wanted">Whether a mutant is wanted; its number is not known yet.</param>
    public List<Mutant> Insert(IEdits edits, Func<Mutant, bool> wanted)
    {
        var mutants = new List<Mutant>();
        foreach (var project in projects)
            mutants.AddRange(new MutatedProject(project, folder, Path.GetDirectoryName(tests)!).Insert(edits, wanted, mutants.Count));
        Build();
        return mutants;
    }

    /// <summary>Runs tests with one thread of torch, so that several runs do not slow one another.</summary>
    public Ended Run(IEnumerable<string> arguments, TimeSpan patience, params (string Name, string Value)[] environment)
    {
        var data = Environment.GetEnvironmentVariable("ACTIPRESS_DATA") ?? Path.Combine(repository, "..", "shared", "data");
        return Start(tests, ["-noColor", "-noLogo", .. arguments], folder, patience,
            [("OMP_NUM_THREADS", "1"), ("ACTIPRESS_DATA", data), .. environment]);
    }

    /// <summary>The exit code of a program; -1 where it had to be stopped.</summary>
    public sealed record Ended(int ExitCode, string Output)
    {
        /// <summary>The first test that failed, or another reason why the run ended.</summary>
        public string Noticed => Failed(Output.Split('\n')).FirstOrDefault() ?? (ExitCode == -1 ? "(no end)" : $"(exit code {ExitCode})");
    }

    /// <summary>The methods that failed, from the lines of a run's output.</summary>
    public static IEnumerable<string> Failed(IEnumerable<string> lines) =>
        lines.Where(line => line.Contains(" [FAIL]", StringComparison.Ordinal)).Select(line => line.Trim().Split('(', ' ')[0]);

    void Build()
    {
        string[] quick = ["-p:NuGetAudit=false", "-p:TreatWarningsAsErrors=false", "-p:RunAnalyzers=false"];
        string[] arguments = ["build", "tests/Actipress.Tests", "-c", "Release", "-v", "q", "-m:1", .. quick];
        var build = Start("dotnet", arguments, folder, TimeSpan.FromMinutes(30), []);
        var errors = build.Output.Split('\n').Where(line => line.Contains(": error", StringComparison.Ordinal)).Distinct().Take(20);
        if (build.ExitCode != 0) throw new InvalidOperationException($"Building {folder} failed:\n{string.Join('\n', errors)}");
        const string Fit = ". build/prerequisites.sh && fit_to_libstdcxx artifacts/bin/*/*/libLibTorchSharp.so";
        var fit = Start("bash", ["-c", Fit], folder, TimeSpan.FromMinutes(1), []);
        if (fit.ExitCode != 0) throw new InvalidOperationException($"Fitting TorchSharp's library to this system failed:\n{fit.Output}");
    }

    IEnumerable<string> Files() =>
        Start("git", ["ls-files", "--cached", "--others", "--exclude-standard"], repository, TimeSpan.FromMinutes(1), []).Output
            .Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(path => File.Exists(Path.Combine(repository, path)));

    static bool IsIn(string root, string path) => path.StartsWith(root + "/", StringComparison.Ordinal);

    static string Inserted(string file) => File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Inserted", file));

    static Ended Start(string program, string[] arguments, string folder, TimeSpan patience, (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment) start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        var ended = process.WaitForExit(patience);
        if (!ended) process.Kill(entireProcessTree: true);
        return new(ended ? process.ExitCode : -1, output.Result + error.Result);
    }
}
