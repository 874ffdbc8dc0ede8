using System.Globalization;

namespace Actipress.Distributed;

/// <summary>What started this process as one of several, by the environment that it left.</summary>
/// <param name="Launcher">Its name.</param>
/// <param name="Variable">The variable that tells how many processes it started.</param>
/// <param name="Size">How many.</param>
/// <param name="Rank">Which of them this process is.</param>
/// <param name="Libraries">The files of the MPI libraries that it may belong to, the likeliest first.</param>
sealed record Launch(string Launcher, string Variable, int Size, int Rank, IReadOnlyList<string> Libraries)
{
    /// <summary>The variable that names the MPI library's file where it has another name or lies elsewhere.</summary>
    public const string LibraryVariable = "ACTIPRESS_MPI";

    static readonly string[] openMpi = ["libmpi.so.40", "libmpi.so.80", "libmpi.so.20"],
        mpich = ["libmpich.so.12", "libmpi.so.12", "libmpi_gnu.so.12", "libmpi_cray.so.12"];

    // PMI's variables are MPICH's and Intel MPI's. Slurm's are there under each kind of srun --mpi, and only in steps.
    static readonly (string Launcher, string Size, string Rank, string[] Libraries)[] known =
    [
        ("Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", [.. openMpi, "libmpi.so"]),
        ("MPICH's mpiexec", "PMI_SIZE", "PMI_RANK", [.. mpich, "libmpi.so"]),
        ("Slurm's srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", [.. openMpi, .. mpich, "libmpi.so"]),
    ];

    /// <summary>What started this process; null where nothing did, or where it started this process alone.</summary>
    /// <param name="variable">The value of an environment variable.</param>
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
