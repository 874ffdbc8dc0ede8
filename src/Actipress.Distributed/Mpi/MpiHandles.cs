namespace Actipress.Distributed.Mpi;

/// <summary>
/// The constants of an MPI library's C interface that a program has compiled in: addresses of its objects in Open MPI, numbers in MPICH and
/// those that share its binary interface (Intel MPI, MVAPICH, Cray MPICH).
/// </summary>
sealed record MpiHandles
{
    public required nint World { get; init; }
    public required nint NoInfo { get; init; }
    public required nint ErrorsReturn { get; init; }
    public required nint Float { get; init; }
    public required nint Double { get; init; }
    public required nint Byte { get; init; }
    public required nint SignedByte { get; init; }
    public required nint UnsignedByte { get; init; }
    public required nint Short { get; init; }
    public required nint Int { get; init; }
    public required nint Long { get; init; }
    public required nint Sum { get; init; }
    public required nint Smallest { get; init; }
    public required nint Largest { get; init; }
    public required nint InPlace { get; init; }
    public required nint IgnoreStatus { get; init; }
    public required int OfSharedMemory { get; init; }

    /// <summary>MPICH's constants, from its <c>mpi.h</c>. MPICH guarantees that this interface stays (mpich.org/abi).</summary>
    public static MpiHandles Mpich { get; } = new()
    {
        World = 0x44000000,
        NoInfo = 0x1c000000,
        ErrorsReturn = 0x54000001,
        Float = 0x4c00040a,
        Double = 0x4c00080b,
        Byte = 0x4c00010d,
        SignedByte = 0x4c000118,
        UnsignedByte = 0x4c000102,
        Short = 0x4c000203,
        Int = 0x4c000405,
        Long = 0x4c000809,
        Largest = 0x58000001,
        Smallest = 0x58000002,
        Sum = 0x58000003,
        InPlace = -1,
        IgnoreStatus = 1,
        OfSharedMemory = 1,
    };

    /// <summary>Open MPI's constants.</summary>
    /// <param name="symbol">The address of an exported object.</param>
    public static MpiHandles OpenMpi(Func<string, nint> symbol) => new()
    {
        World = symbol("ompi_mpi_comm_world"),
        NoInfo = symbol("ompi_mpi_info_null"),
        ErrorsReturn = symbol("ompi_mpi_errors_return"),
        Float = symbol("ompi_mpi_float"),
        Double = symbol("ompi_mpi_double"),
        Byte = symbol("ompi_mpi_byte"),
        SignedByte = symbol("ompi_mpi_signed_char"),
        UnsignedByte = symbol("ompi_mpi_unsigned_char"),
        Short = symbol("ompi_mpi_short"),
        Int = symbol("ompi_mpi_int"),
        Long = symbol("ompi_mpi_long_long_int"),
        Largest = symbol("ompi_mpi_op_max"),
        Smallest = symbol("ompi_mpi_op_min"),
        Sum = symbol("ompi_mpi_op_sum"),
        InPlace = 1,
        IgnoreStatus = 0,
        OfSharedMemory = 0,
    };
}
