using System.Buffers.Binary;

namespace Actipress.Data;

/// <summary>The header of either version of NIfTI, in either byte order.</summary>
sealed class NiftiHeader
{
    const int First = 348, Second = 540;

    readonly byte[] bytes;
    readonly string path;
    readonly bool second;

    /// <summary>Reads a header of either version, and nothing behind it.</summary>
    /// <exception cref="InvalidDataException">
    /// The file has no header, or is cut short; the message says what was found, and where.
    /// </exception>
    public static NiftiHeader Read(Gzip.Content file, string path)
    {
        var bytes = new byte[Second];
        var read = file.Fill(bytes.AsSpan(0, First));
        if (read == First && (BinaryPrimitives.ReadInt32LittleEndian(bytes) == Second
            || BinaryPrimitives.ReadInt32BigEndian(bytes) == Second))
            read += file.Fill(bytes.AsSpan(First));
        return new(bytes[..read], path);
    }

    NiftiHeader(byte[] bytes, string path)
    {
        (this.bytes, this.path) = (bytes, path);
        if (bytes.Length < First)
            throw new InvalidDataException($"{path} is cut short: found {bytes.Length} bytes, wanted a header of {First}. "
                + "Get the file again.");
        var (little, big) = (BinaryPrimitives.ReadInt32LittleEndian(bytes), BinaryPrimitives.ReadInt32BigEndian(bytes));
        BigEndian = little is not (First or Second) && big is First or Second;
        var size = BigEndian ? big : little;
        if (size is not (First or Second))
            throw new InvalidDataException($"{path} is no NIfTI file: found {little} at byte 0, wanted {First} or {Second}, the size of "
                + "its header.");
        second = size == Second;
        if (bytes.Length < size)
            throw new InvalidDataException($"{path} is cut short: found {bytes.Length} bytes, wanted a header of {Second}. "
                + "Get the file again.");
        var at = second ? 4 : 344;
        var magic = System.Text.Encoding.Latin1.GetString(bytes, at, 3);
        var (single, pair) = second ? ("n+2", "ni2") : ("n+1", "ni1");
        if (magic != single && magic != pair)
            throw new InvalidDataException($"{path} is no NIfTI file: found '{magic.Replace("\0", "\\0", StringComparison.Ordinal)}' at "
                + $"byte {at}, wanted '{single}' or '{pair}'. Convert it to .nii.gz (an Analyze file has no such word).");
        IsPair = magic == pair;
    }

    /// <summary>The bytes of the header, as in the file.</summary>
    public ReadOnlySpan<byte> Bytes => bytes;

    /// <summary>Whether the numbers are in a separate file, <c>.img</c>.</summary>
    public bool IsPair { get; }

    public bool BigEndian { get; }

    public NiftiType DataType => (NiftiType)Int16(second ? 12 : 70);

    /// <summary>
    /// The offset of the numbers. In one file with the header, the default is behind the header and its four bytes of flags.
    /// </summary>
    public long DataStart =>
        (second ? Int64(168) : (long)Single(108)) is var start && start == 0 && !IsPair ? (second ? Second : First) + 4 : start;

    public int[] Extents()
    {
        var rank = second ? Int64(16) : Int16(40);
        if (rank is < 1 or > 7) throw new InvalidDataException($"{path} has rank {rank}: wanted 1 to 7.");
        var extents = Enumerable.Range(1, (int)rank).Select(axis => second ? Int64(16 + 8 * axis) : Int16(40 + 2 * axis)).ToArray();
        if (extents.Any(extent => extent is < 1 or > int.MaxValue))
            throw new InvalidDataException($"{path} has extents {string.Join(" x ", extents)}: wanted 1 or more of each.");
        var used = extents.Length;
        while (used > 3 && extents[used - 1] == 1) used--;
        if (used > 4) throw new InvalidDataException($"{path} has {used} axes: wanted a volume or a series of volumes.");
        if (extents.Aggregate(1.0, (product, extent) => product * extent) > int.MaxValue)
            throw new InvalidDataException($"{path} has {string.Join(" x ", extents)} numbers: wanted fewer than 2^31.");
        return [.. extents.Take(used).Select(extent => (int)extent)];
    }

    public double[] Spacing(int rank) =>
        [.. Enumerable.Range(1, rank).Select(axis => Math.Abs(second ? Double(104 + 8 * axis) : Single(76 + 4 * axis)))];

    // A slope of zero means that the numbers are not scaled.
    public (double Slope, double Intercept) Scale()
    {
        var (slope, intercept) = second ? (Double(176), Double(184)) : (Single(112), Single(116));
        return slope == 0 || !double.IsFinite(slope) || !double.IsFinite(intercept) ? (1, 0) : (slope, intercept);
    }

    (int Q, int S) Forms => second ? (Int32(344), Int32(348)) : (Int16(252), Int16(254));

    /// <summary>Whether the file has an s-form or a q-form.</summary>
    public bool HasOrientation => Forms is { Q: > 0 } or { S: > 0 };

    /// <summary>The affine: the s-form where the file has one, else the q-form, else the spacing alone, as nifti1.h says.</summary>
    public Affine Affine()
    {
        var (qform, sform) = Forms;
        if (sform > 0) return new([.. Enumerable.Range(0, 12).Select(i => second ? Double(400 + 8 * i) : Single(280 + 4 * i))]);
        var spacing = Spacing(3);
        if (qform <= 0) return Data.Affine.Of(spacing[0], spacing[1], spacing[2]);
        double Q(int i) => second ? Double(352 + 8 * i) : Single(256 + 4 * i);
        var (b, c, d) = (Q(0), Q(1), Q(2));
        var a = Math.Sqrt(Math.Max(0, 1 - b * b - c * c - d * d));
        var z = spacing[2] * ((second ? Double(104) : Single(76)) < 0 ? -1 : 1);
        return new(
        [
            (a * a + b * b - c * c - d * d) * spacing[0], 2 * (b * c - a * d) * spacing[1], 2 * (b * d + a * c) * z, Q(3),
            2 * (b * c + a * d) * spacing[0], (a * a + c * c - b * b - d * d) * spacing[1], 2 * (c * d - a * b) * z, Q(4),
            2 * (b * d - a * c) * spacing[0], 2 * (c * d + a * b) * spacing[1], (a * a + d * d - b * b - c * c) * z, Q(5),
        ]);
    }

    /// <summary>
    /// A copy of this header for a volume of three axes in the same file, with another number type and without slope. The affine stays.
    /// </summary>
    public byte[] OfMask(NiftiType type)
    {
        var size = second ? Second : First;
        var mask = new byte[size + 4];    // no extensions follow
        bytes.AsSpan(0, size).CopyTo(mask);
        var bits = (short)(type == NiftiType.UInt8 ? 8 : 16);
        if (second)
        {
            "n+2"u8.CopyTo(mask.AsSpan(4));
            Set(12, (short)type);
            Set(14, bits);
            Long(16, 3);
            for (var axis = 4; axis <= 7; axis++) Long(16 + 8 * axis, 1);
            mask.AsSpan(80, 24).Clear();      // the intent's parameters
            Long(168, mask.Length);
            mask.AsSpan(176, 32).Clear();     // slope, intercept, greatest and smallest shown
            mask.AsSpan(504, 20).Clear();     // the intent
        }
        else
        {
            "n+1"u8.CopyTo(mask.AsSpan(344));
            mask.AsSpan(56, 14).Clear();
            Set(70, (short)type);
            Set(72, bits);
            Set(40, 3);
            for (var axis = 4; axis <= 7; axis++) Set(40 + 2 * axis, 1);
            if (BigEndian) BinaryPrimitives.WriteSingleBigEndian(mask.AsSpan(108), mask.Length);
            else BinaryPrimitives.WriteSingleLittleEndian(mask.AsSpan(108), mask.Length);
            mask.AsSpan(112, 8).Clear();
            mask.AsSpan(124, 8).Clear();
            mask.AsSpan(328, 16).Clear();
        }
        return mask;

        void Set(int at, short value)
        {
            if (BigEndian) BinaryPrimitives.WriteInt16BigEndian(mask.AsSpan(at), value);
            else BinaryPrimitives.WriteInt16LittleEndian(mask.AsSpan(at), value);
        }

        void Long(int at, long value)
        {
            if (BigEndian) BinaryPrimitives.WriteInt64BigEndian(mask.AsSpan(at), value);
            else BinaryPrimitives.WriteInt64LittleEndian(mask.AsSpan(at), value);
        }
    }

    short Int16(int at) =>
        BigEndian ? BinaryPrimitives.ReadInt16BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt16LittleEndian(bytes.AsSpan(at));
    int Int32(int at) =>
        BigEndian ? BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at));
    long Int64(int at) =>
        BigEndian ? BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at));
    double Single(int at) =>
        BigEndian ? BinaryPrimitives.ReadSingleBigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(at));
    double Double(int at) =>
        BigEndian ? BinaryPrimitives.ReadDoubleBigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadDoubleLittleEndian(bytes.AsSpan(at));
}
