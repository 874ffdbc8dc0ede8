using Actipress.Data;
using Actipress.Experiments;
using SkiaSharp;
using static TorchSharp.torch;

namespace Actipress.Fuzz;

/// <summary>A reader of foreign bytes, and its contract: it returns, or it throws what its documentation names.</summary>
/// <param name="Name">The target's name in <c>./dev fuzz</c>.</param>
/// <param name="LargestInput">The largest input in bytes. More bytes do not get a fuzzer further.</param>
/// <param name="MemoryPerByte">
/// The bytes that the reader may allocate for each byte that it reads, beside <see cref="MemoryAtLeast"/>.
/// </param>
/// <param name="Read">Reads the bytes and disposes the result.</param>
/// <param name="Refusals">The exceptions that the reader's documentation names.</param>
/// <param name="Seeds">Whole examples to begin with, which the project's own writers make.</param>
sealed record Target(
    string Name, int LargestInput, long MemoryPerByte, Action<byte[], Scratch> Read, Type[] Refusals,
    Func<Scratch, IEnumerable<byte[]>> Seeds)
{
    /// <summary>The bytes that a reader may allocate for any input.</summary>
    public const long MemoryAtLeast = 16 << 20;

    static readonly Type[] invalidData = [typeof(InvalidDataException)],
        asConfigurations = [.. invalidData, typeof(ArgumentException), typeof(FormatException)];

    /// <summary>All targets. A line here adds one.</summary>
    public static IReadOnlyList<Target> All { get; } =
    [
        // A map may have 2^16 elements for each byte of its file, and is rebuilt in float32 before it gets its type.
        new("packed", 1024, 8L << 18, ReadPacked, invalidData, PackedMaps),
        new("codec", 256, 1 << 12, (bytes, _) => ReadCodec(Text(bytes)), [typeof(FormatException)], _ => Texts(Codecs)),
        new(
            "layers", 256, 1 << 12, (bytes, _) => LayerSet.Parse(Text(bytes), Trainable.Find("resnet20")), [typeof(ArgumentException)],
            _ => Texts(Layers)),
        new("nifti", 4096, 1 << 6, ReadNifti, invalidData, Volumes),
        new("labels", 4096, 1 << 8, (bytes, scratch) => ReadLabels(scratch.Write("volume.nii", bytes)), invalidData, Volumes),
        new(
            "decathlon", 2048, 1 << 12, (bytes, scratch) => Decathlon.Open(scratch.Only("dataset.json", bytes)), invalidData,
            _ => Texts(Task)),
        // Deflate expands one byte to up to 1032, in a buffer that doubles as it grows.
        new("gzip", 4096, 1 << 13, (bytes, scratch) => Gzip.All(scratch.Write("content.gz", bytes)), invalidData, PackedVolumes),
        new("nifti-gz", 4096, 1 << 14, (bytes, scratch) => Nifti.Read(scratch.Write("volume.nii.gz", bytes)), invalidData, PackedVolumes),
        new("npy", 1024, 1 << 6, ReadNpy, invalidData, Arrays),
        new("idx", 1024, 1 << 6, (bytes, scratch) => Mnist.Load(scratch.Only("train-images-idx3-ubyte", bytes)), invalidData, _ => Digits),
        new(
            "cifar10", 8192, 1 << 6, (bytes, scratch) => Cifar10.Load(scratch.Only("data_batch_1.bin", bytes)), invalidData,
            _ => [Cifar([9], [3])]),
        new(
            "cifar100", 8192, 1 << 6, (bytes, scratch) => Cifar100.Load(scratch.Only("train.bin", bytes)), invalidData,
            _ => [Cifar([19, 99], [0, 7])]),
        // A PNG of one bit a pixel has up to 8 x 1032 pixels a byte; each becomes four bytes and then three floats.
        new(
            "png", 2048, 1 << 18, (bytes, scratch) => ReadPicture(PngChecksums.Mended(bytes), scratch), invalidData,
            _ => Pictures(SKEncodedImageFormat.Png)),
        new("jpeg", 2048, 1 << 18, ReadPicture, invalidData, _ => Pictures(SKEncodedImageFormat.Jpeg)),
        new(
            "config", 2048, 1 << 14, (bytes, scratch) => SweepConfig.Read(scratch.Write("config.json", bytes)).Plans(), asConfigurations,
            _ => Texts(Configurations)),
        new(
            "results", 4096, 1 << 12, ReadResults, invalidData,
            _ => Texts(FinishedRun + "\n", "5\n[]\n{\"kind\":\"run\"}\n" + FinishedRun)),
        new("pieces", 2048, 1 << 12, (bytes, scratch) => StoredPiece.Read(Results(bytes, scratch)), invalidData, _ => Texts(Piece)),
        new("codec-table", 2048, 1 << 12, ReadCodecTable, invalidData, _ => Texts(Measurements)),
        new("state", 1024, 1 << 16, TrainingStates.Read, invalidData, TrainingStates.Seeds),
    ];

    /// <summary>Reads bytes within the contract. A breach of the contract throws.</summary>
    /// <returns>The exception with which the reader refused the bytes; null where it read them.</returns>
    public Exception? Run(byte[] bytes, Scratch scratch)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            Read(bytes, scratch);
            return null;
        }
        catch (Exception refusal) when (Refusals.Contains(refusal.GetType())) { return refusal; }
        finally
        {
            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            if (allocated > MostMemory(bytes))
                throw new InsufficientMemoryException($"'{Name}' allocated {allocated} bytes for {bytes.Length}: wanted at most "
                    + $"{MostMemory(bytes)}.");
        }
    }

    /// <summary>The bytes that may be allocated for an input.</summary>
    public long MostMemory(byte[] bytes) => MemoryAtLeast + MemoryPerByte * bytes.Length;

    static string Text(byte[] bytes) => System.Text.Encoding.UTF8.GetString(bytes);

    static IEnumerable<byte[]> Texts(params string[] texts) => texts.Select(System.Text.Encoding.UTF8.GetBytes);

    static void ReadPacked(byte[] bytes, Scratch scratch)
    {
        using var packed = PackedMap.FromBytes(bytes);
        using var map = packed.Unpack();
        if (!map.shape.SequenceEqual(packed.Shape) || map.dtype != packed.Type)
            throw new InvalidOperationException($"Unpacked {map}, wanted {string.Join(" x ", packed.Shape.ToArray())} of {packed.Type}.");
    }

    static IEnumerable<byte[]> PackedMaps(Scratch scratch)
    {
        string[] codecs =
        [
            "dct:10", "dct:4,block=4", "wt:haar:10", "wt:db3:4", "st:10", "st:10,zeros=none", "quant:2", "half", "bf16",
            "st:10,storage=paper", "dct:10,storage=compact", "exact", "st:4,index=byte,values=float16",
        ];
        (long[], ScalarType)[] maps =
            [
            ([1, 2, 8, 9], ScalarType.Float32), ([2, 3, 4, 5], ScalarType.Float16), ([1, 1, 3, 4, 5], ScalarType.Float64),
            ([3, 37], ScalarType.BFloat16),
            ];
        random.manual_seed(1);
        foreach (var codec in codecs)
            foreach (var (shape, type) in maps)
            {
                using var scope = NewDisposeScope();
                var map = randn(shape).relu().to(type);
                using var packed = Pipeline.Pack(map, ActivationCodec.Parse(codec) with { EvenIfLarger = true }, out _)!;
                yield return packed.ToBytes();
            }
    }

    static string[] Codecs =>
    [
        .. ActivationCodec.Known.Select(known => known.Example), "dct:10,block=8", "wt:coif5:2,levels=5,storage=compact",
        "st:4,values=float16,index=bitmap", "dct:1e3,storage=paper,zeros=exact", "quant:8,zeros=none",
    ];

    static string[] Layers => ["all", "relu1", "block0", "block0-2:bn", "block1-block2,conv*:conv+bn+relu", "layer?.relu, head.*"];

    static void ReadCodec(string text)
    {
        var codec = ActivationCodec.Parse(text);
        var again = ActivationCodec.Parse(codec.ToString());
        if (again != codec) throw new InvalidOperationException($"'{text}' was read as '{codec}', which is read as '{again}'.");
    }

    // Both files of a pair consist of these bytes.
    static void ReadNifti(byte[] bytes, Scratch scratch)
    {
        var isPair = bytes.AsSpan().IndexOf("ni1"u8) == 344 || bytes.AsSpan().IndexOf("ni2"u8) == 4;
        if (isPair) scratch.Write("volume.img", bytes);
        Nifti.Read(scratch.Write(isPair ? "volume.hdr" : "volume.nii", bytes));
    }

    static void ReadLabels(string path) => new VolumeFiles("volumes", [new("volume", [path], [path])], channels: 1, classes: 4).Read(0);

    static IEnumerable<byte[]> Volumes(Scratch scratch) => Volumes(scratch, ".nii");

    static IEnumerable<byte[]> PackedVolumes(Scratch scratch) => Volumes(scratch, ".nii.gz");

    static IEnumerable<byte[]> Volumes(Scratch scratch, string ending)
    {
        (int[], NiftiType)[] volumes =
            [
            ([2, 3, 4], NiftiType.UInt8), ([4, 2, 2, 2], NiftiType.Int16), ([2, 2, 2], NiftiType.Float64), ([3, 2], NiftiType.Float32),
            ([2, 2, 1], NiftiType.UInt64),
            ];
        foreach (var (extents, type) in volumes)
        {
            var path = Path.Combine(scratch.Folder, "seed" + ending);
            float[] values =
                [.. Enumerable.Range(0, extents.Aggregate(1, (product, extent) => product * extent)).Select(i => (float)(i % 3))];
            Nifti.Write(path, new(values, extents, [1, 1, 1], Affine.Of(1, 1, 2)), type);
            yield return File.ReadAllBytes(path);
        }
    }

    const string Task = """
        {"name":"HIP","modality":{"0":"MRI"},"labels":{"0":"back","1":"front"},
         "training":[{"image":"./imagesTr/a.nii.gz","label":"./labelsTr/a.nii.gz"}]}
        """;

    static void ReadNpy(byte[] bytes, Scratch scratch)
    {
        using var array = Npy.Read(bytes, "array.npy");
        if (array.NumberOfElements > bytes.Length)
            throw new InvalidOperationException($"{array.NumberOfElements} elements of {bytes.Length} bytes.");
    }

    static IEnumerable<byte[]> Arrays(Scratch scratch)
    {
        (long[], ScalarType)[] arrays =
        [
            ([2, 3], ScalarType.Float32), ([5], ScalarType.Float16), ([], ScalarType.Float32), ([0, 4], ScalarType.Float32),
        ];
        foreach (var (shape, type) in arrays)
        {
            var path = Path.Combine(scratch.Folder, "seed.npy");
            using (var array = ones(shape, type)) Npy.Write(path, array);
            yield return File.ReadAllBytes(path);
        }
        foreach (var type in (string[])["<f8", "|u1", "|i1", "<u2", "<i2", "<i4", "<i8"])
        {
            var header = $"{{'descr': '{type}', 'fortran_order': False, 'shape': (2,), }}".PadRight(63) + "\n";
            yield return [0x93, .. "NUMPY"u8, 2, 0, 64, 0, 0, 0, .. System.Text.Encoding.Latin1.GetBytes(header), .. new byte[16]];
        }
    }

    static byte[][] Digits =>
        [[0, 0, 8, 3, 0, 0, 0xEA, 0x60, 0, 0, 0, 28, 0, 0, 0, 28, .. new byte[64]], [0, 0, 8, 1, 0, 0, 0xEA, 0x60, 1, 2, 3]];

    // Makes images with these labels.
    static byte[] Cifar(params byte[][] labels) => [.. labels.SelectMany(label => (byte[])[.. label, .. new byte[3072]])];

    static void ReadPicture(byte[] bytes, Scratch scratch)
    {
        using var picture = Picture.Read(scratch.Write("picture", bytes));
    }

    static IEnumerable<byte[]> Pictures(SKEncodedImageFormat format)
    {
        foreach (var type in (SKColorType[])[SKColorType.Rgba8888, SKColorType.Gray8])
        {
            using var bitmap = new SKBitmap(5, 3, type, SKAlphaType.Opaque);
            bitmap.Erase(SKColors.Coral);
            using var data = bitmap.Encode(format, 80);
            yield return data.ToArray();
        }
    }

    static string[] Configurations =>
    [
        """
        {"model": "lenet", "epochs": 1, "batch": 8, "learning_rate": 0.001, "schedule": "cosine", "seeds": [1], "layers": ["all"],
         "codecs": ["none", "dct:{ratio}"], "ratios": [4, 10], "train_examples": 64, "test_examples": 8}
        """,
        """
        {"model": "unet3d", "codecs": ["none"], "loss": "dice", "augmentation": "brats", "extents": [16, 32, 16], "features": 4,
         "data": "volumes", "layers": ["block0"], /* why */ "seeds": [1, 2],}
        """,
    ];

    // This is a finished training of the first configuration.
    static string FinishedRun
    {
        get
        {
            var plan = Json.ReadStrictly<SweepConfig>(Configurations[0]).Plans()[0];
            var result = new RunResult(0.5, null, 0.6, null, 0.7, 1, 100, 200, 100, 10, 0.4, 0.99, 1);
            return Json.Line(new SweepRun(
                "run", plan.Key(), plan, result, [new(0.7, 0.5, null)], 1, 2, new("AMD", 2, "abc", "0.107.0", ".NET 10", new(2026, 1, 1))));
        }
    }

    static ResultsFile Results(byte[] bytes, Scratch scratch) => new(scratch.Only("results.jsonl", bytes));

    // The sweep is made once, because it builds each network.
    static void ReadResults(byte[] bytes, Scratch scratch)
    {
        var sweep = scratch.Keep(() => new Sweep(scratch.Write("config.json", System.Text.Encoding.UTF8.GetBytes(Configurations[0]))));
        Results(bytes, scratch);
        sweep.Remaining();
        SweepSummary.Of(sweep);
    }

    const string Here =
        """ "provenance":{"machine":"AMD","cores":2,"torch_sharp":"0.107.0","commit":"abc","measured_at":"2026-01-01T00:00:00Z"}}""" + "\n";

    const string Piece = """{"kind":"piece","key":"a","result":[1],""" + Here;

    static void ReadCodecTable(byte[] bytes, Scratch scratch) =>
        CodecTable.Write(Results(bytes, scratch).Lines().Select(line => line.GetRawText()));

    static string[] Measurements =>
    [
        """{"kind":"codecs","result":{"codec":"dct:10","map":"resnet20.relu","pack_ms":1,"unpack_ms":2,"clone_ms":3,"clones":1,""" +
        """ "bytes_per_element":0.2,"psnr_db":30},""" + Here,
        """{"kind":"steps","result":{"network":"lenet","codec":"dct:10","ratio":1.1,"saved_bytes":100,"kept_bytes":10},""" + Here,
        """{"kind":"scaling","result":{"codec":"dct:10","threads":2,"elements":1048576,"pack_ms":1,"unpack_ms":2,"clones":1},""" + Here,
    ];
}
