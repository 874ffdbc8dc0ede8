using System.Buffers.Binary;

namespace Actipress.Tests.Codecs;

/// <summary>Damages bytes as storage, transfers and attackers do.</summary>
sealed class Damage(Random random)
{
    static readonly long[] extremes =
    [
        0, 1, -1, 255, 256, int.MaxValue, int.MaxValue + 1L, int.MinValue, uint.MaxValue, 1L << 40, long.MaxValue, long.MinValue,
    ];

    static readonly string[] texts =
    [
        "none", "none,zeros=exact", "st:1", "st:1,storage=compact", "st:2", "st:10", "st:1E+300", "st:1,values=float32",
        "st:10,storage=compact", "st:10,storage=paper", "st:4,index=byte", "dct:1", "dct:10", "dct:10,block=4", "dct:10,storage=paper",
        "dct:4,values=7", "wt:haar:10", "wt:haar:10,levels=5", "wt:db3:10", "wt:db3:10,levels=5", "wt:coif5:2,levels=5,storage=compact",
        "quant:2", "quant:8", "quant:8,storage=paper", "", "dct", "dct:", "dct:NaN", "dct:1e999", "dct:10,block=0", "quant:9999999999",
        "wt::10", "wt:haar:10,levels=-1", ",,,", "\0\0",
    ];

    /// <summary>Returns bytes of any kind with one fault.</summary>
    public byte[] Anywhere(byte[] bytes, byte[] other)
    {
        if (bytes.Length == 0) return [0];
        var at = random.Next(4) == 0 ? random.Next(Math.Min(bytes.Length, 64)) : random.Next(bytes.Length);
        switch (random.Next(7))
        {
            case 0: return With(bytes, at, [(byte)random.Next(256)]);
            case 1: return With(bytes, at, [(byte)(bytes[at] ^ 1 << random.Next(8))]);
            case 2: return bytes[..at];
            case 3: return [.. bytes[..at], .. Some(random.Next(1, 17)), .. bytes[at..]];
            case 4: return [.. bytes[..at], .. bytes[Math.Min(bytes.Length, at + random.Next(1, 17))..]];
            case 5: return [.. bytes[..at], .. other.AsSpan(random.Next(2) == 0 ? Math.Min(at, other.Length) : random.Next(other.Length))];
            default: return With(bytes, at, Extreme(random.Next(2) == 0 ? sizeof(int) : sizeof(long)));
        }
    }

    /// <summary>Returns the file of a packed map with one wrong field in its header.</summary>
    public byte[] InHeader(byte[] file)
    {
        const int Text = 5;
        var type = Text + 1 + file[Text];
        var (rank, extents) = (type + 1, type + 2);
        var axis = extents + sizeof(long) * random.Next(file[rank]);
        switch (random.Next(6))
        {
            case 0:
                var text = System.Text.Encoding.UTF8.GetBytes(texts[random.Next(texts.Length)]);
                return [.. file[..Text], (byte)text.Length, .. text, .. file[type..]];
            case 1: return With(file, type, [(byte)random.Next(16)]);
            case 2: return With(file, rank, [(byte)(file[rank] + (random.Next(2) == 0 ? 1 : -1))]);
            case 3:
                var more = random.Next(1, 256 - file[rank]);
                return [
                    .. file[..rank], (byte)(file[rank] + more), .. Enumerable.Repeat(Bytes(1), more).SelectMany(extent => extent),
                    .. file[extents..],
                ];
            case 4: return With(file, axis, Extreme(sizeof(long)));
            default: return With(file, axis, Bytes(BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(axis)) + random.Next(-2, 3)));
        }
    }

    byte[] Some(int count)
    {
        var bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }

    byte[] Extreme(int size) => Bytes(extremes[random.Next(extremes.Length)])[..size];

    static byte[] Bytes(long number) => BitConverter.GetBytes(number);

    static byte[] With(byte[] bytes, int at, ReadOnlySpan<byte> other)
    {
        byte[] damaged = [.. bytes];
        other[..Math.Min(other.Length, bytes.Length - at)].CopyTo(damaged.AsSpan(at));
        return damaged;
    }
}
