using Microsoft.VisualBasic.FileIO;

namespace Actipress.Data;

/// <summary>
/// A table of volumes, <c>.csv</c>: a line of column names, and a line for each case. The columns <c>image</c> and <c>label</c> are files,
/// relative to the table's folder. The column <c>case</c> names the case; without it, the image's file does. Several channels are the
/// columns <c>image1</c>, <c>image2</c> and so on.
/// </summary>
static class VolumeTable
{
    /// <summary>Opens a table.</summary>
    /// <param name="path">The table.</param>
    /// <param name="classes">The number of classes; null for that of the label files.</param>
    /// <param name="relabelling">The relabelling of the numbers in label files.</param>
    /// <param name="unreadable">How a label file that holds no labels is handled.</param>
    /// <exception cref="InvalidDataException">The file is no such table; the message says where.</exception>
    public static VolumeFiles Open(string path, int? classes, Relabelling? relabelling, Unreadable unreadable = Unreadable.Stop)
    {
        if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted a table with columns image and label.");
        var lines = Rows(path).ToArray();
        var names = lines.Length == 0 ? [] : lines[0].Cells.Select(name => name.ToLowerInvariant()).ToArray();
        int[] images = [.. names.Index().Where(name => name.Item.StartsWith("image", StringComparison.Ordinal)
            && name.Item.AsSpan("image".Length).IndexOfAnyExceptInRange('0', '9') < 0)
            .OrderBy(name => name.Item.Length).ThenBy(name => name.Item, StringComparer.Ordinal).Select(name => name.Index)];
        var (label, named) = (Array.IndexOf(names, "label"), Array.IndexOf(names, "case"));
        if (images.Length == 0 || label < 0)
            throw new InvalidDataException($"{path} has columns {(names.Length == 0 ? "of no name" : string.Join(", ", names))}: wanted "
                + "image and label in its first line.");
        if (lines.Length == 1) throw new InvalidDataException($"{path} has no cases: wanted a line for each after the first.");
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var cases = lines[1..].Select(line =>
        {
            if (line.Cells.Length != names.Length) throw new InvalidDataException($"{path} has {line.Cells.Length} cells in line "
                + $"{line.Number}: wanted {names.Length}, as in its first line.");
            string[] files = [.. images.Select(column => line.Cells[column])];
            if (files.Append(line.Cells[label]).Any(file => file.Length == 0)) throw new InvalidDataException($"{path} has an empty cell "
                + $"in line {line.Number}: wanted files for image and label.");
            return new VolumeCase(
                named >= 0 && line.Cells[named].Length > 0 ? line.Cells[named] : VolumeFolder.Stem(files[0]) ?? Path.GetFileName(files[0]),
                [.. files.Select(file => VolumeFolder.Listed(path, folder, file))],
                [VolumeFolder.Listed(path, folder, line.Cells[label])]);
        }).ToArray();
        var (name, notes) = (Path.GetFileNameWithoutExtension(path), new DataNotes());
        // A single file of a case may hold several channels.
        var channels = images.Length > 1 ? images.Length : Nifti.Channels(cases[0].Images[0]);
        var (become, count, classNames) = classes is { } known ? (relabelling ?? Relabelling.None, known, null)
            : LabelValues.Classes([.. cases.Select(one => one.Labels[0])], relabelling, name, unreadable, notes);
        return new(name, cases, channels, count)
        {
            Relabelling = become,
            ClassNames = classNames,
            ChannelNames = images.Length > 1 ? [.. images.Select(column => names[column])]
                : null,
            Notes = notes,
        };
    }

    static IEnumerable<(int Number, string[] Cells)> Rows(string path)
    {
        using var parser = new TextFieldParser(path)
        {
            TextFieldType = FieldType.Delimited,
            HasFieldsEnclosedInQuotes = true,
            TrimWhiteSpace = true
        };
        parser.SetDelimiters(",");
        while (!parser.EndOfData)
        {
            var number = parser.LineNumber;
            string[] cells;
            try { cells = parser.ReadFields()!; }
            catch (MalformedLineException failure)
            {
                throw new InvalidDataException($"{path} has a quote that does not end in line "
                + $"{failure.LineNumber}.", failure);
            }
            yield return ((int)number, cells);
        }
    }
}
