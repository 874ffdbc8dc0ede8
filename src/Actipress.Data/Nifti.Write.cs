using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Actipress.Data;

public static partial class Nifti
{
    const int HeaderBytes = 352, LargestExtent = short.MaxValue;

    /// <summary>
    /// Writes a volume as NIfTI-1, little-endian, with its affine in the s-form and without slope, so that reading gives the same values.
    /// </summary>
    /// <param name="path">The file, gzipped where its name ends in <c>.gz</c>; replaced when the new one is complete.</param>
    /// <param name="volume">The volume to write.</param>
    /// <param name="type">The number type in the file: <see cref="NiftiType.UInt8"/> for masks and predictions.</param>
    /// <exception cref="ArgumentException">The type cannot hold a value, or the format an extent; the message says which.</exception>
    public static void Write(string path, Volume volume, NiftiType type = NiftiType.Float32)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(volume);
        if (volume.Extents.Length is < 1 or > 4 || volume.Extents.Any(extent => extent is < 1 or > LargestExtent))
            throw new ArgumentException($"A volume of {string.Join(" x ", volume.Extents)} cannot be written to {path}: wanted 1 to 4 axes "
                + $"of 1 to {LargestExtent}.", nameof(volume));
        if (volume.Values.LongLength != volume.Extents.Aggregate(1L, (product, extent) => product * extent))
            throw new ArgumentException(
                $"A volume of {string.Join(" x ", volume.Extents)} has {volume.Values.LongLength} values: wanted one a voxel.",
                nameof(volume));
        WholeFile.Write(path, part =>
        {
            using var stream = Gzip.Create(part, path);
            stream.Write(Header(volume, type, Size(type, path)));
            switch (type)
            {
                case NiftiType.UInt8: Numbers<byte>(stream); break;
                case NiftiType.Int8: Numbers<sbyte>(stream); break;
                case NiftiType.Int16: Numbers<short>(stream); break;
                case NiftiType.UInt16: Numbers<ushort>(stream); break;
                case NiftiType.Int32: Numbers<int>(stream); break;
                case NiftiType.UInt32: Numbers<uint>(stream); break;
                case NiftiType.Int64: Numbers<long>(stream); break;
                case NiftiType.UInt64: Numbers<ulong>(stream); break;
                case NiftiType.Float32: Numbers<float>(stream); break;
                case NiftiType.Float64: Numbers<double>(stream); break;
            }
        });

        void Numbers<T>(Stream stream) where T : unmanaged, INumberBase<T>
        {
            var slice = new T[64 * 1024];
            foreach (var chunk in volume.Values.Chunk(slice.Length))
            {
                for (var i = 0; i < chunk.Length; i++)
                {
                    slice[i] = T.CreateSaturating(chunk[i]);
                    if (double.CreateTruncating(slice[i]) != chunk[i] && !float.IsNaN(chunk[i])
                        || float.IsNaN(chunk[i]) && !T.IsNaN(slice[i]))
                        throw new ArgumentException(
                            $"{path} cannot hold {chunk[i]} as {type}: wanted a type that can, such as {NiftiType.Float32}.", nameof(type));
                }
                stream.Write(MemoryMarshal.AsBytes(slice.AsSpan(0, chunk.Length)));
            }
        }
    }

    static byte[] Header(Volume volume, NiftiType type, int size)
    {
        var header = new byte[HeaderBytes];
        Int32(0, 348);
        Int16(40, (short)volume.Extents.Length);
        for (var axis = 1; axis <= 7; axis++)
            Int16(40 + 2 * axis, axis <= volume.Extents.Length ? (short)volume.Extents[axis - 1] : (short)1);
        Int16(70, (short)type);
        Int16(72, (short)(8 * size));
        for (var axis = 0; axis <= 7; axis++)
            Single(76 + 4 * axis, axis > 0 && axis <= volume.Spacing.Length ? volume.Spacing[axis - 1] : 1);
        Single(108, HeaderBytes);
        Single(112, 1);
        header[123] = 2 + 8;    // mm and s
        Int16(254, 1);          // the s-form holds: scanner coordinates
        for (var i = 0; i < 12; i++) Single(280 + 4 * i, volume.Affine.Rows[i]);
        "n+1"u8.CopyTo(header.AsSpan(344));
        return header;

        void Int16(int at, short value) => BinaryPrimitives.WriteInt16LittleEndian(header.AsSpan(at), value);
        void Int32(int at, int value) => BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(at), value);
        void Single(int at, double value) => BinaryPrimitives.WriteSingleLittleEndian(header.AsSpan(at), (float)value);
    }
}
