using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Actipress.Distributed.Mpi;

/// <summary>
/// Before a collective operation each rank sends a description of it to rank 0, and continues only if all descriptions are equal. A
/// difference, which would hang the ranks or mix numbers, is an error on every rank that names the rank that differs.
/// </summary>
/// <remarks>
/// Each rank sends a header: the length and SHA-256 of its description, and the part of the description that fits. Rank 0 answers "same",
/// or requests the rest and then answers with the difference. Messages have a fixed size.
/// </remarks>
sealed unsafe class Agreement(MpiLibrary mpi, nint communicator, int rank, int size)
{
    const int HeaderBytes = 512, AnswerBytes = 2048, FirstText = sizeof(int) + SHA256.HashSizeInBytes,
        TextInHeader = HeaderBytes - FirstText, FirstAnswer = 2 * sizeof(int);
    const int HeaderTag = 1, TextTag = 2, AnswerTag = 3;
    const int Same = 0, SendText = 1, Different = 2, Broken = 3;

    static readonly System.Text.Encoding utf8 = System.Text.Encoding.UTF8;

    // The other ranks wait a little longer than rank 0, so that its answer arrives, which names the missing ranks.
    static readonly TimeSpan grace = TimeSpan.FromSeconds(10);

    // Pinned: MPI writes here while this object lives.
    readonly byte[] headers = GC.AllocateArray<byte>(rank == 0 ? size * HeaderBytes : HeaderBytes, pinned: true),
        answer = GC.AllocateArray<byte>(AnswerBytes, pinned: true);
    long agreements;

    /// <summary>Returns when all ranks have called it with the same description.</summary>
    /// <param name="description">The operation of this rank, as lines. Where the first line differs, the error has that line alone.</param>
    /// <param name="patience">The longest time that the other ranks may take.</param>
    /// <exception cref="RanksException">A rank has another description, or did not call in time.</exception>
    public void On(string description, TimeSpan patience)
    {
        agreements++;
        var text = utf8.GetBytes(description);
        var header = headers.AsSpan(0, HeaderBytes);
        BinaryPrimitives.WriteInt32LittleEndian(header, text.Length);
        SHA256.HashData(text, header[sizeof(int)..]);
        text.AsSpan(0, Math.Min(text.Length, TextInHeader)).CopyTo(header[FirstText..]);
        if (rank == 0) Judge(description, patience);
        else Ask(text, patience);
    }

    void Ask(byte[] text, TimeSpan patience)
    {
        // MPI may send only when rank 0 comes, which may still compute.
        WaitForFirst([mpi.Send(At(headers), HeaderBytes, 0, HeaderTag, communicator)]);
        while (true)
        {
            WaitForFirst([mpi.Receive(At(answer), AnswerBytes, 0, AnswerTag, communicator)]);
            switch (BinaryPrimitives.ReadInt32LittleEndian(answer))
            {
                case Same: return;
                case SendText:
                    fixed (byte* whole = text) WaitForFirst([mpi.Send((nint)whole, text.Length, 0, TextTag, communicator)]);
                    continue;
                case Different: throw new RanksException(TextOfAnswer()) { IsShared = true };
                default: throw new RanksException(TextOfAnswer());
            }
        }

        void WaitForFirst(Span<nint> requests)
        {
            if (!MpiWait.All(mpi, requests, patience + grace))
                throw Missing("rank 0", First(utf8.GetString(text)), patience + grace);
        }
    }

    string TextOfAnswer() => utf8.GetString(answer, FirstAnswer, BinaryPrimitives.ReadInt32LittleEndian(answer.AsSpan(sizeof(int))));

    void Judge(string own, TimeSpan patience)
    {
        var requests = new nint[size - 1];
        for (var other = 1; other < size; other++)
            requests[other - 1] = mpi.Receive(At(headers) + other * HeaderBytes, HeaderBytes, other, HeaderTag, communicator);
        RanksException? difference = null;
        if (!MpiWait.All(mpi, requests, patience))
        {
            var missing = Enumerable.Range(1, size - 1).Where(other => !mpi.Test(ref requests[other - 1])).ToArray();
            difference = Missing($"{(missing.Length == 1 ? "rank" : "ranks")} {string.Join(", ", missing)}", First(own), patience);
        }
        else
        {
            var differing = Enumerable.Range(1, size - 1).Where(Differs).ToArray();
            if (differing.Length > 0) difference = Difference(own, differing, patience);
        }
        var message = utf8.GetBytes(difference?.Message ?? "");
        if (message.Length > AnswerBytes - FirstAnswer) message = message[..(AnswerBytes - FirstAnswer)];
        var together = difference is null or { IsShared: true };
        Answer(difference is null ? Same : together ? Different : Broken, message, Enumerable.Range(1, size - 1), wait: together);
        if (difference is not null) throw difference;
    }

    bool Differs(int other) => !Header(other)[..FirstText].SequenceEqual(Header(0)[..FirstText]);

    RanksException Difference(string own, int[] differing, TimeSpan patience)
    {
        var other = differing[0];
        var length = BinaryPrimitives.ReadInt32LittleEndian(Header(other));
        var theirs = utf8.GetString(Header(other).Slice(FirstText, Math.Min(length, TextInHeader)));
        if (length > TextInHeader)
        {
            var whole = GC.AllocateArray<byte>(length, pinned: true);
            Answer(SendText, [], [other], wait: true);
            var request = mpi.Receive(At(whole), length, other, TextTag, communicator);
            if (!MpiWait.All(mpi, [request], patience)) return Missing($"rank {other}", First(own), patience);
            theirs = utf8.GetString(whole);
        }
        var (ownLines, otherLines) = (own.Split('\n'), theirs.Split('\n'));
        var line = 0;
        while (ownLines.ElementAtOrDefault(line) == otherLines.ElementAtOrDefault(line)) line++;
        var others = differing.Length == 1 ? $"rank {other}" : $"rank {other} (one of {differing.Length} that differ)";
        var where = line == 0 ? "" : $" in {ownLines[0]}";
        var (found, wanted) = (otherLines.ElementAtOrDefault(line) ?? "nothing more", ownLines.ElementAtOrDefault(line) ?? "nothing more");
        var message = $"Ranks differ{where}: rank 0 has {wanted}; {others} has {found}. Wanted the same on every rank, in the same order.";
        return new(message) { IsShared = true };
    }

    Span<byte> Header(int of) => headers.AsSpan(of * HeaderBytes, HeaderBytes);

    RanksException Missing(string who, string what, TimeSpan patience) =>
        new($"Waited {patience.TotalSeconds:0.#} s for {who}, which did not come: rank {rank} of {size} was at {what}, its agreement " +
            $"number {agreements}. Either a rank hangs, or it went another way.");

    static string First(string description) => description.Split('\n')[0];

    void Answer(int what, byte[] text, IEnumerable<int> to, bool wait)
    {
        BinaryPrimitives.WriteInt32LittleEndian(answer, what);
        BinaryPrimitives.WriteInt32LittleEndian(answer.AsSpan(sizeof(int)), text.Length);
        text.CopyTo(answer, FirstAnswer);
        var requests = to.Select(other => mpi.Send(At(answer), AnswerBytes, other, AnswerTag, communicator)).ToArray();
        // A missing rank receives no message. The buffer stays as it is, because no message follows a failure.
        if (!MpiWait.All(mpi, requests, grace) && wait) throw new RanksException($"Rank 0 could not answer all ranks " +
            $"within {grace.TotalSeconds:0} s.");
    }

    static nint At(byte[] pinned) =>
        (nint)System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(pinned));
}
