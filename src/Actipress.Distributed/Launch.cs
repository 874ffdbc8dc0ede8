using System.Globalization;

namespace Actipress.Distributed;

/// <summary>The launcher that started this process as one of several, recognised by its environment variables.</summary>
/// <param name="Launcher">The launcher's name.</param>
/// <param name="Variable">The variable with the number of processes.</param>
/// <param name="Size">The number of processes.</param>
/// <param name="Rank">The index of this process.</param>
/// <param name="Libraries">The files of the MPI libraries to which the launcher may belong, the likeliest first.</param>
sealed record Launch(string Launcher, string Variable, int Size, int Rank, IReadOnlyList<string> Libraries)
{
    /// <summary>The variable that names the file of an MPI library with another name or place.</summary>
    public const string LibraryVariable = "ACTIPRESS_MPI";

    static readonly string[] openMpi = ["libmpi.so.40", "libmpi.so.80", "libmpi.so.20"],
        mpich = ["libmpich.so.12", "libmpi.so.12", "libmpi_gnu.so.12", "libmpi_cray.so.12"];

    // MPICH and Intel MPI set PMI's variables. Slurm's variables exist under each kind of srun --mpi, and only in steps.
    static readonly (string Launcher, string Size, string Rank, string[] Libraries)[] known =
    [
        ("Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", [.. openMpi, "libmpi.so"]),
        ("MPICH's mpiexec", "PMI_SIZE", "PMI_RANK", [.. mpich, "libmpi.so"]),
        ("Slurm's srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", [.. openMpi, .. mpich, "libmpi.so"]),
    ];

    /// <summary>
    /// Whether this process is one of several, or was started by Open MPI's mpirun, if only alone. Its terminal is then the launcher's.
    /// </summary>
    /// <param name="variable">Returns the value of an environment variable.</param>
    public static bool HasTerminal(Func<string, string?> variable) => Of(variable) is not null || variable(known[0].Rank) is not null;

    /// <summary>The launcher of this process; null where there is none, or where it started only this process.</summary>
    /// <param name="variable">Returns the value of an environment variable.</param>
    public static Launch? Of(Func<string, string?> variable)
    {
        foreach (var (launcher, size, rank, libraries) in known)
        {
            if (Number(size) is not { } processes || Number(rank) is not { } own) continue;
            if (processes < 2) return null;
            var named = variable(LibraryVariable);
            return new(launcher, size, processes, own, string.IsNullOrEmpty(named) ? libraries : [named]);
        }
        return null;

        int? Number(string name) => int.TryParse(variable(name), CultureInfo.InvariantCulture, out var number) ? number : null;
    }
}
