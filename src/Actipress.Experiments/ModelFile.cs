using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Experiments;

/// <summary>The description of a network in its file of weights.</summary>
/// <param name="Model">One of <see cref="Trainable.All"/>.</param>
/// <param name="Run">baseline or compressed.</param>
/// <param name="Channels">The number of channels of its input.</param>
/// <param name="Classes">The number of classes of its output.</param>
/// <param name="Features">The number of channels of its first level.</param>
/// <param name="Scans">The description of its scans; null where it classifies images.</param>
/// <param name="Plan">The plan of its training.</param>
/// <param name="Epochs">The number of epochs.</param>
/// <param name="TestScore">Its test score.</param>
/// <param name="Provenance">The machine and commit of its training.</param>
/// <param name="TrainCases">The names of the scans of its training.</param>
/// <param name="TestCases">The names of the scans of its test.</param>
public sealed record ModelDescription(
    string Model, string Run, int Channels, int Classes, int Features, ScanDescription? Scans, TrainingPlan Plan, int Epochs,
        double TestScore, Provenance Provenance,
    IReadOnlyList<string> TrainCases, IReadOnlyList<string> TestCases)
{
    /// <summary>Makes the network, with new parameters; the caller disposes it.</summary>
    public nn.Module<Tensor, Tensor> Create() => Trainable.Find(Model).Create(Channels, Classes, Features);
}

/// <summary>
/// A trained network on disk, twice: as <c>.safetensors</c>, which carries its description, for PyTorch and others, and in TorchSharp's own
/// format, <c>.dat</c>, with the description beside it as <c>.json</c>.
/// </summary>
public static class ModelFile
{
    const string Name = "actipress", Beside = ".json", Own = ".dat", Shared = ".safetensors";

    /// <summary>Writes the three files.</summary>
    /// <param name="stem">The path of the files without the ending.</param>
    /// <param name="model">The network, on any device.</param>
    /// <param name="description">The description of the network.</param>
    /// <returns>The path of the <c>.safetensors</c>.</returns>
    public static string Write(string stem, nn.Module model, ModelDescription description)
    {
        ArgumentNullException.ThrowIfNull(model);
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(stem))!);
        Safetensors.Write(stem + Shared, model, new Dictionary<string, string> { [Name] = Json.Line(description), ["format"] = "pt" });
        WholeFile.Write(stem + Own, part => model.save(part));
        WholeFile.Write(stem + Beside, part => File.WriteAllText(part, Json.Document(description)));
        return stem + Shared;
    }

    /// <summary>Reads a network of either format onto the CPU, in evaluation mode; the caller disposes it.</summary>
    /// <exception cref="InvalidDataException">
    /// The file is missing or damaged, has no description, or has other weights than the description; the message says which.
    /// </exception>
    public static (nn.Module<Tensor, Tensor> Model, ModelDescription Description) Read(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted weights that train saved, {Shared} or {Own}.");
        var isShared = path.EndsWith(Shared, StringComparison.OrdinalIgnoreCase);
        if (!isShared && !path.EndsWith(Own, StringComparison.OrdinalIgnoreCase)) throw new InvalidDataException($"{path} is no file of "
            + $"weights: wanted {Shared} or {Own}, as train saves them.");
        var description = Described(path, isShared);
        var model = description.Create();
        try
        {
            if (isShared) Safetensors.Read(path, model);
            else LoadOwn(path, model);
            model.eval();
            return (model, description);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    static ModelDescription Described(string path, bool isShared)
    {
        var beside = Path.ChangeExtension(path, Beside);
        var text = isShared ? Safetensors.Texts(path).GetValueOrDefault(Name)
            : File.Exists(beside) ? File.ReadAllText(beside)
            : throw new InvalidDataException($"{path} has no {beside} beside it: wanted the description that train saved with it.");
        var description = text is null ? null : Json.Read<ModelDescription>(text);
        try
        {
            if (description is null) throw new ArgumentException("it is missing or not whole.");
            _ = Trainable.Find(description.Model);
            if (description.Channels < 1 || description.Classes < 1 || description.Features < 1) throw new ArgumentException("its numbers "
                + "are below 1.");
            if (description.Scans is { } scans
                && (scans.Window.Count != 3 || scans.Window.Any(extent => extent < 1))) throw new ArgumentException("its window has no "
                + "three extents.");
            return description;
        }
        catch (ArgumentException failure)
        {
            throw new InvalidDataException($"{(isShared ? path : beside)} does not say of which network its weights are: "
                + $"{failure.Message.Split(" (Parameter '")[0]} Wanted the description that train writes. Save the weights anew.", failure);
        }
    }

    static void LoadOwn(string path, nn.Module model)
    {
        try { model.load(path); }
        // TorchSharp throws many types of exceptions for bytes that are no parameters of a network.
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            throw new InvalidDataException($"{path} does not hold the weights that its description tells of: "
                + $"{failure.Message.TrimEnd('.')}. Give the file that was saved with it.", failure);
        }
    }
}
