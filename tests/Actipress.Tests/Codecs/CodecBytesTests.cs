using System.Security.Cryptography;
using Actipress.Benchmarks;
using Actipress.Encodings;
using Actipress.Transforms;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>
/// Checksums of the stored bytes of every codec on every awkward map and on every map of a trained network. The bytes change on purpose
/// only.
/// </summary>
public sealed class CodecBytesTests : IDisposable
{
    // The magic number and the version of the format precede the compared bytes.
    const int Before = 5;

    readonly int threads = get_num_threads();

    public CodecBytesTests() => set_num_threads(1);

    public void Dispose() => set_num_threads(threads);

    static readonly Lazy<IReadOnlyDictionary<(string Codec, string Maps), string>> golden = new(() =>
        File.ReadLines(TestData.Golden("codec_bytes.tsv")).Select(line => line.Split('\t'))
            .ToDictionary(columns => (columns[0], columns[1]), columns => columns[2]));

    public static IEnumerable<TheoryDataRow<string>> Codecs => CodecLaws.Table.Select(text => new TheoryDataRow<string>(text));

    [Theory, MemberData(nameof(Codecs))]
    public void Bytes_are_those_of_before(string text)
    {
        var found = Sums(ActivationCodec.Parse(text)).Select(sum => (Key: (text, sum.Maps), sum.Sum)).ToArray();
        if (Environment.GetEnvironmentVariable("ACTIPRESS_WRITE_GOLDEN") is { } file)
            File.AppendAllLines(file, found.Select(line => $"{text}\t{line.Key.Maps}\t{line.Sum}"));
        var other = found.Where(line => golden.Value.GetValueOrDefault(line.Key) != line.Sum).Select(line => line.Key.Maps).ToArray();
        Assert.True(
            other.Length == 0,
            $"'{text}' stores other bytes of {string.Join(", ", other)}. If that is meant, tests/Golden/make_codec_bytes.sh writes the new "
                + "checksums.");
    }

    static IEnumerable<(string Maps, string Sum)> Sums(ActivationCodec codec)
    {
        var turn = 0;
        yield return ("awkward maps", Of(() => AwkwardMap.All.SelectMany(map => CodecLaws.Types.Select(type => map.Tensor().to(type)))));
        yield return (
            "maps of trained networks",
            Of(() => RealMaps.Names.Select(name => RealMaps.Read(name).to(CodecLaws.Types[turn++ % CodecLaws.Types.Count]))));
        yield return (
            "large maps",
            Of(() => [RealMaps.ReadLarge("unet3d.down1.relu1", 2, 49, 50, 66), RealMaps.ReadLarge("resnet20.relu", 2, 300, 301)]));

        string Of(Func<IEnumerable<Tensor>> maps)
        {
            using var scope = NewDisposeScope();
            using var sum = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach (var map in maps())
            {
                using var packed = Pipeline.Pack(map, codec, out var why);
                sum.AppendData([(byte)why]);
                // Sums of torch's matrix products depend on the processor. The number of stored bytes does not.
                if (packed is not null)
                    sum.AppendData(IsTorchs(codec) ? BitConverter.GetBytes(packed.Bytes) : packed.ToBytes().AsSpan(Before));
            }
            return Convert.ToHexString(sum.GetHashAndReset())[..16];
        }
    }

    static bool IsTorchs(ActivationCodec codec) => codec.Encoding is not GridStorage && codec.Transform is not Identity;
}
