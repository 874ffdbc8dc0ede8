using System.Diagnostics;
using System.Security.Cryptography;
using Actipress.Data;

namespace Actipress.Experiments;

/// <summary>
/// The file of a training's state: parameters, optimizer, random state, epoch, step and measurements of each run. A resumed training ends
/// bit for bit where it would have ended without the interruption (on the same machine with the same number of threads).
/// </summary>
/// <remarks>
/// The file is complete whenever the program ends. It has the bytes "ACTPTRAI", a version, the plan as JSON, the number of ranks, the
/// examples, the runs, and the SHA-256 of all bytes before.
/// </remarks>
/// <param name="path">The file.</param>
/// <param name="plan">The plan of the training.</param>
public sealed class TrainingState(string path, TrainingPlan plan)
{
    const int Version = 5;

    // The letters of another plan that a message shows.
    const int LettersShown = 400;
    static ReadOnlySpan<byte> Magic => "ACTPTRAI"u8;

    readonly Stopwatch sinceSaved = Stopwatch.StartNew();

    /// <summary>The path of the file.</summary>
    public string Path { get; } = path;

    /// <summary>The number of processes that train together, which a resumed training must have too.</summary>
    public int Ranks { get; init; } = 1;

    /// <summary>The examples of the training, as <see cref="TrainingData.Fingerprint"/> names them.</summary>
    public string Examples { get; set; } = "";

    /// <summary>Whether there is a state to continue.</summary>
    public bool Exists => File.Exists(Path);

    /// <summary>The interval of <see cref="SaveNowAndThen"/>.</summary>
    internal TimeSpan Between { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Saves the runs if they were not saved for a minute.</summary>
    public void SaveNowAndThen(params ReadOnlySpan<Learner> runs)
    {
        if (sinceSaved.Elapsed > Between) Save(runs);
    }

    /// <summary>Saves the runs.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(params ReadOnlySpan<Learner> runs)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!);
        var all = runs.ToArray();
        WholeFile.Write(Path, part =>
        {
            using var file = File.Create(part);
            Write(file, all);
        });
        sinceSaved.Restart();
    }

    void Write(FileStream file, ReadOnlySpan<Learner> runs)
    {
        using var hash = SHA256.Create();
        using (var hashed = new CryptoStream(file, hash, CryptoStreamMode.Write, leaveOpen: true))
        using (var writer = new BinaryWriter(hashed))
        {
            writer.Write(Magic);
            writer.Write(Version);
            writer.Write(Json.Line(plan));
            writer.Write(Ranks);
            writer.Write(Examples);
            writer.Write(runs.Length);
            foreach (var run in runs) run.Save(writer);
        }
        file.Write(hash.Hash);
        file.Flush(flushToDisk: true);
    }

    /// <summary>Restores the runs; does nothing where there is no file.</summary>
    /// <exception cref="InvalidDataException">The file is damaged, or belongs to another training or number of ranks.</exception>
    public void Load(params ReadOnlySpan<Learner> runs)
    {
        if (!Exists) return;
        using var file = File.OpenRead(Path);
        Load(file, runs);
    }

    /// <summary>Restores the runs of all ranks to the state of rank 0, whose file the other ranks need not read.</summary>
    /// <exception cref="InvalidDataException">The file is damaged, or belongs to another training or number of ranks.</exception>
    /// <exception cref="Distributed.RanksException">Another rank makes another call.</exception>
    public void Load(Distributed.Ranks? ranks, params ReadOnlySpan<Learner> runs)
    {
        if (ranks is null or { Size: 1 })
        {
            Load(runs);
            return;
        }
        using var bytes = new MemoryStream(ranks.Broadcast(ranks.Rank == 0 && Exists ? File.ReadAllBytes(Path) : []));
        if (bytes.Length > 0) Load(bytes, runs);
    }

    void Load(Stream file, ReadOnlySpan<Learner> runs)
    {
        var content = file.Length - SHA256.HashSizeInBytes;
        if (content < Magic.Length || !Sum(file, content).SequenceEqual(Rest(file))) throw Damaged("its checksum is wrong");
        file.Position = 0;
        using var reader = new BinaryReader(file);
        try { Read(reader, runs); }
        // TorchSharp throws many types of exceptions for bytes that are no parameters of a network.
        catch (Exception failure) when (failure is not (InvalidDataException or OutOfMemoryException))
        {
            throw new InvalidDataException(Damaged(failure.Message.TrimEnd('.')).Message, failure);
        }
    }

    /// <summary>Locks the file against other trainings until the result is disposed, or this process ends in any way.</summary>
    /// <exception cref="IOException">Another process holds the lock.</exception>
    public IDisposable Alone()
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(Path))!);
        try { return new FileStream(Path + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None); }
        catch (IOException failure) when (File.Exists(Path + ".lock"))
        {
            var folder = System.IO.Path.GetDirectoryName(Path);
            throw new IOException($"Another training is at work in {folder}: wait for its end, or train into another folder.", failure);
        }
    }

    /// <summary>The plan of the training of the file's state; null where it cannot be read.</summary>
    public TrainingPlan? PlanOfFile()
    {
        try
        {
            using var reader = new BinaryReader(File.OpenRead(Path));
            var isOne = reader.ReadBytes(Magic.Length).AsSpan().SequenceEqual(Magic) && reader.ReadInt32() == Version;
            return isOne ? Json.Read<TrainingPlan>(reader.ReadString()) : null;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or FormatException) { return null; }
    }

    void Read(BinaryReader reader, ReadOnlySpan<Learner> runs)
    {
        if (!reader.ReadBytes(Magic.Length).AsSpan().SequenceEqual(Magic)) throw Damaged("it does not begin with ACTPTRAI");
        if (reader.ReadInt32() is var version and not Version) throw Damaged($"found version {version}, wanted {Version}");
        var (found, wanted) = (reader.ReadString(), Json.Line(plan));
        if (found != wanted)
            throw new InvalidDataException(
                $"{Path} is the state of another training: found {Shown(found)}, wanted {wanted}. Give its options, or another folder.");
        if (reader.ReadInt32() is var ranks && ranks != Ranks)
            throw new InvalidDataException(
                $"{Path} is the state of a training by {Processes(ranks)}: found {Processes(Ranks)}. Wanted as many, whose random numbers "
                    + $"and measurements it has, {(ranks == 1 ? "without mpirun" : $"by mpirun -n {ranks}")}, or another folder.");
        if (reader.ReadString() is var examples && examples != Examples)
            throw new InvalidDataException(
                $"{Path} is the state of a training on other examples: found {Examples}, wanted {examples}. With others, a network may be "
                    + "tested on what it was trained on. Give the same data, or another folder.");
        if (reader.ReadInt32() is var count && count != runs.Length) throw Damaged($"found {count} runs, wanted {runs.Length}");
        foreach (var run in runs) run.Load(reader);
    }

    static string Processes(int ranks) => ranks == 1 ? "one process" : $"{ranks} ranks";

    static string Shown(string plan) => plan.Length <= LettersShown ? plan : plan[..LettersShown] + "...";

    /// <summary>Removes the file.</summary>
    public void Delete() => WholeFile.Delete(Path);

    static byte[] Sum(Stream file, long bytes)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[1 << 20];
        while (bytes > 0)
        {
            var read = file.Read(buffer, 0, (int)Math.Min(buffer.Length, bytes));
            if (read == 0) throw new EndOfStreamException("The state became shorter while it was read.");
            hash.AppendData(buffer, 0, read);
            bytes -= read;
        }
        return hash.GetHashAndReset();
    }

    static byte[] Rest(Stream file)
    {
        var rest = new byte[SHA256.HashSizeInBytes];
        file.ReadExactly(rest);
        return rest;
    }

    InvalidDataException Damaged(string why) => new($"{Path} is no whole state of a training: {why}. Remove it to begin anew.");
}
