using System.Text.RegularExpressions;

namespace Actipress.Tests;

/// <summary>
/// The rooms of the library. Each folder of <c>src/Actipress</c> is a room, and so are two groups of the files that lie in no folder. A
/// room uses other rooms as the table says. No cycle of rooms exists, so that each room can be read with the rooms above it.
/// </summary>
public sealed partial class RoomsTests
{
    const string Pipeline = "the pipeline", Face = "the face";

    /// <summary>One room.</summary>
    /// <param name="Name">The folder; or the name of a group of files.</param>
    /// <param name="Uses">The rooms whose types the types of this room may use.</param>
    sealed record Room(string Name, params string[] Uses);

    // The rooms are in order: a room uses only rooms on lines above its own.
    static readonly Room[] rooms =
    [
        new("Errors"),
        new("Autograd", "Errors"),
        new("Machine", "Autograd"),
        new("Gpu", "Autograd"),
        new("Accounting", "Autograd", "Machine", "Gpu"),
        new("Maps"),
        new("Transforms", "Autograd", "Maps"),
        new("Selection", "Autograd", "Machine"),
        new("Encodings", "Autograd", "Machine", "Maps", "Selection"),
        new("Codecs", "Autograd", "Maps", "Transforms", "Selection", "Encodings"),
        new("Grid/Bits", "Machine", "Accounting"),
        new("Grid/Wavelets", "Machine", "Accounting", "Maps", "Transforms"),
        new("Grid/Tiles", "Machine", "Maps", "Transforms", "Grid/Bits", "Grid/Wavelets"),
        new("Grid", "Autograd", "Machine", "Accounting", "Maps", "Transforms", "Selection", "Encodings", "Codecs",
            "Grid/Bits", "Grid/Wavelets", "Grid/Tiles"),
        new("Grid/Gpu", "Autograd", "Gpu", "Maps", "Transforms", "Selection", "Encodings", "Codecs",
            "Grid/Bits", "Grid/Wavelets", "Grid/Tiles", "Grid"),
        new("Quantisation", "Autograd", "Machine", "Maps", "Transforms", "Selection", "Encodings", "Codecs", "Grid/Tiles", "Grid"),
        new(Pipeline, "Autograd", "Maps", "Transforms", "Selection", "Encodings", "Codecs", "Grid", "Grid/Gpu", "Quantisation"),
        new("Backward", "Autograd", "Machine", "Maps"),
        new("Forward", "Autograd", "Maps"),
        new("Saving", "Errors", "Autograd", "Machine", "Gpu", "Accounting", "Maps", "Selection", "Encodings", "Codecs",
            "Grid/Gpu", Pipeline, "Backward", "Forward"),
        new(Face, "Autograd", "Accounting", "Codecs", "Saving"),
    ];

    // This room is the paper's method, which all saving uses. The other files beside the folders are the members that a user calls.
    static readonly string[] pipeline = ["Pipeline.cs", "PackedMap.cs"];

    static readonly string library = Path.Combine(TestData.Repository, "src", "Actipress");

    static string RoomOf(string file) =>
        Path.GetDirectoryName(file) is { Length: > 0 } folder ? folder.Replace('\\', '/') : pipeline.Contains(file) ? Pipeline : Face;

    static string[] Sources() => [.. Directory.EnumerateFiles(library, "*.cs", SearchOption.AllDirectories)
        .Select(path => Path.GetRelativePath(library, path)).Order(StringComparer.Ordinal)];

    // Returns the files that declare each type which lies in no other type.
    static Dictionary<string, string[]> FilesOfTypes() => (
        from file in Sources()
        let text = File.ReadAllText(Path.Combine(library, file))
        let space = Namespace().Match(text).Groups[1].Value
        from Match type in Declaration().Matches(text)
        let parameters = type.Groups["parameters"] is { Success: true, Value: var some } ? $"`{some.Split(',').Length}" : ""
        group file by $"{space}.{type.Groups["name"].Value}{parameters}")
        .ToDictionary(files => files.Key, files => files.Distinct().ToArray());

    [GeneratedRegex(@"^namespace ([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex Namespace();

    [GeneratedRegex(@"^(?:(?:public|internal|static|sealed|abstract|readonly|unsafe|partial|ref) )*" +
        @"(?:(?:class|record struct|record|struct|interface|enum) (?<name>\w+)(?:<(?<parameters>[^>]+)>)?|delegate .*?(?<name>\w+)\()",
        RegexOptions.Multiline)]
    private static partial Regex Declaration();

    static readonly Lazy<(IReadOnlySet<string> Types, IReadOnlySet<TypeUse> Uses)> compiled =
        new(() => TypeUses.Of(Path.Combine(AppContext.BaseDirectory, "Actipress.dll")));

    [Fact]
    public void A_room_uses_the_types_of_those_rooms_only_that_the_table_lets_it()
    {
        var files = FilesOfTypes();
        var wrong = (
            from use in compiled.Value.Uses
            where !use.To.StartsWith('.')    // a type without a namespace is in no room: mutation adds one
            let user = RoomOf(files[use.From][0])
            let used = RoomOf(files[use.To][0])
            let room = rooms.FirstOrDefault(room => room.Name == user)
            where user != used && room is not null && !room.Uses.Contains(used)
            group use by (use.From, use.To, user, used, room) into uses
            orderby uses.Key.From, uses.Key.To
            let key = uses.Key
            select $"{string.Join(" and ", files[key.From])}: {key.From} of {key.user} uses {key.To} of {key.used} " +
                $"({string.Join(", ", files[key.To])}), in {string.Join(", ", uses.Select(use => use.Where).Distinct().Take(3))}. " +
                $"{key.user} may use {(key.room.Uses is [] ? "no other room" : string.Join(", ", key.room.Uses))}. " +
                $"Way out: {WayOut(key.user, key.used)}").ToArray();
        Assert.True(wrong is [],
            $"{wrong.Length} uses across rooms that the table of {nameof(RoomsTests)} lacks.\n{string.Join("\n", wrong)}");
    }

    static string WayOut(string user, string used) =>
        Array.FindIndex(rooms, room => room.Name == used) < Array.FindIndex(rooms, room => room.Name == user)
            ? $"move one of the types, or, if {user} is to know {used}, add it to the line of {user} in the table."
            : $"{used} is built on {user} or beside it, so that this would close a circle: " +
              $"let {user} declare an interface or a record that {used} fills, or move one of the types.";

    [Fact]
    public void The_table_has_no_circle()
    {
        for (var line = 0; line < rooms.Length; line++)
            foreach (var used in rooms[line].Uses)
                Assert.True(rooms[..line].Any(room => room.Name == used),
                    $"The line of {rooms[line].Name} names {used}, which no line above it is: wanted an order of lines in which " +
                    "each room uses rooms above its own line alone. Where there is no such order, rooms use each other in a circle.");
        Assert.Equal(rooms.Length, rooms.Select(room => room.Name).Distinct().Count());
    }

    [Fact]
    public void The_table_has_a_line_for_each_room_and_for_nothing_else()
    {
        string[] found = [.. Sources().Select(RoomOf).Distinct()], named = [.. rooms.Select(room => room.Name)];
        Assert.True(found.All(named.Contains), $"Rooms that the table of {nameof(RoomsTests)} lacks: " +
            $"{string.Join(", ", found.Except(named))}. Give each a line, which says what it may use.");
        Assert.Empty(named.Except(found));
        Assert.Empty(pipeline.Except(Sources()));
    }

    [Fact]
    public void The_table_lets_no_room_use_what_it_does_not_need()
    {
        var files = FilesOfTypes();
        var uses = compiled.Value.Uses.Select(use => (RoomOf(files[use.From][0]), RoomOf(files[use.To][0]))).ToHashSet();
        Assert.Empty(
            from room in rooms
            from used in room.Uses
            where !uses.Contains((room.Name, used))
            select $"{room.Name} uses nothing of {used}: take it from the line.");
    }

    [Fact]
    public void Each_type_of_the_assembly_lies_in_one_room()
    {
        var files = FilesOfTypes();
        Assert.Empty(compiled.Value.Types.Except(files.Keys));
        Assert.Empty(
            from type in files
            where type.Value.Select(RoomOf).Distinct().Count() > 1
            select $"{type.Key}: {string.Join(", ", type.Value)}");
    }
}
