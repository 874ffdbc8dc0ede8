using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Security.Cryptography;
using Actipress.Encodings;
using Actipress.Grid;
using Actipress.Machine;
using Actipress.Maps;
using static TorchSharp.torch;

namespace Actipress.Tests.Codecs;

/// <summary>
/// Bytes and values do not depend on the processor. They are the same with instruction sets switched off, each in a process of its own.
/// </summary>
public class InstructionSetTests
{
    const string Nothing = "nothing", Wanted = "ACTIPRESS_TEST_SET", Mark = "sum ";

    static readonly Lazy<string[]> withEverything = new(() => SumsWithout(Nothing));

    [Theory, InlineData(Nothing), InlineData("EnableAVX512"), InlineData("EnableAVX2"), InlineData("EnableAVX")]
    [InlineData("EnableHWIntrinsic")]
    public void Bytes_and_values_are_the_same_without(string set)
    {
        Assert.NotEmpty(withEverything.Value);
        if (set != Nothing) Assert.Equal(withEverything.Value, (IEnumerable<string>)SumsWithout(set));
    }

    static string[] SumsWithout(string set)
    {
        var child = ChildProcess.RunScenario(
            typeof(Scenario), nameof(Scenario.Sums_of_everything), (Wanted, set), ($"DOTNET_{set}", "0"), ("OMP_NUM_THREADS", "1"));
        return [.. child.Output.Split('\n').Where(line => line.StartsWith(Mark, StringComparison.Ordinal))];
    }

    public class Scenario
    {
        [Fact(Explicit = true)]
        public void Sums_of_everything()
        {
            // The runtime silently ignores a switch that it does not know.
            var face = Avx2.IsSupported ? "Vector256" : "Vector128";
            switch (Environment.GetEnvironmentVariable(Wanted))
            {
                case "EnableAVX512": Assert.False(Avx512F.IsSupported); break;
                case "EnableAVX2": Assert.False(Avx2.IsSupported || Bmi2.X64.IsSupported); break;
                case "EnableAVX": Assert.False(Avx.IsSupported || Fma.IsSupported); break;
                case "EnableHWIntrinsic":
                    Assert.False(Vector128.IsHardwareAccelerated || Sse.IsSupported);
                    face = "plain";
                    break;
                default:
                    if (Vector512.IsHardwareAccelerated) face = "Vector512";
                    break;
            }
            Assert.Equal(face, Specialised.Width);
            foreach (var sum in Sums()) Console.WriteLine(sum);
        }
    }

    // Prints a line for each codec: SHA-256 of all packed bytes, and of all unpacked values.
    static string[] Sums()
    {
        var sums = new List<string>();
        using var everything = NewDisposeScope();
        Tensor[] maps = [.. AwkwardMap.All.Select(map => map.Tensor())];
        foreach (var text in CodecLaws.Table)
        {
            var codec = ActivationCodec.Parse(text);
            using IncrementalHash bytes = IncrementalHash.CreateHash(HashAlgorithmName.SHA256),
                values = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (var i = 0; i < maps.Length; i++)
            {
                // Each codec and each map occurs with every type.
                using var scope = NewDisposeScope();
                using var packed = Pipeline.Pack(maps[i].to(CodecLaws.Types[(i + sums.Count) % CodecLaws.Types.Count]), codec, out var why);
                bytes.AppendData([(byte)why]);
                if (packed is null) continue;
                bytes.AppendData(packed.ToBytes());
                Append(values, packed.Unpack());
            }
            Add(text, bytes, values);
        }
        for (var i = 0; i < maps.Length; i++)
        {
            using var scope = NewDisposeScope();
            using IncrementalHash inside = IncrementalHash.CreateHash(HashAlgorithmName.SHA256),
                indices = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var x = maps[i].clone();
            if (x.NumberOfElements > 8) x.view(-1)[3] = float.NaN;
            using var bits = ExactBits.PackInside(x, -0.5f, 0.5f);
            Append(inside, bits.Unpack().to(float32));
            Append(inside, bits.UnpackAs(1.5f, -0f));
            if (x.dim() == 4 && x.shape[2] > 1 && x.shape[3] > 1)
            {
                var pooled = nn.functional.max_pool2d_with_indices(maps[i], [2, 2]).indices;
                using var packed = ExactIndices.Pack(pooled);
                indices.AppendData(BitConverter.GetBytes(packed?.Bytes ?? 0));
                if (packed is not null) Append(indices, packed.Unpack());
            }
            Add($"bits and indices of {AwkwardMap.All[i]}", inside, indices);

            // These are a ReLU's result whose argument is rebuilt with an error, and a normalised map.
            var map = maps[i].to(float32).reshape(-1);
            var (argument, rebuilt) = (map.clone(), map.Mul(0.9).Add(map.roll(1, 0).Mul(0.1)));
            ChannelScale.Apply(argument, tensor(new[] { 0.5f, -2, 3 }), tensor(new[] { 0.1f, 0, -1 }), 13);
            Append(inside, argument);
            var (result, whole) = (map.relu(), MapRange.Whole(MapShape.Of(map.shape), 0, 1));
            using var signs = SignsInDoubt.Pack(result, RebuiltSample.Of(result, [whole], _ => rebuilt.alias()), _ => rebuilt.alias());
            indices.AppendData(BitConverter.GetBytes(signs?.Bytes ?? 0));
            if (signs is not null)
            {
                signs.Rectify(rebuilt, whole);
                Append(indices, rebuilt);
            }
            Add($"channels and signs of {AwkwardMap.All[i]}", inside, indices);
        }
        return [.. sums];

        void Add(string what, IncrementalHash first, IncrementalHash second) =>
            sums.Add($"{Mark}{what}: {Convert.ToHexString(first.GetHashAndReset())[..16]} "
                + $"{Convert.ToHexString(second.GetHashAndReset())[..16]}");

        static void Append(IncrementalHash hash, Tensor values) =>
            hash.AppendData(MemoryMarshal.AsBytes<double>(values.to(float64).view(-1).data<double>().ToArray()));
    }
}
