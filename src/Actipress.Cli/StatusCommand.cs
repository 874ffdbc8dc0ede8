using System.CommandLine;
using System.Runtime.InteropServices;
using Actipress.Backward;
using Actipress.Data;
using Actipress.Experiments;
using Actipress.Forward;
using Actipress.Machine;
using TorchSharp;

namespace Actipress.Cli;

/// <summary><c>status</c>: says what works on this machine.</summary>
static class StatusCommand
{
    public static Command Make()
    {
        var dataDir = CommonOptions.DataDir();
        var json = CommonOptions.Json();
        var command = new CliCommand("status", "Say what works on this machine.")
        {
            Details = "Platform, hooks, device, codecs and their faces, data found.",
            Examples = [("", "as lines"), ("--data-dir DATA --json", "as JSON, with the data sets in a folder")],
        }.With(dataDir, json);
        command.SetAction(parsed =>
        {
            var hooks = "work";
            try { SavedTensors.SelfCheck(); }
            catch (PlatformNotSupportedException refusal) { hooks = refusal.Message; }
            string OnHooks(Func<string?> refusal, string works) => hooks == "work" ? refusal() ?? works : "none without hooks";
            var observer =
                OnHooks(() => SavedTensors.ObserverRefusal, "works: what is kept of a map goes by the operation that saves it");
            var finalizers =
                OnHooks(() => SavedTensors.FinalizerRefusal, "wait: what the collector frees lives until running operations have ended");
            var backward =
                OnHooks(() => BackwardKernels.Refusal?.Message, "works: convolutions and batch norms read their compressed maps in pieces");
            var forward = OnHooks(() => ForwardKernel.Refusal?.Message, "works: large convolutions are computed in pieces");
            using var trial = Devices.Meter(torch.CPU, out var noMeter);
            var meter = noMeter ?? $"works: {AllocatorMeter.SourceOn(torch.CPU)}";
            var gpus = torch.cuda.is_available() ? torch.cuda.device_count() : 0;
            var folder = DataFolder.Of(parsed.GetValue(dataDir));
            var status = new
            {
                Platform = $"{RuntimeInformation.OSDescription}, {RuntimeInformation.RuntimeIdentifier}, {Provenance.Here().Machine}, "
                    + $"{RuntimeInformation.FrameworkDescription}, TorchSharp {Provenance.Here().TorchSharp}",
                Hooks = hooks,
                Observer = observer,
                Finalizers = finalizers,
                Backward = backward,
                Forward = forward,
                Convolutions = HiddenCaches.Here ?? "no known fault of libtorch's on this processor",
                Meter = meter,
                Device = gpus > 0 ? $"cuda ({gpus})" : "cpu",
                Gpus = Enumerable.Range(0, Math.Max(1, gpus))
                    .ToDictionary(index => $"cuda:{index}", index => Gpu(new torch.Device(DeviceType.CUDA, index), gpus)),
                Codecs = ActivationCodec.Known.Select(known => new
                {
                    Codec = known.Example,
                    known.Meaning,
                    Implementations = Pipeline.ImplementationsOf(ActivationCodec.Parse(known.Example)),
                }),
                Data = new Dictionary<string, string>
                {
                    ["folder"] = folder ?? $"none (give --data-dir or {DataFolder.Variable}; training then uses generated digits)",
                    ["mnist"] = folder is null ? "generated digits instead" : Found(folder),
                },
            };
            if (parsed.GetValue(json)) Console.WriteLine(Json.Document(status));
            else
            {
                Console.WriteLine($"platform    {status.Platform}");
                Console.WriteLine($"hooks       {status.Hooks}");
                Console.WriteLine($"observer    {status.Observer}");
                Console.WriteLine($"finalizers  {status.Finalizers}");
                Console.WriteLine($"backward    {status.Backward}");
                Console.WriteLine($"forward     {status.Forward}");
                Console.WriteLine($"convolve    {status.Convolutions}");
                Console.WriteLine($"meter       {status.Meter}");
                Console.WriteLine($"device      {status.Device}");
                foreach (var (name, gpu) in status.Gpus) Console.WriteLine($"gpu         {name}: {gpu}");
                foreach (var codec in status.Codecs)
                    Console.WriteLine($"codec       {codec.Codec,-10} {codec.Meaning}{By(codec.Implementations)}");
                foreach (var (name, found) in status.Data) Console.WriteLine($"data        {name}: {found}");
            }
            return hooks == "work" ? 0 : CommandLine.Mistake;
        });
        return command;
    }

    // The GPU and its driver, whether the kernels run on it, and the source of the figures of its memory.
    static string Gpu(torch.Device device, int gpus)
    {
        if (gpus == 0) return $"none that this libtorch can use. {GpuKernels.Describe(device)}";
        var kernels = GpuKernels.Refusal(device) is { } refusal ? $"kernels not used: {refusal}" : "kernels loaded and tried";
        return $"{GpuKernels.Describe(device)}; {kernels}; memory by {AllocatorMeter.SourceOn(device)}";
    }

    static string By(IReadOnlyList<string> implementations) =>
        implementations.Count == 0 ? "" : $"; by {string.Join("; ", implementations)}";

    static string Found(string folder)
    {
        try
        {
            var mnist = Mnist.Load(DataFolder.Part(folder, "mnist"));
            return $"{mnist.Train.Count} + {mnist.Test.Count} images";
        }
        catch (InvalidDataException missing) { return missing.Message; }
    }
}
