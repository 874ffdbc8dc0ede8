using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Actipress.Data;
using static TorchSharp.torch;

namespace Actipress.Tests.Cli;

/// <summary>The command line, started as a user starts it.</summary>
public sealed class CliTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    static ChildProcess.Ended Run(params string[] args) => ChildProcess.Run([.. ChildProcess.Cli, .. args]);

    [Fact]
    public void Train_prints_one_document_and_keeps_every_result()
    {
        var ended = Run("train", "--model", "lenet", "--epochs", "1", "--batch", "400", "--json", "--out", folder);
        Assert.True(ended.ExitCode == 0, ended.All);
        var result = JsonDocument.Parse(ended.Output).RootElement;
        foreach (var key in (string[])["model", "data", "codec", "layers", "epochs", "seed"])
            Assert.True(result.TryGetProperty(key, out _), key);
        foreach (var run in (string[])["baseline", "compressed"])
            foreach (var key in (string[])["test_accuracy", "train_loss", "step_ms", "after_forward_bytes", "peak_bytes"])
                Assert.True(result.GetProperty(run).GetProperty(key).GetDouble() > 0, $"{run}.{key}");
        foreach (var key in (string[])["saved_bytes", "kept_bytes", "bytes_per_element", "gradient_cosine", "gradient_norm_ratio"])
            Assert.True(result.GetProperty("compressed").GetProperty(key).GetDouble() > 0, key);
        Assert.Contains("test accuracy", ended.Error, StringComparison.Ordinal);
        Assert.Equal(["epoch", "epoch", "train"], Lines().Select(line => line.GetProperty("kind").GetString()));
    }

    [Fact]
    public void The_first_command_shows_that_memory_falls_and_says_so_in_a_sentence()
    {
        var ended = Run("train", "--epochs", "1", "--train-examples", "64", "--test-examples", "40", "--out", folder);
        Assert.True(ended.ExitCode == 0, ended.All);
        var peaks = System.Text.RegularExpressions.Regex.Match(ended.Output, "peak memory of a step *│ *([0-9.]+) MiB *│ *([0-9.]+) MiB");
        Assert.True(peaks.Success, ended.Output);
        var (plain, compressed) = (
            double.Parse(peaks.Groups[1].Value, CultureInfo.InvariantCulture),
            double.Parse(peaks.Groups[2].Value, CultureInfo.InvariantCulture));
        Assert.True(compressed < 0.6 * plain, $"{compressed} and {plain} MiB");
        Assert.Contains(
            $"Compressed, resnet20 needs {peaks.Groups[2]} MiB at the peak of a step in place of {peaks.Groups[1]} MiB", ended.Output,
            StringComparison.Ordinal);
        foreach (var word in (string[])[
            "derived ", "signs ", "one in 3 of their DCT coefficients", "Next:\n  ./actipress train --codec dct:4\n",
        ])
            Assert.Contains(word, ended.Output, StringComparison.Ordinal);
        Assert.Contains("layer1.0.bn1 (BatchNorm2d)", File.ReadAllText(Path.Combine(folder, "layers.txt")), StringComparison.Ordinal);
    }

    [Fact]
    public void Memory_predicts_without_running_and_refuses_what_does_not_fit()
    {
        var predicted = Run("memory", "ResNet20", "--batch", "512", "--predict", "--json");
        Assert.True(predicted.ExitCode == 0, predicted.All);
        var result = JsonDocument.Parse(predicted.Output).RootElement;
        Assert.True(result.GetProperty("compressed").GetProperty("peak_bytes").GetInt64() < result.GetProperty("baseline")
            .GetProperty("peak_bytes").GetInt64());

        var tooLarge = Run("memory", "ResNet20", "--batch", "10000000");
        Assert.Equal(2, tooLarge.ExitCode);
        Assert.Contains("available", tooLarge.Error, StringComparison.Ordinal);
    }

    List<JsonElement> Lines() =>
        [.. File.ReadLines(Path.Combine(folder, "results.jsonl")).Select(line => JsonDocument.Parse(line).RootElement)];

    [Fact]
    public void A_segmentation_prints_its_DSC_and_logs_for_TensorBoard()
    {
        var ended = Run(
            "train", "--model", "unet3d", "--features", "4", "--epochs", "1", "--train-examples", "4", "--test-examples", "2", "--extents",
            "16x32x16", "--json", "--out", folder, "--tensorboard", Path.Combine(folder, "logs"));
        Assert.True(ended.ExitCode == 0, ended.All);
        var result = JsonDocument.Parse(ended.Output).RootElement;
        foreach (var run in (string[])["baseline", "compressed"])
        {
            Assert.InRange(result.GetProperty(run).GetProperty("test_dsc").GetDouble(), 0, 1);
            Assert.False(result.GetProperty(run).TryGetProperty("test_accuracy", out _));
        }
        Assert.Equal("unet3d", result.GetProperty("model").GetString());
        Assert.Equal(2, Directory.GetDirectories(Path.Combine(folder, "logs")).Length);
    }

    [Fact]
    public void After_volumes_of_ones_own_the_next_command_writes_their_masks()
    {
        string In(params string[] parts) => Path.Combine([folder, "my scans", .. parts]);
        foreach (var part in (string[])["imagesTr", "labelsTr"]) Directory.CreateDirectory(In(part));
        Affine upright = new([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]);
        for (var seed = 0; seed < 3; seed++)
        {
            var random = new Random(seed);
            var label = Enumerable.Range(0, 32 * 32 * 16).Select(i => i % 32 / 16 == seed % 2 ? 1f : 0).ToArray();
            var image = label.Select(value => 2 * value + random.NextSingle()).ToArray();
            Nifti.Write(In("imagesTr", $"c{seed}.nii.gz"), new(image, [32, 32, 16], [1, 1, 1], upright));
            Nifti.Write(In("labelsTr", $"c{seed}.nii.gz"), new(label, [32, 32, 16], [1, 1, 1], upright), NiftiType.UInt8);
        }
        var ended = Run(
            "train", "--data", In(), "--epochs", "1", "--batch", "1", "--features", "2", "--patch", "16x32x32", "--out", In("runs"));
        Assert.True(ended.ExitCode == 0, ended.All);
        var next = ended.Output[ended.Output.IndexOf("Next:", StringComparison.Ordinal)..].Split('\n', StringSplitOptions.TrimEntries)[1..];
        Assert.Equal(
            [$"./actipress train --data \"{In()}\" --codec dct:4", $"./actipress train --data \"{In()}\" --memory 8GiB"], next[1..3]);

        var weights = next[0].Split('"')[1];
        Assert.Equal($"./actipress predict --weights \"{weights}\" --images FOLDER --out masks", next[0]);
        var predicted = Run("predict", "--weights", weights, "--images", In("imagesTr"), "--out", In("masks"));
        Assert.True(predicted.ExitCode == 0, predicted.All);
        Assert.Equal(3, Directory.GetFiles(In("masks"), "c?.nii.gz").Length);
    }

    [Fact]
    public void Ctrl_C_ends_training_and_keeps_what_was_done()
    {
        // A shell's background job ignores the signal, and so does every process that it starts.
        using var training = ChildProcess.Start([
            "env", "--default-signal=INT", .. ChildProcess.Cli, "train", "--model", "lenet", "--epochs", "1000", "--batch", "400", "--out",
            folder,
        ]);
        try
        {
            var path = Path.Combine(folder, "results.jsonl");
            Assert.True(
                SpinWait.SpinUntil(() => File.Exists(path) && File.ReadAllLines(path).Length >= 2, TimeSpan.FromMinutes(2)),
                "No epoch was done.");
            PressCtrlC(training);
        }
        catch
        {
            training.Kill(entireProcessTree: true);
            throw;
        }
        var ended = ChildProcess.Wait(training);
        Assert.True(ended.ExitCode == 130, ended.All);
        Assert.Contains("(interrupted)", ended.Output, StringComparison.Ordinal);
        Assert.Contains("with --resume goes on", ended.Error, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(folder, "training.state")));
        Assert.Equal("train", Lines()[^1].GetProperty("kind").GetString());
    }

    // The step takes twelve seconds of one core. Four of them suffice to show that it does not continue.
    static readonly string[] longStep =
    [
        "train", "--model", "unet3d", "--extents", "96x96x96", "--features", "32", "--batch", "2", "--train-examples", "2",
        "--test-examples", "1",
    ];

    static Process WithDefaultSignal(params string[] arguments) =>
        ChildProcess.Start(["env", "--default-signal=INT", "OMP_NUM_THREADS=1", .. ChildProcess.Cli, .. arguments]);

    // Kills the process if it still computes.
    static ChildProcess.Ended EndsAtOnce(Process process)
    {
        var (most, begun) = (TimeSpan.FromSeconds(4), Used());
        while (!process.WaitForExit(TimeSpan.FromMilliseconds(50)) && Used() - begun < most) { }
        if (!process.HasExited) process.Kill();
        return ChildProcess.Wait(process);

        TimeSpan Used()
        {
            process.Refresh();
            try { return process.TotalProcessorTime; }
            catch (InvalidOperationException) { return TimeSpan.Zero; }    // the process has just ended
        }
    }

    [Fact]
    public void The_first_Ctrl_C_says_that_the_step_ends_and_a_second_one_ends_it_at_once()
    {
        using var training = WithDefaultSignal([.. longStep, "--out", folder]);
        Assert.StartsWith("unet3d on generated volumes", training.StandardError.ReadLine(), StringComparison.Ordinal);
        PressCtrlC(training);
        Assert.Equal("Ending after this step; Ctrl-C again to end now.", training.StandardError.ReadLine());
        Assert.False(training.HasExited);
        PressCtrlC(training);
        var ended = EndsAtOnce(training);
        Assert.True(ended.ExitCode == 130, ended.All);
        Assert.Equal("Interrupted.\n", ended.Error);
        Assert.Equal("", ended.Output);
    }

    [Fact]
    public void A_command_that_has_nothing_to_keep_ends_at_the_first_Ctrl_C()
    {
        using var measuring = WithDefaultSignal("memory", "UNet3D", "--batch", "2");
        Assert.NotNull(measuring.StandardError.ReadLine());    // its progress shows that it is at work
        PressCtrlC(measuring);
        var ended = EndsAtOnce(measuring);
        Assert.True(ended.ExitCode == 130, ended.All);
        Assert.EndsWith("Interrupted.\n", ended.Error, StringComparison.Ordinal);
        Assert.Equal("", ended.Output);
    }

    static void PressCtrlC(Process process)
    {
        using var kill = Process.Start("kill", ["-INT", $"{process.Id}"]);
        kill.WaitForExit();
    }

    [Fact]
    public void Compress_measures_an_array_and_writes_it()
    {
        var array = Path.Combine(folder, "map.npy");
        random.manual_seed(1);
        using (var map = randn(2, 3, 32, 32).relu_()) Npy.Write(array, map);
        var ended = Run("compress", array, "--codec", "dct:10", "--json");
        Assert.True(ended.ExitCode == 0, ended.All);
        var result = JsonDocument.Parse(ended.Output).RootElement;
        Assert.Equal(2 * 3 * 32 * 32 * 4, result.GetProperty("input_bytes").GetInt64());
        Assert.InRange(result.GetProperty("packed_bytes").GetInt64(), 1, 2 * 3 * 32 * 32 * 4 / 8);
        Assert.True(result.GetProperty("mse").GetDouble() > 0);
        Assert.True(result.GetProperty("psnr_db").GetDouble() > 5);
        using var rebuilt = Npy.Read(Path.Combine(folder, "map.dct-10.npy"));
        Assert.Equal([2, 3, 32, 32], rebuilt.shape);
    }

    [Fact]
    public void Compress_counts_numbers_by_their_size_in_the_file()
    {
        var array = Path.Combine(folder, "doubles.npy");
        const string Header = "{'descr': '<f8', 'fortran_order': False, 'shape': (32, 32), }";
        File.WriteAllBytes(array, [
            0x93, .. "NUMPY"u8, 1, 0, 118, 0, .. System.Text.Encoding.ASCII.GetBytes(Header.PadRight(117) + '\n'),
            .. Enumerable.Range(0, 1024).SelectMany(i => BitConverter.GetBytes(i % 13 / 13.0)),
        ]);
        var ended = Run("compress", array);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.StartsWith("dct:10: (32, 32) of 8 bytes each, 8192 bytes -> ", ended.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Compress_measures_a_pictures_noise_against_a_bytes_range()
    {
        var picture = Path.Combine(folder, "dim.png");
        random.manual_seed(1);
        using (var noise = randint(90, 110, [1, 1, 64, 64]).to(float32)) Picture.WriteSideBySide(picture, noise);
        var ended = Run("compress", picture, "--codec", "dct:10", "--json");
        Assert.True(ended.ExitCode == 0, ended.All);
        var result = JsonDocument.Parse(ended.Output).RootElement;
        Assert.Equal(10 * Math.Log10(255 * 255 / result.GetProperty("mse").GetDouble()), result.GetProperty("psnr_db").GetDouble(), 1e-6);
    }

    [Fact]
    public void Compress_shows_a_picture_beside_its_rebuilt_self()
    {
        var photo = TestData.Real("photos/camera.png");
        var ended = Run("compress", photo, "--codec", "wt:haar:10", "--out", folder);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Contains("PSNR", ended.Output, StringComparison.Ordinal);
        using var sheet = Picture.Read(Path.Combine(folder, "camera.wt-haar-10.png"));
        Assert.Equal([1, 1, 512, 512 + 8 + 512], sheet.shape);
    }

    [Fact]
    public void Status_says_what_works()
    {
        var ended = Run("status", "--json");
        Assert.True(ended.ExitCode == 0, ended.All);
        var status = JsonDocument.Parse(ended.Output).RootElement;
        Assert.Equal("work", status.GetProperty("hooks").GetString());
        Assert.StartsWith("works", status.GetProperty("observer").GetString(), StringComparison.Ordinal);
        Assert.StartsWith("works", status.GetProperty("backward").GetString(), StringComparison.Ordinal);
        Assert.StartsWith("works", status.GetProperty("forward").GetString(), StringComparison.Ordinal);
        Assert.StartsWith("wait", status.GetProperty("finalizers").GetString(), StringComparison.Ordinal);
        Assert.Equal(ActivationCodec.Known.Count, status.GetProperty("codecs").GetArrayLength());
        Assert.True(status.GetProperty("data").TryGetProperty("mnist", out _));
        var gpu = status.GetProperty("gpus").GetProperty("cuda:0").GetString();
        if (!TorchSharp.torch.cuda.is_available()) Assert.StartsWith("none that this libtorch can use. ", gpu, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("No device 'tpu': wanted cpu, cuda or cuda:n", "memory", "LeNet", "--device", "tpu")]
    [InlineData("No device 'cuda:x'", "bench", "codecs", "--device=cuda:x")]
    [InlineData("No device 'cuda:97'", "train", "--device", "cuda:97")]
    [InlineData("No device 'cuda:97'", "compress", "nothing.npy", "--device", "cuda:97")]
    [InlineData("No device 'cuda:97'", "reproduce", "table2", "--device", "cuda:97")]
    public void A_device_that_is_not_there_is_told(string message, params string[] arguments)
    {
        var ended = Run(arguments);
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains(message, ended.Error, StringComparison.Ordinal);
        Assert.Equal("", ended.Output);
    }

    [Theory]
    [InlineData("No codec 'dtc:10'", "train", "--codec", "dtc:10")]
    [InlineData("1 or more", "train", "--codec", "dct:0.5")]
    [InlineData("1 or more", "train", "--codec", "dct:NaN")]
    [InlineData("No layer matches 'conv7'", "train", "--layers", "conv7")]
    [InlineData("block0 to block3", "train", "--layers", "block0-4")]
    [InlineData("No network 'resnet19'", "train", "--model", "resnet19")]
    [InlineData("No data set 'cifar'", "train", "--data", "cifar")]
    [InlineData("lenet cannot be trained on volumes", "train", "--data", "volumes")]
    [InlineData("No data folder for mnist", "train", "--data", "mnist")]
    [InlineData("No batch of 400", "train", "--batch", "400", "--train-examples", "300")]
    [InlineData("multiples of 16", "train", "--model", "unet3d", "--extents", "32x40x32")]
    [InlineData("multiples of 16", "train", "--model", "unet3d", "--extents", "32x0x32")]
    [InlineData("multiples of 16", "train", "--model", "unet3d", "--extents", "32x32")]
    [InlineData("multiples of 16", "train", "--model", "unet3d", "--patch", "32x40x32")]
    [InlineData("patch 32 x 32 x 32: lenet does not learn from volumes", "train", "--patch", "32x32x32")]
    [InlineData("extents and patch: wanted one of them", "train", "--model", "unet3d", "--patch", "32x32x32", "--extents", "32x32x32")]
    [InlineData("one voxel would be left", "train", "--model", "unet3d", "--extents", "16x16x16", "--batch", "1")]
    [InlineData("No patches of volumes", "train", "--model", "unet3d", "--data", "volumes", "--patch", "32x32x32")]
    [InlineData("--memory much: wanted a size such as 800MiB or 2GiB", "train", "--model", "unet3d", "--memory", "much")]
    [InlineData("memory 1073741824 beside a patch", "train", "--model", "unet3d", "--memory", "1GiB", "--patch", "32x32x32")]
    [InlineData("memory 1500000 with layers relu*", "train", "--model", "unet3d", "--memory", "1.5MB", "--layers", "relu*")]
    [InlineData("spacing 1 x 2: wanted depth, height and width", "train", "--spacing", "1x2")]
    [InlineData("--spacing 1xa: wanted numbers", "train", "--spacing", "1xa")]
    [InlineData("window 3, 2: wanted two numbers", "train", "--window", "3,2")]
    [InlineData("No relabelling '4'", "train", "--relabel", "4")]
    [InlineData("No folder ./nowhere", "train", "--data", "./nowhere")]
    [InlineData("No file nowhere.safetensors", "predict", "--weights", "nowhere.safetensors", "--images", ".", "--out", "nowhere")]
    [InlineData(
        "--overlap 1: wanted at least 0 and below 1", "predict", "--weights", "w.safetensors", "--images", ".", "--out", "nowhere",
        "--overlap", "1")]
    [InlineData(
        "No folder /no/masks", "predict", "--weights", "w.safetensors", "--images", ".", "--out", "nowhere", "--labels", "/no/masks")]
    [InlineData("'--weights' is required", "predict", "--images", ".", "--out", "nowhere")]
    [InlineData("learning_rate 0: wanted a number above 0", "train", "--learning-rate", "0")]
    [InlineData("learning_rate NaN: wanted a number above 0", "train", "--learning-rate", "NaN")]
    [InlineData("--test-examples 0: wanted a whole number of 1 or more", "train", "--test-examples", "0")]
    [InlineData("--batch 0: wanted a whole number of 1 or more", "memory", "LeNet", "--batch", "0")]
    [InlineData("--budget 800: wanted a size such as 800MiB or 2GiB", "memory", "LeNet", "--budget", "800")]
    [InlineData("--budget -2GiB: wanted a size such as 800MiB or 2GiB", "memory", "LeNet", "--budget", "-2GiB")]
    [InlineData("--budget is of the whole step", "memory", "LeNet", "--budget", "1GiB", "--forward-only")]
    [InlineData("below the least that a step", "memory", "LeNet", "--batch", "8", "--budget", "10KiB")]
    [InlineData("--epochs abc: wanted a whole number of 1 or more", "train", "--epochs", "abc")]
    [InlineData("--epochs 1.5: wanted a whole number of 1 or more", "train", "--epochs", "1.5")]
    [InlineData("--seed 99999999999: wanted a whole number", "train", "--seed", "99999999999")]
    [InlineData("--learning-rate 1,5: wanted a number", "train", "--learning-rate", "1,5")]
    [InlineData("--schedule linear: wanted constant, cosine", "train", "--schedule", "linear")]
    [InlineData("--loss crossentropy: wanted dice, cross-entropy, both", "train", "--loss", "crossentropy")]
    [InlineData("--rounds many: wanted a whole number of 1 or more", "bench", "--rounds", "many")]
    [InlineData(
        "LeNet does not take a batch of 2 of 1 x 10 x 10: mat1 and mat2 shapes cannot be multiplied (2x72 and 1152x128). The paper's is "
            + "128 of 1 x 28 x 28.",
        "memory", "LeNet", "--batch", "2", "--input", "1x10x10")]
    [InlineData("UNet3D does not take a batch of 1 of 4 x 20 x 20 x 20", "memory", "UNet3D", "--input", "4x20x20x20", "--predict")]
    [InlineData("fewer than 2^31 numbers", "memory", "LeNet", "--input", "1x99999999x99999999")]
    [InlineData("No layer of kind bn among conv1, relu1, conv2: found conv, relu. Leave out ':bn'", "train", "--layers", "block0-2:bn")]
    [InlineData("No layer of kind bn among all layers", "memory", "LeNet", "--layers", "all:bn")]
    [InlineData("--network ResNet50: its steps are not timed, wanted any of lenet", "bench", "steps", "--network", "ResNet50")]
    [InlineData("--html level.svg: wanted a file that ends in .html", "memory", "LeNet", "--html", "level.svg")]
    [InlineData("--snapshot level.pickle: wanted a file that ends in .json", "memory", "LeNet", "--snapshot", "level.pickle")]
    [InlineData("--patch and --confirm belong to --fits", "memory", "LeNet", "--patch")]
    [InlineData("cannot be run to confirm a prediction", "memory", "LeNet", "--fits", "--confirm", "--budget", "9999GiB")]
    [InlineData("LeNet does not take a batch of 4 of 1 x 56 x 56", "memory", "LeNet", "--batch", "4", "--fits", "--patch")]
    [InlineData("--timeline level.pdf: wanted a file that ends in .svg or .png", "memory", "LeNet", "--timeline", "level.pdf")]
    [InlineData("--timeline /proc/nowhere: it cannot be written", "memory", "LeNet", "--timeline", "/proc/nowhere/level.svg")]
    [InlineData("--tensorboard /proc/nowhere: it cannot be written", "train", "--tensorboard", "/proc/nowhere")]
    [InlineData("--out /proc/nowhere: it cannot be written", "reproduce", "fig5", "--out", "/proc/nowhere")]
    [InlineData("--out /proc/nowhere: it cannot be written", "report", "--out", "/proc/nowhere/page.html")]
    [InlineData("--figures /proc/nowhere: it cannot be written", "report", "--figures", "/proc/nowhere")]
    [InlineData("--out /tmp: found a folder, wanted a file", "report", "--out", "/tmp")]
    [InlineData("--out /proc/version: found a file, wanted a folder", "bench", "--out", "/proc/version")]
    [InlineData("wanted 3 extents", "memory", "LeNet", "--input", "28x28")]
    [InlineData("wanted 3 extents", "memory", "LeNet", "--input", "1x0x28")]
    [InlineData("--workers 0: wanted a whole number of 1 or more", "sweep", "nowhere", "--workers", "0")]
    [InlineData("three numbers", "train", "--model", "unet3d", "--extents", "wide")]
    [InlineData("no training was interrupted there", "train", "--resume")]
    [InlineData("No file /no/such/config.json", "sweep", "/no/such/config.json")]
    [InlineData("No folder", "train", "--data-dir", "/no/such/folder")]
    [InlineData("/proc/nowhere", "train", "--out", "/proc/nowhere")]
    [InlineData("--epochs 0: wanted a whole number of 1 or more", "train", "--epochs", "0")]
    [InlineData("No file", "compress", "/no/such/file.npy")]
    [InlineData("trian", "trian")]
    [InlineData("--colour", "train", "--colour")]
    public void A_mistake_is_one_message_and_exit_code_2(string says, params string[] args)
    {
        if (args[0] == "train" && !args.Contains("--out")) args = [.. args, "--out", folder];
        var ended = Run(args[0] == "train" && !args.Contains("--model") ? [.. args, "--model", "lenet"] : args);
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains(says, ended.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.Error, StringComparison.Ordinal);
        Assert.Empty(ended.Output);
        Assert.True(!File.Exists(Path.Combine(folder, "results.jsonl")) || new FileInfo(Path.Combine(folder, "results.jsonl")).Length == 0);
    }

    [Fact]
    public void Help_names_every_command()
    {
        var ended = Run();
        Assert.Equal(0, ended.ExitCode);
        string[] commands = ["train", "predict", "memory", "reproduce", "report", "compress", "sweep", "bench", "status"];
        foreach (var command in commands) Assert.Contains($"  {command} ", ended.Output, StringComparison.Ordinal);
        foreach (var name in commands)
        {
            var help = Run(name, "--help");
            Assert.True(help.ExitCode == 0, help.All);
            Assert.Contains($"\nExamples:\n  ./actipress {name}", help.Output, StringComparison.Ordinal);
        }
        // these commands are for developers
        foreach (var hidden in (string[])["readme", "maps"]) Assert.DoesNotContain($"  {hidden} ", ended.Output, StringComparison.Ordinal);
    }

    // The test hides the name in a mount namespace of its own, where the system allows one.
    [Fact]
    public void A_processor_that_the_system_does_not_name_is_called_unknown()
    {
        string[] hidden =
        [
            "unshare", "--user", "--map-root-user", "--mount", "bash", "-c", "mount --bind /dev/null /proc/cpuinfo && exec \"$@\"",
            "hidden",
        ];
        if (ChildProcess.Run([.. hidden, "true"]) is { ExitCode: not 0 } refused)
            Assert.Skip($"No mounts of one's own here: {refused.Error}");
        var ended = ChildProcess.Run([.. hidden, .. ChildProcess.Cli, "status", "--json"]);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Contains(
            "unknown processor", JsonDocument.Parse(ended.Output).RootElement.GetProperty("platform").GetString(),
            StringComparison.Ordinal);
    }
}
