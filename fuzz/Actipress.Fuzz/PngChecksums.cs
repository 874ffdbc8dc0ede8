using System.Buffers.Binary;

namespace Actipress.Fuzz;

/// <summary>Mends the checksums of a PNG's chunks, which no fuzzer finds.</summary>
static class PngChecksums
{
    const int Signature = 8, LengthAndKind = 8, Checksum = 4;

    /// <summary>Returns the same file with the correct checksum of each whole chunk.</summary>
    public static byte[] Mended(byte[] png)
    {
        byte[] mended = [.. png];
        for (long at = Signature; at + LengthAndKind + Checksum <= mended.Length;)
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(mended.AsSpan((int)at));
            if (at + LengthAndKind + length + Checksum > mended.Length) break;
            var sum = Crc32(mended.AsSpan((int)at + sizeof(int), sizeof(int) + (int)length));
            at += LengthAndKind + length + Checksum;
            BinaryPrimitives.WriteUInt32BigEndian(mended.AsSpan((int)at - Checksum), sum);
        }
        return mended;
    }

    static uint Crc32(ReadOnlySpan<byte> bytes)
    {
        var sum = uint.MaxValue;
        foreach (var value in bytes)
        {
            sum ^= value;
            for (var bit = 0; bit < 8; bit++) sum = (sum & 1) != 0 ? sum >> 1 ^ 0xEDB88320 : sum >> 1;
        }
        return ~sum;
    }
}
