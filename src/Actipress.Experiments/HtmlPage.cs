using System.Net;
using System.Text;
using Actipress.Data;
using ScottPlot;

namespace Actipress.Experiments;

/// <summary>A self-contained page of text, tables and figures, which loads nothing from elsewhere.</summary>
public sealed class HtmlPage
{
    readonly StringBuilder top = new(), below = new();
    readonly StringBuilder contents = new();
    readonly List<(string Name, Plot Plot, int Width, int Height)> figures = [];
    StringBuilder body;
    int sections;

    /// <param name="title">The title at the top of the page.</param>
    public HtmlPage(string title) => (Title, body) = (title, top);

    /// <summary>The title at the top of the page.</summary>
    public string Title { get; }

    /// <summary>Begins a section. The page has links to all sections, before the first section.</summary>
    public void Section(string title)
    {
        body = below;
        sections++;
        contents.AppendLine($"<li><a href=\"#s{sections}\">{Text(title)}</a></li>");
        body.AppendLine($"<h2 id=\"s{sections}\">{Text(title)}</h2>");
    }

    /// <summary>A heading within a section.</summary>
    public void Heading(string title) => body.AppendLine($"<h3>{Text(title)}</h3>");

    /// <summary>A heading with a table and a note, beside others; see <see cref="BeginBeside"/>.</summary>
    public void Part(string title, IReadOnlyList<string> columns, IEnumerable<IReadOnlyList<string>> rows, string below)
    {
        body.AppendLine("<div>");
        Heading(title);
        Table(columns, rows);
        body.AppendLine($"<figcaption>{Text(below)}</figcaption></div>");
    }

    /// <summary>A paragraph.</summary>
    public void Paragraph(string text) => body.AppendLine($"<p>{Text(text)}</p>");

    /// <summary>Begins parts that are beside each other where there is room: tables with one heading each.</summary>
    public void BeginBeside() => body.AppendLine("<div class=\"beside\">");

    /// <summary>Ends the parts of <see cref="BeginBeside"/>.</summary>
    public void EndBeside() => body.AppendLine("</div>");

    /// <summary>A legend of the colours of the following figures.</summary>
    /// <param name="entries">Colours such as #1f77b4, and their names.</param>
    public void Legend(IEnumerable<(string Color, string Name)> entries)
    {
        ArgumentNullException.ThrowIfNull(entries);
        var names = entries.Select(entry => $"<span><i style=\"background:{Text(entry.Color)}\"></i>{Text(entry.Name)}</span>");
        body.AppendLine($"<p class=\"legend\">{string.Concat(names)}</p>");
    }

    /// <summary>A table that opens when its name is clicked.</summary>
    public void TableBehind(string name, IReadOnlyList<string> columns, IEnumerable<IReadOnlyList<string>> rows)
    {
        body.AppendLine($"<details><summary>{Text(name)}</summary>");
        Table(columns, rows);
        body.AppendLine("</details>");
    }

    /// <summary>A table. Lines of a cell are below each other, and a cell that begins with <see cref="Doubtful"/> is marked.</summary>
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
            foreach (var cell in row)
                body.Append(cell.StartsWith(Doubtful) ? $"<td class=\"doubtful\">{Lines(cell[1..])}</td>" : $"<td>{Lines(cell)}</td>");
            body.AppendLine("</tr>");
        }
        body.AppendLine("</tbody></table></div>");
    }

    /// <summary>The first character of a marked cell.</summary>
    public const char Doubtful = '!';

    /// <summary>A figure, drawn into the page.</summary>
    /// <param name="plot">The figure.</param>
    /// <param name="name">The name of its files, where files are written.</param>
    /// <param name="caption">The caption below.</param>
    /// <param name="width">The width in pixels.</param>
    /// <param name="height">The height in pixels.</param>
    public void Figure(Plot plot, string name, string caption, int width = 760, int height = 440)
    {
        ArgumentNullException.ThrowIfNull(plot);
        var svg = plot.GetSvgXml(width, height);
        body.AppendLine($"<figure class=\"drawn\" "
            + $"style=\"width:min(100%,{width}px)\">{Scalable(svg, width, height)}<figcaption>{Text(caption)}</figcaption></figure>");
        figures.Add((
            string.Concat(name.Select(letter => char.IsLetterOrDigit(letter) || letter is '-' or '.' ? letter : '-')), plot, width,
            height));
    }

    /// <summary>Writes the page.</summary>
    public void Save(string file) => WholeFile.Write(file, part => File.WriteAllText(part, ToString()));

    // The viewBox lets a narrow page scale the figure down. SkiaSharp writes the size in pixels only.
    static string Scalable(string svg, int width, int height)
    {
        var begin = svg.IndexOf("<svg", StringComparison.Ordinal) + "<svg".Length;
        return $"<svg viewBox=\"0 0 {width} {height}\"{svg[begin..]}";
    }

    /// <summary>Writes every figure as .svg and .png.</summary>
    /// <param name="folder">The folder, which is made where it does not exist.</param>
    public void SaveFigures(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (var (name, plot, width, height) in figures)
        {
            plot.SaveSvg(Path.Combine(folder, name + ".svg"), width, height);
            plot.SavePng(Path.Combine(folder, name + ".png"), width, height);
        }
    }

    /// <summary>An image, embedded in the page.</summary>
    /// <param name="png">The bytes of the image.</param>
    /// <param name="caption">The caption below.</param>
    public void Image(ReadOnlySpan<byte> png, string caption) =>
        body.AppendLine($"<figure><img alt=\"{Text(caption)}\" "
            + $"src=\"data:image/png;base64,{Convert.ToBase64String(png)}\"><figcaption>{Text(caption)}</figcaption></figure>");

    /// <summary>The text of the page.</summary>
    public override string ToString() => $$"""
        <!doctype html>
        <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
        <title>{{Text(Title)}}</title>
        <style>
        :root {
          color-scheme: light dark;
          --text: #222; --quiet: #595959; --ground: #fff; --line: #d8d8d8; --strong: #888; --mark: #fff3d6; --link: #0b57d0
        }
        @media (prefers-color-scheme: dark) {
          :root { --text: #e8e8e8; --quiet: #b0b0b0; --ground: #16181b; --line: #3a3d42; --strong: #888; --mark: #4a3a12; --link: #8ab4f8 }
          figure.drawn svg, .legend i { filter: invert(.91) hue-rotate(180deg) }
        }
        body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 1.5rem auto; padding: 0 1rem;
          color: var(--text); background: var(--ground) }
        a { color: var(--link) } h1, h2, h3 { line-height: 1.2 }
        h1 { margin: 0 0 .5rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
        nav ul { padding: 0; margin: .5rem 0; list-style: none } nav li { display: inline-block; margin-right: 1rem }
        .wide { overflow-x: auto } table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }
        th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top }
        th:first-child, td:first-child, th:last-child, td:last-child { text-align: left }
        thead th { border-bottom: 2px solid var(--strong) }
        .legend span { display: inline-block; margin-right: 1.25rem }
        .legend i { display: inline-block; width: 1.5rem; height: 3px; margin-right: .4rem; vertical-align: middle }
        figure.drawn svg text { font-family: system-ui, sans-serif }
        .beside { display: flex; flex-wrap: wrap; gap: 0 2.5rem } .beside > div { max-width: 100% } .beside h3 { margin: 1rem 0 .25rem }
        .beside td:last-child, .beside th:last-child { text-align: right }
        details { margin: .5rem 0 } summary { cursor: pointer; color: var(--link) } p, figcaption { overflow-wrap: anywhere }
        td.doubtful { background: var(--mark) }
        figure { margin: 1rem 1rem 1rem 0; display: inline-block; vertical-align: top; max-width: 100% }
        figure svg, figure img { max-width: 100%; height: auto } figcaption { color: var(--quiet); font-size: 14px; max-width: 46rem }
        @media (max-width: 600px) { body { margin: .75rem auto } figure { margin-right: 0 } th, td { padding: .25rem .4rem } }
        </style></head><body>
        <h1>{{Text(Title)}}</h1>
        {{top}}<nav><ul>
        {{contents}}</ul></nav>
        {{below}}</body></html>

        """;

    static string Text(string text) => WebUtility.HtmlEncode(text);

    static string Lines(string text) => Text(text).Replace("\n", "<br>", StringComparison.Ordinal);
}
