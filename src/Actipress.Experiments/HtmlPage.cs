using System.Net;
using System.Text;
using Actipress.Data;
using ScottPlot;

namespace Actipress.Experiments;

/// <summary>One self-contained page of text, tables and figures: nothing in it is loaded from elsewhere.</summary>
public sealed class HtmlPage
{
    readonly StringBuilder body = new();
    readonly StringBuilder contents = new();
    readonly List<(string Name, Plot Plot, int Width, int Height)> figures = [];
    int sections;

    /// <param name="title">Above everything.</param>
    public HtmlPage(string title) => Title = title;

    /// <summary>Above everything.</summary>
    public string Title { get; }

    /// <summary>Begins a section, which the page's head links to.</summary>
    public void Section(string title)
    {
        sections++;
        contents.AppendLine($"<li><a href=\"#s{sections}\">{Text(title)}</a></li>");
        body.AppendLine($"<h2 id=\"s{sections}\">{Text(title)}</h2>");
    }

    /// <summary>A heading within a section.</summary>
    public void Heading(string title) => body.AppendLine($"<h3>{Text(title)}</h3>");

    /// <summary>A paragraph.</summary>
    public void Paragraph(string text) => body.AppendLine($"<p>{Text(text)}</p>");

    /// <summary>A table; a cell's lines are set below each other, and a cell that begins with <see cref="Doubtful"/> is marked.</summary>
    public void Table(IReadOnlyList<string> columns, IEnumerable<IReadOnlyList<string>> rows)
    {
        ArgumentNullException.ThrowIfNull(columns);
        ArgumentNullException.ThrowIfNull(rows);
        body.AppendLine("<div class=\"wide\"><table><thead><tr>");
        foreach (var column in columns) body.Append($"<th>{Lines(column)}</th>");
        body.AppendLine("</tr></thead><tbody>");
        foreach (var row in rows)
        {
            body.Append("<tr>");
            foreach (var cell in row) body.Append(cell.StartsWith(Doubtful) ? $"<td class=\"doubtful\">{Lines(cell[1..])}</td>" : $"<td>{Lines(cell)}</td>");
            body.AppendLine("</tr>");
        }
        body.AppendLine("</tbody></table></div>");
    }

    /// <summary>First character of a cell that is to be marked.</summary>
    public const char Doubtful = '!';

    /// <summary>A figure, drawn into the page.</summary>
    /// <param name="plot">The figure.</param>
    /// <param name="name">Of its files, where they are wanted.</param>
    /// <param name="caption">Below it.</param>
    /// <param name="width">In pixels.</param>
    /// <param name="height">In pixels.</param>
    public void Figure(Plot plot, string name, string caption, int width = 760, int height = 440)
    {
        ArgumentNullException.ThrowIfNull(plot);
        var svg = plot.GetSvgXml(width, height);
        body.AppendLine($"<figure>{svg[svg.IndexOf("<svg", StringComparison.Ordinal)..]}<figcaption>{Text(caption)}</figcaption></figure>");
        figures.Add((string.Concat(name.Select(letter => char.IsLetterOrDigit(letter) || letter is '-' or '.' ? letter : '-')), plot, width, height));
    }

    /// <summary>Writes the page.</summary>
    public void Save(string file) => WholeFile.Write(file, part => File.WriteAllText(part, ToString()));

    /// <summary>Writes every figure as .svg and .png.</summary>
    /// <param name="folder">Made where it does not exist.</param>
    public void SaveFigures(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (var (name, plot, width, height) in figures)
        {
            plot.SaveSvg(Path.Combine(folder, name + ".svg"), width, height);
            plot.SavePng(Path.Combine(folder, name + ".png"), width, height);
        }
    }

    /// <summary>An image, put into the page.</summary>
    /// <param name="png">Its bytes.</param>
    /// <param name="caption">Below it.</param>
    public void Image(ReadOnlySpan<byte> png, string caption) =>
        body.AppendLine($"<figure><img alt=\"{Text(caption)}\" src=\"data:image/png;base64,{Convert.ToBase64String(png)}\"><figcaption>{Text(caption)}</figcaption></figure>");

    /// <summary>The page.</summary>
    public override string ToString() => $$"""
        <!doctype html>
        <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{Text(Title)}}</title>
        <style>
        body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
        h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc }
        .wide { overflow-x: auto } table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }
        th, td { padding: .25rem .6rem; border-bottom: 1px solid #e4e4e4; text-align: right; vertical-align: top }
        th:first-child, td:first-child, th:last-child, td:last-child { text-align: left } thead th { border-bottom: 2px solid #888 }
        td.doubtful { background: #fff3d6 } figure { margin: 1rem 0; display: inline-block; vertical-align: top } figure svg, figure img { max-width: 100%; height: auto } figcaption { color: #555; font-size: 14px }
        </style></head><body>
        <h1>{{Text(Title)}}</h1>
        <ul>
        {{contents}}</ul>
        {{body}}</body></html>

        """;

    static string Text(string text) => WebUtility.HtmlEncode(text);

    static string Lines(string text) => Text(text).Replace("\n", "<br>", StringComparison.Ordinal);
}
