using System.Text.RegularExpressions;
using Actipress.Selection;
using Microsoft.CodeAnalysis;

namespace Actipress.Tests;

/// <summary>
/// The library from the view of a user of the package: the samples, the README's transform and the code of the pages for users compile
/// against public members alone.
/// </summary>
public class FromOutsideTests
{
    static IEnumerable<string> Folders =>
        Directory.EnumerateFiles(Path.Combine(TestData.Repository, "samples"), "Program.cs", SearchOption.AllDirectories)
            .Select(file => Path.GetFileName(Path.GetDirectoryName(file)!));

    public static TheoryData<string> Samples => [.. Folders];

    [Theory, MemberData(nameof(Samples))]
    public void A_sample_compiles_against_public_members(string sample) =>
        FromOutside.Compile(
            OutputKind.ConsoleApplication, File.ReadAllText(Path.Combine(TestData.Repository, "samples", sample, "Program.cs")));

    [Fact]
    public void What_is_internal_is_hidden_from_outside()
    {
        var failure = Assert.ThrowsAny<Xunit.Sdk.XunitException>(() =>
            FromOutside.Compile(OutputKind.DynamicallyLinkedLibrary, $"class Inside {{ object pack = typeof({typeof(Pipeline)}); }}"));
        Assert.Contains("CS0122", failure.Message, StringComparison.Ordinal);
    }

    // The names that the pages' code takes for given, each with a value of its type.
    const string Given = """
        global using Actipress;
        global using TorchSharp;
        global using static TorchSharp.torch;
        global using static TorchSharp.torch.nn;
        global using static Given;
        static class Given
        {
            public static Module<Tensor, Tensor> model = Identity(), block = model;
            public static Module<Tensor, Tensor>[] modules = [model];
            public static Func<Tensor[], Tensor[]> function = inputs => inputs;
            public static optim.Optimizer optimizer = optim.Adam(model.parameters());
            public static Tensor images = zeros(1), labels = zeros(1), x = zeros(1), y = x, mask = x, loss = x;
            public static IEnumerable<(Tensor Images, Tensor Labels)> batches = [(images, labels)];
            public static ActivationCompression compression = model.CompressActivations(ActivationCodec.Dct(ratio: 10));
        }
        """;

    static string[] Code(string document) =>
    [
        .. Regex.Matches(File.ReadAllText(Path.Combine(TestData.Repository, document)), "^```csharp\n(.*?)^```",
            RegexOptions.Singleline | RegexOptions.Multiline).Select(match => match.Groups[1].Value),
    ];

    public static TheoryData<string, int> Blocks =>
        [.. ((string[])["start", "choosing", "out-of-memory", "memory", "hooks", "comparators"]).Select(page => $"docs/{page}.md")
            .SelectMany(page => Code(page).Select((_, block) => (page, block)))];

    [Theory, MemberData(nameof(Blocks))]
    public void A_page_s_code_compiles_against_public_members(string page, int block)
    {
        var code = Code(page)[block];
        var isWhole = code.StartsWith("using Actipress;", StringComparison.Ordinal);
        FromOutside.Compile(OutputKind.ConsoleApplication, isWhole ? [code] : [code, Given]);
    }

    [Fact]
    public void The_first_program_prints_the_report_that_its_page_shows()
    {
        var program = FromOutside.Compile(OutputKind.ConsoleApplication, Code("docs/start.md")[0],
            "public static class Console { public static string Written = \"\"; public static void WriteLine(object x) => Written += x; }");
        program.EntryPoint!.Invoke(null, [Array.Empty<string>()]);
        var printed = (string)program.GetType("Console")!.GetField("Written")!.GetValue(null)!;
        var shown = Regex.Match(File.ReadAllText(Path.Combine(TestData.Repository, "docs", "start.md")), "^layer .*?(?=^```)",
            RegexOptions.Singleline | RegexOptions.Multiline).Value;
        Assert.Equal(Lasting(shown), Lasting(printed));

        // Bytes kept and errors are different in each run, since weights and images are random.
        static string[] Lasting(string report) =>
        [
            .. report.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
                Regex.Replace(line, @" +[0-9.]+ [KM]?i?B( +[0-9.]+ %)?( +[0-9]\.[0-9]+)?(?= *$|  [a-z])", " ...").TrimEnd()),
        ];
    }

    static string Readme => File.ReadAllText(Path.Combine(TestData.Repository, "README.md"));

    [Fact]
    public void The_transform_in_the_readme_packs_and_unpacks()
    {
        using var scope = torch.NewDisposeScope();
        var code = Assert.Single(
            Regex.Matches(Readme, "```csharp\n(.*?)```", RegexOptions.Singleline).Select(match => match.Groups[1].Value),
            block => block.Contains(": Transform", StringComparison.Ordinal));
        var use = Assert.Single(Regex.Matches(Readme, "`(ActivationCodec[^`]*new (\\w+)\\(\\)[^`]*)`"));
        var assembly = FromOutside.Compile(OutputKind.DynamicallyLinkedLibrary, $$"""
            using Actipress;
            using TorchSharp;
            using static TorchSharp.torch;
            {{code}}
            public static class Use { public static ActivationCodec Codec => {{use.Groups[1].Value}}; }
            """);
        var codec = (ActivationCodec)assembly.GetType("Use")!.GetProperty("Codec")!.GetValue(null)!;
        Assert.Equal(use.Groups[2].Value, codec.Transform.GetType().Name);
        Assert.False(codec.HasText);
        var plain = ActivationCodec.Threshold(((Keep.TopK)codec.Keep).Ratio);
        foreach (var map in AwkwardMap.All.Where(map => map.Values().Length > 100))
        {
            // A transform that only changes signs keeps the same coefficients as no transform.
            using var packed = Pipeline.Pack(map.Tensor(), codec with { EvenIfLarger = true, ExactZeros = false }, out var why);
            using var other = Pipeline.Pack(map.Tensor(), plain with { EvenIfLarger = true, ExactZeros = false }, out var whyOther);
            Assert.Equal(whyOther, why);
            if (packed is null) continue;
            var (back, wanted) = (packed.Unpack(), other!.Unpack());
            Assert.Equal(wanted.shape, back.shape);
            Assert.True(back.Equals(wanted), $"{map}: other values");
        }
        var (values, shape) = (AwkwardMap.All[0].Values(), MapShape.Of(AwkwardMap.All[0].Shape));
        float[] coefficients = new float[codec.Transform.Coefficients(shape)], values2 = new float[values.Length];
        codec.Transform.Forward(values, shape, coefficients);
        codec.Transform.Inverse(coefficients, shape, values2);
        Assert.Equal(values, values2);
        Assert.Equal(coefficients, codec.Transform.Forward(torch.tensor(values), shape).data<float>().ToArray());
    }
}
