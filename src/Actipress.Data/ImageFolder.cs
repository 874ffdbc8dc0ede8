namespace Actipress.Data;

/// <summary>Pictures in one folder for each class, PNG or JPEG, decoded when they are read.</summary>
public sealed class ImageFolder : IDataSet
{
    static readonly string[] endings = [".jpg", ".jpeg", ".png"];

    readonly (string Path, ushort Class)[] files;
    readonly (int Height, int Width)? size;

    /// <summary>
    /// Lists the files. The folders in alphabetical order are the classes 0, 1 and so on; files are in alphabetical order too.
    /// </summary>
    /// <param name="folder">The folder of folders.</param>
    /// <param name="channels">The number of channels: 1 converts colours to grey, 3 repeats grey three times.</param>
    /// <param name="size">The size to which every picture is scaled; null for no scaling.</param>
    /// <param name="classNames">The classes in their order, where the order differs or this part lacks some; null for the folders.</param>
    /// <exception cref="InvalidDataException">There are no pictures, or a folder is not a class; the message says which.</exception>
    public ImageFolder(string folder, int channels = 3, (int Height, int Width)? size = null, IReadOnlyList<string>? classNames = null)
    {
        if (channels is not (1 or 3)) throw new ArgumentOutOfRangeException(nameof(channels), channels, "Wanted 1 or 3.");
        var folders = Directory.Exists(folder)
            ? Directory.GetDirectories(folder).Where(one => !Path.GetFileName(one).StartsWith('.'))
                .ToDictionary(one => Path.GetFileName(one))
            : [];
        ClassNames = classNames ?? [.. folders.Keys.Order(StringComparer.Ordinal)];
        if (folders.Keys.FirstOrDefault(name => !ClassNames.Contains(name)) is { } strange)
            throw new InvalidDataException($"{Path.Combine(folder, strange)} is no class: wanted {string.Join(", ", ClassNames)}.");
        files = [.. ClassNames.SelectMany((name, label) =>
            folders.TryGetValue(name, out var path) ? Pictures(path).Select(file => (file, (ushort)label)) : [])];
        if (files.Length == 0)
            throw new InvalidDataException($"No pictures in {folder}: wanted a folder for each class, with .png or .jpg files.");
        (Name, Channels, this.size) = (Path.GetFileName(Path.TrimEndingDirectorySeparator(folder)), channels, size);
    }

    static IEnumerable<string> Pictures(string folder) =>
        Directory.GetFiles(folder)
            .Where(file =>
                endings.Contains(Path.GetExtension(file), StringComparer.OrdinalIgnoreCase) && !Path.GetFileName(file).StartsWith('.'))
            .Order(StringComparer.Ordinal);

    /// <summary>
    /// Opens a folder with <c>train</c> and <c>test</c>, such as CIFAR-10 as JPEG files. Both parts have the classes of the training part.
    /// </summary>
    /// <exception cref="InvalidDataException">A part has no pictures; the message says which.</exception>
    public static (ImageFolder Train, ImageFolder Test) TrainAndTest(string folder, int channels = 3, (int Height, int Width)? size = null)
    {
        var train = new ImageFolder(Path.Combine(folder, "train"), channels, size);
        return (train, new ImageFolder(Path.Combine(folder, "test"), channels, size, train.ClassNames));
    }

    /// <summary>Decodes both parts into memory on all cores, with one byte for each number.</summary>
    /// <exception cref="InvalidDataException">
    /// A part has no pictures, or one is damaged or of another size; the message says which.
    /// </exception>
    public static ImageClasses Load(string folder, int channels = 3, (int Height, int Width)? size = null)
    {
        var (train, test) = TrainAndTest(folder, channels, size);
        var name = Path.GetFileName(Path.TrimEndingDirectorySeparator(folder));
        return new(name, train.Decoded(name), test.Decoded(name));
    }

    LabelledImages Decoded(string name)
    {
        if (Classes > 256)
            throw new InvalidDataException($"{name} has {Classes} classes: wanted at most 256 in memory. Read it as an ImageFolder.");
        var (first, height, width) = Picture.Planes(files[0].Path, Channels, size);
        var pixels = new byte[checked(Count * first.Length)];
        try
        {
            Parallel.For(0, Count, i =>
            {
                var (values, ownHeight, ownWidth) = Picture.Planes(files[i].Path, Channels, size);
                if ((ownHeight, ownWidth) != (height, width))
                    throw new InvalidDataException($"{files[i].Path} is {ownHeight} x {ownWidth}, but {files[0].Path} is {height} x "
                        + $"{width}: wanted one size. Give the size to scale to.");
                for (var j = 0; j < values.Length; j++) pixels[i * values.Length + j] = (byte)MathF.Round(values[j]);
            });
        }
        catch (AggregateException failures) { throw failures.InnerExceptions[0]; }
        return new(pixels, [.. files.Select(file => (byte)file.Class)], height, width, Channels) { Name = name, Classes = Classes };
    }

    /// <summary>The names of the classes, by label.</summary>
    public IReadOnlyList<string> ClassNames { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Count => files.Length;

    /// <inheritdoc/>
    public int Channels { get; }

    /// <inheritdoc/>
    public int Classes => ClassNames.Count;

    /// <inheritdoc/>
    public bool IsSegmentation => false;

    /// <inheritdoc/>
    public IReadOnlyList<int>? Extents => size is { } fixedSize ? [fixedSize.Height, fixedSize.Width] : null;

    /// <inheritdoc/>
    public string Case(int index) => $"{ClassNames[files[index].Class]}/{Path.GetFileName(files[index].Path)}";

    /// <summary>Reads a picture, with values from 0 to 1.</summary>
    /// <param name="index">From 0.</param>
    public Example Read(int index)
    {
        var (values, height, width) = Picture.Planes(files[index].Path, Channels, size);
        for (var i = 0; i < values.Length; i++) values[i] /= 255;
        return new(Case(index), values, [files[index].Class], [height, width]);
    }
}
