using Actipress;
using Actipress.Fuzz;
using SharpFuzz;

// This is the program that ./dev fuzz starts.
if (args is ["--list"])
{
    foreach (var one in Target.All) Console.WriteLine($"{one.Name} {one.LargestInput}");
    return 0;
}
if (args.Length == 0 || Target.All.FirstOrDefault(one => one.Name == args[0]) is not { } target)
{
    Console.Error.WriteLine($"fuzz: no target '{args.FirstOrDefault()}'. Known: {string.Join(", ", Target.All.Select(one => one.Name))}.");
    return 2;
}
switch (args[1..])
{
    case ["--seeds", var folder]:
        using (var scratch = new Scratch())
            foreach (var (i, seed) in target.Seeds(scratch).Index()) File.WriteAllBytes(Path.Combine(folder, $"{i:00}"), seed);
        return 0;
    case ["--replay", .. var files]:
        using (var scratch = new Scratch())
            foreach (var file in files)
                Console.WriteLine($"{file}: {Bounded(target, File.ReadAllBytes(file), scratch)?.ToString() ?? "read"}");
        return 0;
    case []:
        var own = new Scratch();
        Fuzzer.OutOfProcess.Run(stream =>
        {
            using var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            Bounded(target, bytes.ToArray(), own);
        });
        return 0;
    default:
        Console.Error.WriteLine("fuzz: wanted TARGET, TARGET --seeds FOLDER, or TARGET --replay FILE...");
        return 2;
}

// The C allocator, from which libtorch's tensors come, is bounded too.
static Exception? Bounded(Target target, byte[] bytes, Scratch scratch)
{
    torch.set_num_threads(1);
    using var meter = AllocatorMeter.Start();
    var before = AllocatorMeter.CurrentBytes;
    var refusal = target.Run(bytes, scratch);
    return meter.PeakBytes - before <= target.MostMemory(bytes)
        ? refusal
        : throw new InsufficientMemoryException(
            $"'{target.Name}' took {meter.PeakBytes - before} bytes of the C allocator for {bytes.Length}: wanted at most "
                + $"{target.MostMemory(bytes)}.");
}
