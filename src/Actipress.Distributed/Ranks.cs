using System.Reflection;
using Actipress.Autograd;
using Actipress.Distributed.Mpi;
using Actipress.Distributed.Nccl;
using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// The processes that train together, started by <c>mpirun</c> or <c>srun</c>: which of them this one is, and what they do together. By the
/// installed MPI library; a process that was started alone is one rank of one, and needs none.
/// </summary>
/// <remarks>
/// <para>Every rank calls the same, in the same order. Before each call ranks tell each other what they are about to do, so that another
/// operation, shape or order is an error on every rank and no hang.</para>
/// <para>A process that ends with an exit code other than 0 ends all others. One that ends well waits until all do.</para>
/// </remarks>
public sealed class Ranks : IDisposable
{
    static readonly Lazy<Ranks> world = new(() => new(Launch.Of(Environment.GetEnvironmentVariable)));

    readonly Communication? communication;
    readonly MpiLibrary? mpi;
    Agreement? agreement;
    MpiCollectives? collectives;
    readonly Dictionary<(DeviceType, int), DeviceCollectives?> onDevices = [];
    int ended;

    /// <summary>All processes that were started together.</summary>
    /// <exception cref="PlatformNotSupportedException">
    /// Several were started, and the MPI library is missing, or is another than that which started them.
    /// </exception>
    /// <exception cref="RanksException">They run different programs.</exception>
    public static Ranks World => world.Value;

    /// <summary>
    /// Which this process is, by the environment alone; null where it was started alone. For messages before <see cref="World"/> is there.
    /// </summary>
    public static int? Own => Launch.Of(Environment.GetEnvironmentVariable)?.Rank;

    internal Ranks(Launch? launch)
    {
        (Size, LocalSize, Library) = (1, 1, "none");
        if (launch is null) return;
        mpi = MpiLibrary.Load(launch);
        Library = $"{mpi.Version} ({mpi.File})";
        communication = new Communication();
        communication.Run(() => Start(mpi, launch));
        Agree($"program {Program()}");
        AppDomain.CurrentDomain.ProcessExit += (_, _) => End(Environment.ExitCode);
    }

    void Start(MpiLibrary library, Launch launch)
    {
        library.Start();
        (Rank, Size) = library.Place(library.Handles.World);
        if (Size != launch.Size)
            throw new PlatformNotSupportedException(
                $"{launch.Launcher} started {launch.Size} processes ({launch.Variable}), but {Library} finds {Size}: the processes were " +
                    $"started by another MPI than the one that was found. " +
                $"Start them by that library's own mpirun, by srun --mpi with what it speaks (pmix for Open MPI, pmi2 for MPICH), or " +
                    $"name the right library's file in {Launch.LibraryVariable}.");
        (LocalRank, LocalSize) = library.Place(library.OfThisMachine(library.Handles.World));
        agreement = new Agreement(library, library.Duplicate(library.Handles.World), Rank, Size);
        collectives = new MpiCollectives(library, library.Duplicate(library.Handles.World));
    }

    // Two builds of one source have one version id.
    static string Program()
    {
        var entry = Assembly.GetEntryAssembly() ?? typeof(Ranks).Assembly;
        return $"{entry.GetName().Name} {entry.ManifestModule.ModuleVersionId}, " +
            $"Actipress {typeof(SavedTensors).Assembly.ManifestModule.ModuleVersionId}";
    }

    /// <summary>This process among all: from 0.</summary>
    public int Rank { get; private set; }

    /// <summary>How many there are.</summary>
    public int Size { get; private set; }

    /// <summary>This process among those of its machine: from 0. Which GPU to take.</summary>
    public int LocalRank { get; private set; }

    /// <summary>How many there are on this machine.</summary>
    public int LocalSize { get; private set; }

    /// <summary>The MPI library's version and file; "none" for one rank.</summary>
    public string Library { get; }

    /// <summary>How long ranks wait for one that does not come; then they end with an error that names it.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>
    /// Ranks go on together only if all of them come here with the same description; what differs is an error on every rank.
    /// </summary>
    /// <param name="description">A name; further lines are compared too, and the first that differs is told.</param>
    /// <exception cref="RanksException">Another rank has another description or is elsewhere.</exception>
    public void Agree(string description)
    {
        ArgumentNullException.ThrowIfNull(description);
        communication?.Run(() => agreement!.On(description, Timeout));
    }

    /// <summary>Returns when every rank has come here.</summary>
    /// <exception cref="RanksException">A rank is elsewhere.</exception>
    public void Barrier() => Agree("Barrier");

    /// <summary>Reduces a tensor over all ranks, in place and bit for bit the same on every rank.</summary>
    /// <param name="tensor">
    /// On every rank of the same shape and type. Where it is a parameter, autograd learns that it has changed, and nothing else.
    /// </param>
    /// <param name="operation">What becomes of each element.</param>
    /// <exception cref="ArgumentException">The tensor's type has no such reduction.</exception>
    /// <exception cref="RanksException">Another rank's tensor or reduction differs, or it is elsewhere.</exception>
    public void AllReduce(Tensor tensor, ReduceOp operation = ReduceOp.Sum)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        var sent = TypeSent(tensor.dtype) ?? throw new ArgumentException($"No reduction of {tensor.dtype}: wanted a tensor of " +
            $"floating-point numbers or integers.", nameof(tensor));
        if (operation == ReduceOp.Avg && !tensor.is_floating_point()) throw new ArgumentException($"No mean of {tensor.dtype}: wanted a " +
            $"tensor of floating-point numbers.", nameof(tensor));
        Together($"AllReduce {operation} of {Describe(tensor)}", tensor, sent, flat => Reduce(flat, operation));
    }

    /// <summary>Overwrites a tensor with that of one rank.</summary>
    /// <param name="tensor">On every rank of the same shape and type.</param>
    /// <param name="root">The rank whose tensor it is.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such rank.</exception>
    /// <exception cref="RanksException">Another rank's tensor or root differs, or it is elsewhere.</exception>
    public void Broadcast(Tensor tensor, int root = 0)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (root < 0 || root >= Size) throw new ArgumentOutOfRangeException(nameof(root), root, $"No rank {root}: wanted 0 to {Size - 1}.");
        Together($"Broadcast of rank {root}'s {Describe(tensor)}", tensor, tensor.dtype, flat =>
        {
            if (OnDevice(flat.device) is not { } gpu) return () =>
                collectives!.Broadcast(LibTorch.Data(flat), flat.numel() * flat.ElementSize, root, Timeout);
            var mark = gpu.Mark();
            return () => gpu.Broadcast(flat, root, mark, Timeout);
        });
    }

    // A tensor that is in another order, in a type that MPI does not know, or on a device whose memory it does not reach, goes through a
    // copy.
    void Together(string what, Tensor tensor, ScalarType sent, Func<Tensor, Action> begin)
    {
        if (communication is null) return;
        using var untracked = no_grad();
        Open(tensor.device);
        using Tensor plain = tensor.detach(), here = plain.to(sent, Reached(tensor.device)), flat = here.contiguous();
        var act = begin(flat);
        communication.Run(() =>
        {
            agreement!.On(what, Timeout);
            act();
        });
        if (LibTorch.Data(flat) != LibTorch.Data(plain)) plain.copy_(flat);
        else MarkChanged(plain);
    }

    // libtorch did not see MPI write: an operation in place on none of the elements counts as a change.
    static void MarkChanged(Tensor tensor)
    {
        using Tensor line = tensor.view(-1), none = line.narrow(0, 0, 0);
        none.zero_();
    }

    internal static string Describe(Tensor tensor) => $"{tensor.dtype} [{string.Join(", ", tensor.shape)}]";

    // MPI knows no numbers of 16 bits that are not integers.
    internal static ScalarType? TypeSent(ScalarType type) =>
        type is ScalarType.Float16 or ScalarType.BFloat16 ? ScalarType.Float32 : MpiCollectives.Knows(type) ? type : null;

    internal Communication? Communication => communication;

    /// <summary>As <see cref="Agree"/>, on the thread that talks.</summary>
    internal void AgreeHere(string description) => agreement!.On(description, Timeout);

    /// <summary>
    /// What reduces a contiguous tensor where <see cref="Reached"/> has it, on the thread that talks: what torch has been told to do with
    /// the tensor up to this call comes before.
    /// </summary>
    internal Action Reduce(Tensor flat, ReduceOp operation)
    {
        if (OnDevice(flat.device) is { } gpu)
        {
            // Before, in this thread's stream: the thread that talks may have another.
            using (no_grad())
                if (operation == ReduceOp.Avg) flat.Div_(Size);
            var mark = gpu.Mark();
            return () => gpu.AllReduce(flat, operation, mark, Timeout);
        }
        return () =>
        {
            collectives!.AllReduce(LibTorch.Data(flat), flat.numel(), flat.dtype, flat.ElementSize, operation, Timeout);
            using var untracked = no_grad();
            if (operation == ReduceOp.Avg) flat.Div_(Size);
        };
    }

    /// <summary>Where a tensor of a device must be to be sent: on the device itself if all ranks have the means, else on the CPU.</summary>
    internal Device Reached(Device device) => OnDevice(device) is null ? CPU : device;

    DeviceCollectives? OnDevice(Device device) => onDevices.GetValueOrDefault((device.type, device.index));

    /// <summary>Finds out, on all ranks together, how tensors of a device are sent; before any is.</summary>
    internal void Open(Device device)
    {
        var known = (device.type, device.index);
        if (device.type != DeviceType.CUDA || communication is null || onDevices.ContainsKey(known)) return;
        onDevices[known] = null;    // while ranks talk about it they talk through the CPU
        var index = Math.Max(0, device.index);
        // What one rank lacks none uses.
        if (!Any(NcclLibrary.Here is null)) onDevices[known] = Begin(NcclLibrary.Here!, TorchStream.Of(index));
        else if (!Any(!mpi!.TakesGpuMemory)) onDevices[known] = new CudaAwareMpi(collectives!, TorchStream.Of(index));
    }

    NcclCollectives Begin(NcclLibrary nccl, TorchStream stream)
    {
        var id = Broadcast(Rank == 0 ? nccl.MakeUniqueId() : []);
        NcclCollectives? begun = null;
        communication!.Run(() => begun = new(nccl, stream, id, Rank, Size));
        return begun!;
    }

    /// <summary>Sends tensors of a device by a library that is given; for tests without a GPU.</summary>
    internal void Open(Device device, NcclLibrary nccl, TorchStream stream) => onDevices[(device.type, device.index)] = Begin(nccl, stream);

    internal MpiCollectives? Collectives => collectives;

    /// <summary>
    /// Whether <paramref name="own"/> is true on any rank: all of them learn the same, such as that one was asked to stop.
    /// </summary>
    public bool Any(bool own) => Sum(own ? 1 : 0) > 0;

    /// <summary>The sum of a number over all ranks.</summary>
    public double Sum(double own)
    {
        if (communication is null) return own;
        using var one = from_array(new[] { own });
        AllReduce(one);
        return one.data<double>()[0];
    }

    /// <summary>What rank <paramref name="root"/> has, on every rank.</summary>
    public byte[] Broadcast(byte[] own, int root = 0)
    {
        if (communication is null) return own;
        var length = (long)Sum(Rank == root ? own.LongLength : 0);
        using var bytes = Rank == root ? from_array(own) : zeros([length], ScalarType.Byte);
        Broadcast(bytes, root);
        return bytes.data<byte>().ToArray();
    }

    /// <summary>Ends all ranks at once; MPI's launcher says that this one has ended them.</summary>
    /// <param name="exitCode">Of this process, and of the launcher; not 0.</param>
    public void Abort(int exitCode)
    {
        // From this thread: whatever the one that talks waits for may never come.
        if (Interlocked.Exchange(ref ended, 1) == 0) mpi?.Abort(exitCode == 0 ? 1 : exitCode);
    }

    /// <summary>Ends the ranks when all have come here; a later call does nothing.</summary>
    /// <exception cref="RanksException">Another rank is elsewhere.</exception>
    public void Dispose()
    {
        if (communication is null || ended != 0) return;
        communication.Run(() =>
        {
            agreement!.On("its end", Timeout);
            foreach (var gpu in onDevices.Values.OfType<NcclCollectives>()) gpu.End();
            mpi!.End();
        });
        ended = 1;
    }

    void End(int exitCode)
    {
        try
        {
            if (exitCode == 0) Dispose();
        }
        catch (RanksException) { exitCode = 1; }
        if (exitCode != 0) Abort(exitCode);
    }
}
