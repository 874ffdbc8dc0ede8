using System.Buffers.Binary;

namespace Actipress.Data;

public static partial class Nifti
{
    /// <summary>
    /// Writes a mask, one class a voxel, in the space of a scan. The mask has the scan's own header with another number type, so that every
    /// program aligns the mask with the scan.
    /// </summary>
    /// <param name="path">The file, gzipped where its name ends in <c>.gz</c>; replaced when the new one is complete.</param>
    /// <param name="scan">The scan's file; either file of a pair.</param>
    /// <param name="labels">
    /// The labels, in the order in which <see cref="VolumeFiles"/> reads the scan: depth to the top, height to the front, width to the
    /// right.
    /// </param>
    /// <exception cref="InvalidDataException">The scan cannot be read.</exception>
    /// <exception cref="ArgumentException">The number of labels is not the number of voxels.</exception>
    public static void WriteMask(string path, string scan, ushort[] labels)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(scan);
        ArgumentNullException.ThrowIfNull(labels);
        var header = HeaderOf(scan);
        var extents = header.Extents();
        if (extents.Length < 3 || labels.LongLength != (long)extents[0] * extents[1] * extents[2])
            throw new ArgumentException($"{labels.Length} labels for {scan} of {string.Join(" x ", extents)}: wanted one a voxel.",
                nameof(labels));
        var orientation = Orientation.Of(header.Affine());
        var own = orientation.Inverse().Turn(labels, orientation.Turn(extents));
        var type = labels.Max() > byte.MaxValue ? NiftiType.UInt16 : NiftiType.UInt8;
        var bytes = new byte[type == NiftiType.UInt8 ? own.Length : 2L * own.Length];
        for (var voxel = 0; voxel < own.Length; voxel++)
            if (type == NiftiType.UInt8) bytes[voxel] = (byte)own[voxel];
            else if (header.BigEndian) BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(2 * voxel), own[voxel]);
            else BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2 * voxel), own[voxel]);
        WholeFile.Write(path, part =>
        {
            using var stream = Gzip.Create(part, path);
            stream.Write(header.OfMask(type));
            stream.Write(bytes);
        });
    }

    // The path without its ending; for a pair the path of either file.
    static NiftiHeader HeaderOf(string path)
    {
        path = Sibling(path, ".img", ".hdr") ?? path;
        if (!File.Exists(path)) throw new InvalidDataException($"No file {path}: wanted a NIfTI volume.");
        using var file = Gzip.Open(path);
        return NiftiHeader.Read(file, path);
    }
}
