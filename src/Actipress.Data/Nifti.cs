using System.Buffers.Binary;

namespace Actipress.Data;

/// <summary>An image volume with its place in space.</summary>
/// <param name="Values">Scaled by the file's slope and intercept; the first axis runs fastest, as in the file.</param>
/// <param name="Extents">Of each axis: x, y, z and, where there is one, t.</param>
/// <param name="Spacing">Distance of neighbours along each axis, in the file's unit, mostly mm (s for t).</param>
/// <param name="Affine">Rows of the matrix that turns (i, j, k, 1) into scanner coordinates: 12 numbers.</param>
public sealed record Volume(float[] Values, int[] Extents, double[] Spacing, double[] Affine);

/// <summary>NIfTI-1 and NIfTI-2 in one file (<c>.nii</c>, <c>.nii.gz</c>): every integer and floating-point type, both byte orders.</summary>
public static class Nifti
{
    const int SizeOfHeader1 = 348, SizeOfHeader2 = 540;

    /// <summary>Reads a volume.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InvalidDataException">Not such a file, cut short, or of a type without plain numbers; the message says what was found where.</exception>
    public static Volume Read(string path)
    {
        if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted a NIfTI volume, .nii or .nii.gz.");
        var bytes = Gzip.Content(path);
        if (bytes.Length < SizeOfHeader1) throw new InvalidDataException($"{path} is cut short: found {bytes.Length} bytes, wanted a header of {SizeOfHeader1}. Get the file again.");
        var header = new Header(bytes, path);
        var extents = header.Extents();
        var count = extents.Aggregate(1L, (product, extent) => checked(product * extent));
        var (size, read) = Numbers(header.DataType, header.BigEndian, path);
        var start = header.DataStart;
        if (start < 0 || bytes.Length - start < count * size)
            throw new InvalidDataException($"{path} is cut short: wanted {count} numbers of {size} bytes from byte {start} on, but the file has {bytes.Length} bytes. Get the file again.");
        var values = new float[count];
        var (slope, intercept) = header.Scale();
        for (var i = 0; i < values.Length; i++) values[i] = (float)(read(bytes.AsSpan((int)start + i * size, size)) * slope + intercept);
        return new(values, extents, header.Spacing(extents.Length), header.Affine());
    }

    delegate double Number(ReadOnlySpan<byte> bytes);

    static (int Size, Number Read) Numbers(int type, bool big, string path) => type switch
    {
        2 => (1, b => b[0]),
        256 => (1, b => (sbyte)b[0]),
        4 => (2, big ? b => BinaryPrimitives.ReadInt16BigEndian(b) : b => BinaryPrimitives.ReadInt16LittleEndian(b)),
        512 => (2, big ? b => BinaryPrimitives.ReadUInt16BigEndian(b) : b => BinaryPrimitives.ReadUInt16LittleEndian(b)),
        8 => (4, big ? b => BinaryPrimitives.ReadInt32BigEndian(b) : b => BinaryPrimitives.ReadInt32LittleEndian(b)),
        768 => (4, big ? b => BinaryPrimitives.ReadUInt32BigEndian(b) : b => BinaryPrimitives.ReadUInt32LittleEndian(b)),
        1024 => (8, big ? b => BinaryPrimitives.ReadInt64BigEndian(b) : b => BinaryPrimitives.ReadInt64LittleEndian(b)),
        1280 => (8, big ? b => BinaryPrimitives.ReadUInt64BigEndian(b) : b => BinaryPrimitives.ReadUInt64LittleEndian(b)),
        16 => (4, big ? b => BinaryPrimitives.ReadSingleBigEndian(b) : b => BinaryPrimitives.ReadSingleLittleEndian(b)),
        64 => (8, big ? b => BinaryPrimitives.ReadDoubleBigEndian(b) : b => BinaryPrimitives.ReadDoubleLittleEndian(b)),
        _ => throw new InvalidDataException($"{path} holds numbers of NIfTI type {type}: wanted 2, 4, 8, 16, 64, 256, 512, 768, 1024 or 1280 (integers of 8 to 64 bits, float32, float64)."),
    };

    // Where fields lie in either version of the header.
    sealed class Header
    {
        readonly byte[] bytes;
        readonly string path;
        readonly bool second;

        public Header(byte[] bytes, string path)
        {
            (this.bytes, this.path) = (bytes, path);
            var (little, big) = (BinaryPrimitives.ReadInt32LittleEndian(bytes), BinaryPrimitives.ReadInt32BigEndian(bytes));
            if (little is not (SizeOfHeader1 or SizeOfHeader2) && big is not (SizeOfHeader1 or SizeOfHeader2))
                throw new InvalidDataException($"{path} is no NIfTI file: found {little} at byte 0, wanted 348 or 540, the size of its header.");
            BigEndian = little is not (SizeOfHeader1 or SizeOfHeader2);
            second = (BigEndian ? big : little) == SizeOfHeader2;
            if (second && bytes.Length < SizeOfHeader2) throw new InvalidDataException($"{path} is cut short: found {bytes.Length} bytes, wanted a header of {SizeOfHeader2}. Get the file again.");
            var magic = System.Text.Encoding.Latin1.GetString(bytes, second ? 4 : 344, 3);
            if (magic != (second ? "n+2" : "n+1")) throw new InvalidDataException($"{path} has its numbers elsewhere or is no NIfTI file: found '{magic}' at byte {(second ? 4 : 344)}, wanted '{(second ? "n+2" : "n+1")}'. Convert it to one .nii file.");
        }

        public bool BigEndian { get; }
        public int DataType => Int16(second ? 12 : 70);
        public long DataStart => second ? Int64(168) : (long)Single(108);

        public int[] Extents()
        {
            var rank = second ? Int64(16) : Int16(40);
            if (rank is < 1 or > 7) throw new InvalidDataException($"{path} has rank {rank}: wanted 1 to 7.");
            var extents = Enumerable.Range(1, (int)rank).Select(axis => second ? Int64(16 + 8 * axis) : Int16(40 + 2 * axis)).ToArray();
            if (extents.Any(extent => extent is < 1 or > int.MaxValue)) throw new InvalidDataException($"{path} has extents {string.Join(" x ", extents)}: wanted 1 or more of each.");
            var used = extents.Length;
            while (used > 3 && extents[used - 1] == 1) used--;
            if (used > 4) throw new InvalidDataException($"{path} has {used} axes: wanted a volume or a series of volumes.");
            if (extents.Aggregate(1.0, (product, extent) => product * extent) > int.MaxValue) throw new InvalidDataException($"{path} has {string.Join(" x ", extents)} numbers: wanted fewer than 2^31.");
            return [.. extents.Take(used).Select(extent => (int)extent)];
        }

        public double[] Spacing(int rank) => [.. Enumerable.Range(1, rank).Select(axis => Math.Abs(second ? Double(104 + 8 * axis) : Single(76 + 4 * axis)))];

        // A slope of zero means: as they are.
        public (double Slope, double Intercept) Scale()
        {
            var (slope, intercept) = second ? (Double(176), Double(184)) : (Single(112), Single(116));
            return slope == 0 || !double.IsFinite(slope) || !double.IsFinite(intercept) ? (1, 0) : (slope, intercept);
        }

        /// <summary>By the s-form where the file has one, else by the q-form, else by spacing alone, as nifti1.h says.</summary>
        public double[] Affine()
        {
            var (qform, sform) = second ? (Int32(344), Int32(348)) : (Int16(252), Int16(254));
            if (sform > 0) return [.. Enumerable.Range(0, 12).Select(i => second ? Double(400 + 8 * i) : Single(280 + 4 * i))];
            var spacing = Spacing(3);
            if (qform <= 0) return [spacing[0], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[2], 0];
            double Q(int i) => second ? Double(352 + 8 * i) : Single(256 + 4 * i);
            var (b, c, d) = (Q(0), Q(1), Q(2));
            var a = Math.Sqrt(Math.Max(0, 1 - b * b - c * c - d * d));
            var z = spacing[2] * ((second ? Double(104) : Single(76)) < 0 ? -1 : 1);
            return
            [
                (a * a + b * b - c * c - d * d) * spacing[0], 2 * (b * c - a * d) * spacing[1], 2 * (b * d + a * c) * z, Q(3),
                2 * (b * c + a * d) * spacing[0], (a * a + c * c - b * b - d * d) * spacing[1], 2 * (c * d - a * b) * z, Q(4),
                2 * (b * d - a * c) * spacing[0], 2 * (c * d + a * b) * spacing[1], (a * a + d * d - b * b - c * c) * z, Q(5),
            ];
        }

        short Int16(int at) => BigEndian ? BinaryPrimitives.ReadInt16BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt16LittleEndian(bytes.AsSpan(at));
        int Int32(int at) => BigEndian ? BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at));
        long Int64(int at) => BigEndian ? BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at));
        double Single(int at) => BigEndian ? BinaryPrimitives.ReadSingleBigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadSingleLittleEndian(bytes.AsSpan(at));
        double Double(int at) => BigEndian ? BinaryPrimitives.ReadDoubleBigEndian(bytes.AsSpan(at)) : BinaryPrimitives.ReadDoubleLittleEndian(bytes.AsSpan(at));
    }
}
