using System.Reflection;
using Actipress.Autograd;
using Actipress.Distributed.Mpi;
using Actipress.Distributed.Nccl;
using static TorchSharp.torch;

namespace Actipress.Distributed;

/// <summary>
/// The processes that train together, started by <c>mpirun</c> or <c>srun</c>: the index of this process, and the collective operations, by
/// the installed MPI library. A process that was started alone is the only rank, and needs no MPI library.
/// </summary>
/// <remarks>
/// <para>Every rank makes the same calls in the same order. Before each call the ranks compare what they are about to do, so that another
/// operation, shape or order is an error on every rank and not a hang.</para>
/// <para>A process that ends with an exit code other than 0 ends all others. A process that ends with 0 waits until all others end.</para>
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
    volatile bool failed;

    static readonly TimeSpan LastWords = TimeSpan.FromSeconds(2);

    /// <summary>All processes that were started together.</summary>
    /// <exception cref="PlatformNotSupportedException">
    /// Several processes were started, and the MPI library is missing, or is not the library of the launcher.
    /// </exception>
    /// <exception cref="RanksException">The processes run different programs.</exception>
    public static Ranks World => world.Value;

    /// <summary>
    /// The index of this process by the environment alone, for messages before <see cref="World"/> exists; null where the process was
    /// started alone.
    /// </summary>
    public static int? Own => Launch.Of(Environment.GetEnvironmentVariable)?.Rank;

    /// <summary>
    /// Whether this process is one of several, or was started by Open MPI's <c>mpirun</c>, which gives even a sole process a terminal.
    /// </summary>
    public static bool HaveLaunchersTerminal => Launch.HasTerminal(Environment.GetEnvironmentVariable);

    internal Ranks(Launch? launch)
    {
        (Size, LocalSize, Library) = (1, 1, "none");
        if (launch is null) return;
        mpi = MpiLibrary.Load(launch);
        Library = $"{mpi.Version} ({mpi.File})";
        communication = new Communication();
        communication.Run(() => Start(mpi, launch));
        Agree($"program {Program()}");
        AppDomain.CurrentDomain.UnhandledException += (_, _) => Fail();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => End(failed ? 1 : Environment.ExitCode);
    }

    // The runtime writes the exception after this. Then it runs what may wait for other ranks, such as the end of a using, while the exit
    // code is still 0.
    void Fail()
    {
        failed = true;
        Console.Error.WriteLine($"Rank {Rank} of {Size} ends with an exception that nothing caught:");
        Task.Delay(LastWords).ContinueWith(_ => Abort(1), TaskScheduler.Default);
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

    // Two builds of the same source have the same version id.
    static string Program()
    {
        var entry = Assembly.GetEntryAssembly() ?? typeof(Ranks).Assembly;
        return $"{entry.GetName().Name} {entry.ManifestModule.ModuleVersionId}, " +
            $"Actipress {typeof(SavedTensors).Assembly.ManifestModule.ModuleVersionId}";
    }

    /// <summary>The index of this process among all, from 0.</summary>
    public int Rank { get; private set; }

    /// <summary>The number of processes.</summary>
    public int Size { get; private set; }

    /// <summary>The index of this process among those of its machine, from 0: the index of its GPU.</summary>
    public int LocalRank { get; private set; }

    /// <summary>The number of processes on this machine.</summary>
    public int LocalSize { get; private set; }

    /// <summary>The MPI library's version and file; "none" for one rank.</summary>
    public string Library { get; }

    /// <summary>The time for which ranks wait for a missing rank, before they end with an error that names it.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromMinutes(30);

    /// <summary>
    /// Compares a description over all ranks. A difference is an error on every rank.
    /// </summary>
    /// <param name="description">A name. Further lines are compared too, and the error has the first line that differs.</param>
    /// <exception cref="RanksException">Another rank has another description, or makes another call.</exception>
    public void Agree(string description)
    {
        ArgumentNullException.ThrowIfNull(description);
        communication?.Run(() => agreement!.On(description, Timeout));
    }

    /// <summary>Returns when every rank has called it.</summary>
    /// <exception cref="RanksException">A rank makes another call.</exception>
    public void Barrier() => Agree("Barrier");

    /// <summary>Reduces a tensor over all ranks, in place. The result is the same on every rank, bit for bit.</summary>
    /// <param name="tensor">
    /// A tensor of the same shape and type on every rank. For a parameter, autograd learns only that it has changed.
    /// </param>
    /// <param name="operation">The reduction of each element.</param>
    /// <exception cref="ArgumentException">The tensor's type has no such reduction.</exception>
    /// <exception cref="RanksException">Another rank has another tensor or reduction, or makes another call.</exception>
    public void AllReduce(Tensor tensor, ReduceOp operation = ReduceOp.Sum)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        var sent = TypeSent(tensor.dtype) ?? throw new ArgumentException($"No reduction of {tensor.dtype}: wanted a tensor of " +
            $"floating-point numbers or integers.", nameof(tensor));
        if (operation == ReduceOp.Avg && !tensor.is_floating_point()) throw new ArgumentException($"No mean of {tensor.dtype}: wanted a " +
            $"tensor of floating-point numbers.", nameof(tensor));
        Together($"AllReduce {operation} of {Describe(tensor)}", tensor, sent, flat => Reduce(flat, operation));
    }

    /// <summary>Overwrites a tensor on every rank with that of one rank.</summary>
    /// <param name="tensor">A tensor of the same shape and type on every rank.</param>
    /// <param name="root">The rank whose tensor it is.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such rank.</exception>
    /// <exception cref="RanksException">Another rank has another tensor or root, or makes another call.</exception>
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

    // A tensor with another layout, with a type that MPI does not know, or in memory that MPI cannot read, is sent by a copy.
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

    // libtorch does not know that MPI has written. An operation in place on no element counts as a change.
    static void MarkChanged(Tensor tensor)
    {
        using Tensor line = tensor.view(-1), none = line.narrow(0, 0, 0);
        none.zero_();
    }

    internal static string Describe(Tensor tensor) => $"{tensor.dtype} [{string.Join(", ", tensor.shape)}]";

    // MPI has no floating-point numbers of 16 bits.
    internal static ScalarType? TypeSent(ScalarType type) =>
        type is ScalarType.Float16 or ScalarType.BFloat16 ? ScalarType.Float32 : MpiCollectives.Knows(type) ? type : null;

    internal Communication? Communication => communication;

    /// <summary>As <see cref="Agree"/>, on the communication thread.</summary>
    internal void AgreeHere(string description) => agreement!.On(description, Timeout);

    /// <summary>
    /// An action for the communication thread that reduces a contiguous tensor on the device that <see cref="Reached"/> gives. It runs
    /// after the work that torch has queued on the tensor up to this call.
    /// </summary>
    internal Action Reduce(Tensor flat, ReduceOp operation)
    {
        if (OnDevice(flat.device) is { } gpu)
        {
            // The division is queued here, because the communication thread may have another stream.
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

    /// <summary>The device from which tensors of a device are sent: the device itself if all ranks support it, else the CPU.</summary>
    internal Device Reached(Device device) => OnDevice(device) is null ? CPU : device;

    DeviceCollectives? OnDevice(Device device) => onDevices.GetValueOrDefault((device.type, device.index));

    /// <summary>Decides on all ranks together how tensors of a device are sent, before the first is sent.</summary>
    internal void Open(Device device)
    {
        var known = (device.type, device.index);
        if (device.type != DeviceType.CUDA || communication is null || onDevices.ContainsKey(known)) return;
        onDevices[known] = null;    // this exchange itself goes through the CPU
        var index = Math.Max(0, device.index);
        // No rank uses a library that another rank lacks.
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

    /// <summary>Sends tensors of a device by a given library, for tests without a GPU.</summary>
    internal void Open(Device device, NcclLibrary nccl, TorchStream stream) => onDevices[(device.type, device.index)] = Begin(nccl, stream);

    internal MpiCollectives? Collectives => collectives;

    /// <summary>
    /// Whether this rank computes with an example of another rank in this step, at weight 0, because the batch has fewer examples than
    /// there are ranks. A synchronised batch norm does not count that example.
    /// </summary>
    internal bool HasNoExamples { get; set; }

    /// <summary>
    /// Whether <paramref name="own"/> is true on any rank. All ranks get the same answer, for example whether one was asked to stop.
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

    /// <summary>Returns the value of rank <paramref name="root"/> on every rank.</summary>
    public byte[] Broadcast(byte[] own, int root = 0)
    {
        ArgumentNullException.ThrowIfNull(own);
        if (communication is null) return own;
        var length = (long)Sum(Rank == root ? own.LongLength : 0);
        using var bytes = Rank == root ? from_array(own) : zeros([length], ScalarType.Byte);
        Broadcast(bytes, root);
        return bytes.data<byte>().ToArray();
    }

    /// <summary>Ends all ranks at once. MPI's launcher reports that this rank has ended them.</summary>
    /// <param name="exitCode">The exit code of this process and of the launcher; not 0.</param>
    public void Abort(int exitCode)
    {
        // This thread makes the call, because the communication thread may wait for ever.
        if (Interlocked.Exchange(ref ended, 1) == 0) mpi?.Abort(exitCode == 0 ? 1 : exitCode);
    }

    /// <summary>Ends the ranks when all have called it. A later call does nothing.</summary>
    /// <exception cref="RanksException">Another rank makes another call.</exception>
    public void Dispose()
    {
        if (communication is null || ended != 0) return;
        if (failed)
        {
            Abort(1);
            return;
        }
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
