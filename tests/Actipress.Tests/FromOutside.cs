using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Actipress.Tests;

/// <summary>Compiles programs as a user of the packages does, against the libraries' public members alone.</summary>
static class FromOutside
{
    // The SDK adds these usings to every program, followed by those of a TorchSharp program.
    const string Usings = """
        global using System;
        global using System.Collections.Generic;
        global using System.IO;
        global using System.Linq;
        global using System.Net.Http;
        global using System.Threading;
        global using System.Threading.Tasks;
        """;

    static readonly Lazy<MetadataReference[]> references = new(() =>
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(file =>
                Path.GetFileName(file) is var name && (!name.StartsWith("Actipress", StringComparison.Ordinal)
                    || name is "Actipress.dll" or "Actipress.Distributed.dll"))
            .Select(file => MetadataReference.CreateFromFile(file)),
    ]);

    /// <summary>Returns the assembly of some sources. The test fails with the compiler's messages where they do not compile.</summary>
    /// <param name="kind">Whether it is a program or a library.</param>
    /// <param name="sources">The sources, each a whole file.</param>
    public static Assembly Compile(OutputKind kind, params string[] sources) => Assembly.Load(Image(kind, "outside", sources));

    /// <summary>Compiles a program into a file beside this assembly; the caller deletes the file.</summary>
    /// <param name="name">The name of the program.</param>
    /// <param name="source">The source.</param>
    /// <returns>The command that runs it, and the file.</returns>
    public static (string[] Command, string File) Program(string name, string source)
    {
        var (tests, file) =
            (Path.Combine(AppContext.BaseDirectory, "Actipress.Tests"), Path.Combine(AppContext.BaseDirectory, $"{name}.dll"));
        File.WriteAllBytes(file, Image(OutputKind.ConsoleApplication, name, source));
        return (["dotnet", "exec", "--runtimeconfig", $"{tests}.runtimeconfig.json", "--depsfile", $"{tests}.deps.json", file], file);
    }

    static byte[] Image(OutputKind kind, string name, params string[] sources)
    {
        var options = new CSharpCompilationOptions(
            kind, nullableContextOptions: NullableContextOptions.Enable, optimizationLevel: OptimizationLevel.Release);
        var compilation = CSharpCompilation.Create(
            name, [.. sources.Append(Usings).Select(source => CSharpSyntaxTree.ParseText(source))], references.Value, options);
        using var image = new MemoryStream();
        var emitted = compilation.Emit(image);
        var errors = emitted.Diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).ToArray();
        Assert.True(emitted.Success, string.Join('\n', errors.Select(error => error.ToString())));
        return image.ToArray();
    }
}
