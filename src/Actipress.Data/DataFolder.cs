namespace Actipress.Data;

/// <summary>Finds the folder of real data: the folder that a user names, else that of <c>ACTIPRESS_DATA</c>, else none.</summary>
public static class DataFolder
{
    /// <summary>The variable that names the folder.</summary>
    public const string Variable = "ACTIPRESS_DATA";

    /// <summary>The folder, or null where none is named.</summary>
    public static string? Of(string? named) =>
        named ?? Environment.GetEnvironmentVariable(Variable) switch { "" => null, var folder => folder };

    /// <summary>The part of the folder that holds a data set: the folder itself, or a folder inside it with the data set's name.</summary>
    public static string Part(string folder, string name) =>
        Path.Combine(folder, name) is var part && Directory.Exists(part) ? part : folder;
}
