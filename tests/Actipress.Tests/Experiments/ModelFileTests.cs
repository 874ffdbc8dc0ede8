using Actipress.Data;
using Actipress.Experiments;
using TorchSharp.PyBridge;
using static TorchSharp.torch;
using Module = TorchSharp.torch.nn.Module;
using Safetensors = Actipress.Experiments.Safetensors;

namespace Actipress.Tests.Experiments;

[MeasuresMemory]
public sealed class ModelFileTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static ModelDescription Description(string model = "unet3d", int features = 2) => new(
        model, "compressed", 1, 3, features,
        new(new Preparation { Window = [-160, 240], Spacing = [3, 1, 1] }, [32, 32, 32], Relabelling.Parse("4=2"),
            ["background", "left", "right"], ["T1"]),
        new() { Model = model, Data = "somewhere" }, 5, 0.875, Provenance.Here(), ["a", "b"], ["c"]);

    string Write(ModelDescription description)
    {
        random.manual_seed(3);
        using var model = description.Create();
        using var x = randn([1, 1, 32, 32, 32]);
        model.call(x).Dispose();    // changes the statistics of the batch norms
        return ModelFile.Write(Path.Combine(folder, "weights"), model, description);
    }

    [Fact]
    public void Both_formats_give_the_network_and_its_description_back()
    {
        var path = Write(Description());
        Assert.Equal(["weights.dat", "weights.json", "weights.safetensors"], Directory.GetFiles(folder).Select(Path.GetFileName).Order());
        using var scope = NewDisposeScope();
        var x = randn([1, 1, 32, 32, 32]);
        byte[][] outputs = [.. new[] { path, Path.ChangeExtension(path, ".dat") }.Select(file =>
        {
            var (model, description) = ModelFile.Read(file);
            using (model)
            {
                Assert.False(model.training);
                Assert.Equal(Json.Line(Description() with { Provenance = description.Provenance }), Json.Line(description));
                Assert.Equal(4, description.Scans!.Relabelling.ValueOf(2));
                return model.call(x).bytes.ToArray();
            }
        })];
        Assert.Equal(outputs[0], outputs[1]);
        // Other programs can read the file too.
        using var theirs = Description().Create();
        theirs.load_safetensors(path);
        theirs.eval();
        Assert.Equal(outputs[0], theirs.call(x).bytes.ToArray());
    }

    [Fact]
    public void Weights_of_another_network_are_refused()
    {
        var path = Write(Description(features: 4));
        using Module narrow = Description().Create(), wide = Description(features: 4).Create();
        var (_, tensors) = Allocated.Level();
        Safetensors.Read(path, wide);
        Assert.Contains("its down1.conv1.weight is F32 (4, 1, 3, 3, 3), and the network's Float32 (2, 1, 3, 3, 3)",
            Refusal(() => Safetensors.Read(path, narrow)), StringComparison.Ordinal);
        Assert.Equal(tensors, Tensor.TotalCount);
        using var other = Trainable.Find("lenet").Create(1, 10, 16);
        Assert.Contains("holds the weights of another network: it has no conv1.weight", Refusal(() => Safetensors.Read(path, other)),
            StringComparison.Ordinal);
        File.WriteAllText(Path.ChangeExtension(path, ".json"), Json.Document(Description()));
        Assert.Contains("does not hold the weights that its description tells of",
            Refusal(() => ModelFile.Read(Path.ChangeExtension(path, ".dat"))), StringComparison.Ordinal);
    }

    static string Refusal(Action read) => Assert.Throws<InvalidDataException>(read).Message;

    [Theory]
    [InlineData("missing", "No file")]
    [InlineData("ending", "is no file of weights: wanted .safetensors or .dat")]
    [InlineData("empty", "no whole .safetensors file: found 0 bytes")]
    [InlineData("header", "its header is")]
    [InlineData("json", "no whole .safetensors file")]
    [InlineData("cut", "no whole .safetensors file")]
    [InlineData("bare", "does not say of which network its weights are")]
    [InlineData("alone", "beside it: wanted the description")]
    [InlineData("unknown", "No network 'resnet19' to train")]
    public void What_is_no_file_of_weights_is_refused(string kind, string says)
    {
        var path = Write(Description());
        var bytes = File.ReadAllBytes(path);
        switch (kind)
        {
            case "missing": path = Path.Combine(folder, "none.safetensors"); break;
            case "ending": File.Move(path, path = Path.Combine(folder, "weights.pth")); break;
            case "empty": File.WriteAllBytes(path, []); break;
            case "header": File.WriteAllBytes(path, [.. BitConverter.GetBytes(long.MaxValue), .. bytes[8..]]); break;
            case "json": File.WriteAllBytes(path, [.. bytes[..9], (byte)'}', .. bytes[10..]]); break;
            case "cut": File.WriteAllBytes(path, bytes[..^100]); break;
            case "bare":
                using (var model = Description().Create()) model.save_safetensors(path);
                break;
            case "alone":
                File.Delete(Path.ChangeExtension(path, ".json"));
                path = Path.ChangeExtension(path, ".dat");
                break;
            case "unknown":
                File.WriteAllText(Path.ChangeExtension(path, ".json"),
                    Json.Document(Description()).Replace("unet3d", "resnet19", StringComparison.Ordinal));
                path = Path.ChangeExtension(path, ".dat");
                break;
        }
        Assert.Contains(says, Refusal(() => ModelFile.Read(path)), StringComparison.Ordinal);
    }
}
