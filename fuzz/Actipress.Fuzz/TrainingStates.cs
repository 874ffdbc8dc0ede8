using System.Buffers.Binary;
using System.Security.Cryptography;
using Actipress.Data;
using Actipress.Experiments;

namespace Actipress.Fuzz;

/// <summary>
/// The state of a training, part of which the input overwrites. The checksum is then mended, since no fuzzer finds it: the target tests a
/// state that somebody made on purpose.
/// </summary>
static class TrainingStates
{
    sealed class Whole : IDisposable
    {
        public Whole(Scratch scratch)
        {
            var plan = new TrainingPlan { Model = "lenet", Data = "digits", Codec = "none", Batch = 4 };
            Learner = new(plan, TrainingData.Of(GeneratedDigits.Make(train: 8, test: 4)));
            State = new(Path.Combine(scratch.Folder, "state"), plan);
            State.Save(Learner);
            Bytes = File.ReadAllBytes(State.Path);
        }

        public Learner Learner { get; }
        public TrainingState State { get; }
        public byte[] Bytes { get; }

        public void Dispose() => Learner.Dispose();
    }

    /// <summary>
    /// Reads the state after an overwrite. The first four bytes of the input are the position, and the other bytes are written there. With
    /// a position below zero the file ends after them.
    /// </summary>
    public static void Read(byte[] bytes, Scratch scratch)
    {
        var whole = scratch.Keep(() => new Whole(scratch));
        var content = whole.Bytes[..^SHA256.HashSizeInBytes];
        if (bytes.Length >= sizeof(int))
        {
            var place = BinaryPrimitives.ReadInt32LittleEndian(bytes);
            var at = (int)(Math.Abs((long)place) % content.Length);
            var end = Math.Min(content.Length, at + bytes.Length - sizeof(int));
            bytes.AsSpan(sizeof(int), end - at).CopyTo(content.AsSpan(at));
            if (place < 0) content = content[..end];
        }
        scratch.Write("state", [.. content, .. SHA256.HashData(content)]);
        whole.State.Load(whole.Learner);
    }

    public static IEnumerable<byte[]> Seeds(Scratch scratch)
    {
        var whole = scratch.Keep(() => new Whole(scratch));
        // The seeds overwrite the beginning, in which every length of the runs lies, and the end, which is the random state's.
        foreach (var at in (int[])[0, 400, whole.Bytes.Length / 2, whole.Bytes.Length - 256])
            yield return [.. BitConverter.GetBytes(at), .. whole.Bytes.AsSpan(at, 200)];
    }
}
