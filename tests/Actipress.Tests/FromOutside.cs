using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Actipress.Tests;

/// <summary>Compiles programs as a user of the package does, against the library's public members alone.</summary>
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
                Path.GetFileName(file) is var name && (!name.StartsWith("Actipress", StringComparison.Ordinal) || name == "Actipress.dll"))
            .Select(file => MetadataReference.CreateFromFile(file)),
    ]);

    /// <summary>Returns the assembly of some sources. The test fails with the compiler's messages where they do not compile.</summary>
    /// <param name="kind">Whether it is a program or a library.</param>
    /// <param name="sources">The sources, each a whole file.</param>
    public static Assembly Compile(OutputKind kind, params string[] sources)
    {
        var options = new CSharpCompilationOptions(
            kind, nullableContextOptions: NullableContextOptions.Enable, optimizationLevel: OptimizationLevel.Release);
        var compilation = CSharpCompilation.Create(
            "outside", [.. sources.Append(Usings).Select(source => CSharpSyntaxTree.ParseText(source))], references.Value, options);
        using var image = new MemoryStream();
        var emitted = compilation.Emit(image);
        var errors = emitted.Diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).ToArray();
        Assert.True(emitted.Success, string.Join('\n', errors.Select(error => error.ToString())));
        return Assembly.Load(image.ToArray());
    }
}
