using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Actipress.Cli;

/// <summary>A command whose help has examples and lists beside its options.</summary>
/// <param name="name">The name on the command line.</param>
/// <param name="description">One short sentence, which the list of commands shows too.</param>
sealed class CliCommand(string name, string description) : Command(name, description)
{
    /// <summary>A longer description.</summary>
    public string Details { get; init; } = "";

    /// <summary>Lists of the words that its options take, with their meanings.</summary>
    public IReadOnlyList<(string Title, IEnumerable<(string Word, string Meaning)> Words)> Lists { get; init; } = [];

    /// <summary>Command lines to copy, each with its effect.</summary>
    public required IReadOnlyList<(string Arguments, string Meaning)> Examples { get; init; }

    /// <summary>Adds arguments and options.</summary>
    public CliCommand With(params ReadOnlySpan<Symbol> symbols)
    {
        foreach (var symbol in symbols)
            if (symbol is Argument argument) Arguments.Add(argument);
            else Options.Add((Option)symbol);
        return this;
    }

    /// <summary>Adds examples and lists to the help of every command.</summary>
    public static void ExtendHelp(RootCommand root)
    {
        var help = root.Options.OfType<HelpOption>().Single();
        help.Action = new Extended((SynchronousCommandLineAction)help.Action!, root.HelpName ?? RootCommand.ExecutableName);
    }

    sealed class Extended(SynchronousCommandLineAction options, string program) : SynchronousCommandLineAction
    {
        // Help must work where an argument is still missing.
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parsed)
        {
            options.Invoke(parsed);
            var output = parsed.InvocationConfiguration.Output;
            if (parsed.CommandResult.Command is CliCommand command) command.Write(program, output);
            else output.WriteLine($"Begin with '{program} train'; '{program} train --help' and so on say more of each command.\n");
            return 0;
        }
    }

    void Write(string program, TextWriter output)
    {
        var width = Console.IsOutputRedirected ? 100 : Terminal.Width;
        if (Details.Length > 0)
        {
            foreach (var line in Wrapped(Details, width)) output.WriteLine(line);
            output.WriteLine();
        }
        var examples = Examples.Select(example => ($"{program} {Name} {example.Arguments}".TrimEnd(), example.Meaning));
        foreach (var (title, words) in Lists.Append(("Examples", examples)))
        {
            var column = words.Max(word => word.Item1.Length) + 4;
            output.WriteLine($"{title}:");
            foreach (var (word, meaning) in words)
            {
                // The two columns are below each other where the terminal is narrow.
                var beside = column + 30 <= width;
                var lines = Wrapped(meaning, width - (beside ? column : 6)).ToArray();
                output.WriteLine(beside ? $"  {word.PadRight(column - 2)}{lines[0]}" : $"  {word}");
                foreach (var line in lines.Skip(beside ? 1 : 0)) output.WriteLine($"{new string(' ', beside ? column : 6)}{line}");
            }
            output.WriteLine();
        }
    }

    static IEnumerable<string> Wrapped(string text, int width)
    {
        var line = "";
        foreach (var word in text.Split(' '))
        {
            if (line.Length > 0 && line.Length + 1 + word.Length >= width)
            {
                yield return line;
                line = "";
            }
            line = line.Length == 0 ? word : $"{line} {word}";
        }
        yield return line;
    }
}
