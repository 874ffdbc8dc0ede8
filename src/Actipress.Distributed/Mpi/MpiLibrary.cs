using System.Runtime.InteropServices;

namespace Actipress.Distributed.Mpi;

/// <summary>The installed MPI library: the functions of its C interface that ranks need.</summary>
/// <remarks>
/// Handles are passed as words. In Open MPI a handle is a pointer; in MPICH it is an int, and the callee reads the lower half of the word.
/// All functions are called on one thread, so that MPI_THREAD_FUNNELED is enough.
/// </remarks>
sealed unsafe class MpiLibrary
{
    const int Success = 0, Funneled = 1, LongestText = 8192;

    readonly delegate* unmanaged[Cdecl]<int*, nint, int, int*, int> initThread;
    readonly delegate* unmanaged[Cdecl]<int> finalize;
    readonly delegate* unmanaged[Cdecl]<nint, int*, int> commRank, commSize;
    readonly delegate* unmanaged[Cdecl]<nint, nint*, int> commDuplicate;
    readonly delegate* unmanaged[Cdecl]<nint, int, int, nint, nint*, int> commSplitType;
    readonly delegate* unmanaged[Cdecl]<nint, nint, int> commSetErrorHandler;
    readonly delegate* unmanaged[Cdecl]<int, byte*, int*, int> errorString;
    readonly delegate* unmanaged[Cdecl]<nint, nint, int, nint, nint, nint, nint*, int> iAllReduce;
    readonly delegate* unmanaged[Cdecl]<nint, int, nint, int, nint, nint*, int> iBroadcast;
    readonly delegate* unmanaged[Cdecl]<nint, int, nint, int, int, nint, nint*, int> iSend, iReceive;
    readonly delegate* unmanaged[Cdecl]<nint*, int*, nint, int> test;
    readonly delegate* unmanaged[Cdecl]<nint, int, int> abort;
    readonly delegate* unmanaged[Cdecl]<int> queryCuda;

    MpiLibrary(string file, nint library)
    {
        File = file;
        IsOpenMpi = NativeLibrary.TryGetExport(library, "ompi_mpi_comm_world", out _);
        initThread = (delegate* unmanaged[Cdecl]<int*, nint, int, int*, int>)Symbol("MPI_Init_thread");
        finalize = (delegate* unmanaged[Cdecl]<int>)Symbol("MPI_Finalize");
        commRank = (delegate* unmanaged[Cdecl]<nint, int*, int>)Symbol("MPI_Comm_rank");
        commSize = (delegate* unmanaged[Cdecl]<nint, int*, int>)Symbol("MPI_Comm_size");
        commDuplicate = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Symbol("MPI_Comm_dup");
        commSplitType = (delegate* unmanaged[Cdecl]<nint, int, int, nint, nint*, int>)Symbol("MPI_Comm_split_type");
        commSetErrorHandler = (delegate* unmanaged[Cdecl]<nint, nint, int>)Symbol("MPI_Comm_set_errhandler");
        errorString = (delegate* unmanaged[Cdecl]<int, byte*, int*, int>)Symbol("MPI_Error_string");
        iAllReduce = (delegate* unmanaged[Cdecl]<nint, nint, int, nint, nint, nint, nint*, int>)Symbol("MPI_Iallreduce");
        iBroadcast = (delegate* unmanaged[Cdecl]<nint, int, nint, int, nint, nint*, int>)Symbol("MPI_Ibcast");
        iSend = (delegate* unmanaged[Cdecl]<nint, int, nint, int, int, nint, nint*, int>)Symbol("MPI_Isend");
        iReceive = (delegate* unmanaged[Cdecl]<nint, int, nint, int, int, nint, nint*, int>)Symbol("MPI_Irecv");
        test = (delegate* unmanaged[Cdecl]<nint*, int*, nint, int>)Symbol("MPI_Test");
        abort = (delegate* unmanaged[Cdecl]<nint, int, int>)Symbol("MPI_Abort");
        if (NativeLibrary.TryGetExport(library, "MPIX_Query_cuda_support", out var query))
            queryCuda = (delegate* unmanaged[Cdecl]<int>)query;
        var text = stackalloc byte[LongestText];
        int length;
        Check(((delegate* unmanaged[Cdecl]<byte*, int*, int>)Symbol("MPI_Get_library_version"))(text, &length),
            "asking for the library's version");
        Version = Marshal.PtrToStringUTF8((nint)text, length).Split('\n', ',')[0].Replace("Version:", "", StringComparison.Ordinal);
        Version = string.Join(' ', Version.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries));
        Handles = IsOpenMpi ? MpiHandles.OpenMpi(Symbol) : MpiHandles.Mpich;
        if (!IsOpenMpi && !NativeLibrary.TryGetExport(library, "MPIR_Dup_fn", out _))
            throw new PlatformNotSupportedException($"{file} is {Version}: wanted Open MPI, or MPICH and what shares its binary " +
                $"interface (Intel MPI, MVAPICH, Cray MPICH). {Launch.LibraryVariable} names another file.");

        nint Symbol(string name) => NativeLibrary.TryGetExport(library, name, out var address) ? address
            : throw new PlatformNotSupportedException($"{file} has no {name}: wanted a library of MPI 3.0 or " +
                $"newer. {Launch.LibraryVariable} names another file.");
    }

    /// <summary>The file from which the library was loaded.</summary>
    public string File { get; }

    /// <summary>Its name and version, such as "Open MPI v4.1.4".</summary>
    public string Version { get; }

    public bool IsOpenMpi { get; }

    public MpiHandles Handles { get; }

    /// <summary>Loads the first of the files that is installed.</summary>
    /// <param name="launch">The launcher of this process.</param>
    /// <exception cref="PlatformNotSupportedException">No file is installed, or the library is too old.</exception>
    public static MpiLibrary Load(Launch launch)
    {
        // UCX, which MPI libraries use, would replace the handler of the signal by which .NET detects a null reference.
        _ = SetEnvironment("UCX_ERROR_SIGNALS", "", 0);
        foreach (var file in launch.Libraries)
        {
            // Plug-ins of older versions of Open MPI search its symbols among those of the whole process.
            const int Now = 2, Global = 0x100;
            if (OpenLibrary(file, Now | Global) is var library and not 0) return new(file, library);
        }
        throw new PlatformNotSupportedException(
            $"{launch.Launcher} started {launch.Size} processes ({launch.Variable}), and no MPI library is here for them to talk with: " +
                $"found none of {string.Join(", ", launch.Libraries)}. " +
            $"On Debian: apt-get install libopenmpi3 openmpi-bin. Where it lies elsewhere, {Launch.LibraryVariable} names its file.");
    }

    [DllImport("libdl.so.2", EntryPoint = "dlopen", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    static extern nint OpenLibrary([MarshalAs(UnmanagedType.LPUTF8Str)] string file, int flags);

    [DllImport("libc", EntryPoint = "setenv", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    static extern int SetEnvironment([MarshalAs(UnmanagedType.LPUTF8Str)] string name, [MarshalAs(UnmanagedType.LPUTF8Str)] string value,
        int overwrite);

    public void Start()
    {
        int provided;
        Check(initThread(null, 0, Funneled, &provided), "MPI_Init_thread");
        if (provided < Funneled) throw new PlatformNotSupportedException($"{Version} ({File}) supports no program of several threads: " +
            $"found level {provided}, wanted MPI_THREAD_FUNNELED.");
    }

    public void End() => Check(finalize(), "MPI_Finalize");

    public (int Rank, int Size) Place(nint communicator)
    {
        int rank, size;
        Check(commRank(communicator, &rank), "MPI_Comm_rank");
        Check(commSize(communicator, &size), "MPI_Comm_size");
        return (rank, size);
    }

    /// <summary>A communicator of the same ranks with messages of its own. Its functions return errors.</summary>
    public nint Duplicate(nint communicator)
    {
        nint made = 0;
        Check(commDuplicate(communicator, &made), "MPI_Comm_dup");
        Check(commSetErrorHandler(made, Handles.ErrorsReturn), "MPI_Comm_set_errhandler");
        return made;
    }

    /// <summary>The ranks of this machine.</summary>
    public nint OfThisMachine(nint communicator)
    {
        nint made = 0;
        Check(commSplitType(communicator, Handles.OfSharedMemory, 0, Handles.NoInfo, &made), "MPI_Comm_split_type");
        return made;
    }

    public nint AllReduce(nint data, int count, nint type, nint operation, nint communicator)
    {
        nint request = 0;
        Check(iAllReduce(Handles.InPlace, data, count, type, operation, communicator, &request), "MPI_Iallreduce");
        return request;
    }

    public nint Broadcast(nint data, int count, nint type, int root, nint communicator)
    {
        nint request = 0;
        Check(iBroadcast(data, count, type, root, communicator, &request), "MPI_Ibcast");
        return request;
    }

    public nint Send(nint data, int bytes, int to, int tag, nint communicator)
    {
        nint request = 0;
        Check(iSend(data, bytes, Handles.Byte, to, tag, communicator, &request), "MPI_Isend");
        return request;
    }

    public nint Receive(nint data, int bytes, int from, int tag, nint communicator)
    {
        nint request = 0;
        Check(iReceive(data, bytes, Handles.Byte, from, tag, communicator, &request), "MPI_Irecv");
        return request;
    }

    /// <summary>Whether the request is done. The call lets MPI make progress.</summary>
    public bool Test(ref nint request)
    {
        int done;
        fixed (nint* one = &request) Check(test(one, &done, Handles.IgnoreStatus), "MPI_Test");
        return done != 0;
    }

    /// <summary>Ends every rank. MPI's launcher names this rank.</summary>
    public void Abort(int exitCode) => abort(Handles.World, exitCode);

    /// <summary>Whether the library accepts addresses of a GPU's memory.</summary>
    public bool TakesGpuMemory => queryCuda != null && queryCuda() == 1;

    void Check(int result, string doing)
    {
        if (result == Success) return;
        var text = stackalloc byte[LongestText];
        int length;
        var words = errorString(result, text, &length) == Success ? Marshal.PtrToStringUTF8((nint)text, length) : $"error {result}";
        throw new RanksException($"{doing} failed: {words}.");
    }
}
