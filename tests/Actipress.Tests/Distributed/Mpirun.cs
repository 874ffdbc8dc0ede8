using System.Diagnostics;

namespace Actipress.Tests.Distributed;

/// <summary>
/// Runs several processes of one program on this machine by Open MPI's <c>mpirun</c>. Tests skip by name where it is not installed.
/// </summary>
static class Mpirun
{
    /// <summary>The environment of the ranks: one thread each, and Open MPI's permission to run as root, as in a container.</summary>
    public static (string Name, string? Value)[] Environment { get; } =
        [("OMP_NUM_THREADS", "1"), ("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
            ("OMPI_MCA_btl_base_warn_component_unused", "0")];

    /// <summary>The command that starts this number of ranks.</summary>
    public static string[] Command(int ranks, params string[] program) =>
        ["/usr/bin/mpirun.openmpi", "--oversubscribe", "--bind-to", "none", "-n", $"{ranks}", .. program];

    /// <summary>The same command for MPICH.</summary>
    public static string[] MpichCommand(int ranks, params string[] program) => ["/usr/bin/mpiexec.mpich", "-n", $"{ranks}", .. program];

    public static Process Start(string[] command, params (string Name, string? Value)[] more)
    {
        if (!File.Exists(command[0])) Assert.Skip($"No {Path.GetFileName(command[0])}: on Debian, apt-get " +
            $"install {(command[0].EndsWith("mpich", StringComparison.Ordinal) ? "mpich" : "openmpi-bin")}.");
        return ChildProcess.Start(command, null, [.. Environment, .. more]);
    }

    public static Process Start(int ranks, string[] program, params (string Name, string? Value)[] more) =>
        Start(Command(ranks, program), more);

    public static ChildProcess.Ended Run(string[] command, params (string Name, string? Value)[] more)
    {
        using var process = Start(command, more);
        return ChildProcess.Wait(process);
    }

    public static ChildProcess.Ended Run(int ranks, string[] program, params (string Name, string? Value)[] more) =>
        Run(Command(ranks, program), more);

    /// <summary>The command that runs one of this assembly's explicit tests.</summary>
    public static string[] Scenario(Type scenarios, string name) =>
        [System.Environment.ProcessPath!, "-explicit", "only", "-method", $"{scenarios.FullName}.{name}", "-noColor"];

    /// <summary>Runs one of this assembly's explicit tests on this number of ranks. The test must pass on each rank.</summary>
    public static void RunScenario(int ranks, Type scenarios, string name) => AllPass(ranks, Run(ranks, Scenario(scenarios, name)));

    /// <summary>Fails unless a scenario has passed on this number of ranks.</summary>
    public static void AllPass(int ranks, ChildProcess.Ended ended)
    {
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Equal(ranks, ended.Output.Split("Total: 1, Errors: 0, Failed: 0, Skipped: 0").Length - 1);
    }

    /// <summary>The process of one rank; null while it does not exist.</summary>
    public static int? ProcessOf(Process mpirun, int rank)
    {
        foreach (var folder in Directory.GetDirectories("/proc").Where(folder => int.TryParse(Path.GetFileName(folder), out _)))
        {
            try
            {
                // pid (name) state parent ...
                var parent = File.ReadAllText(Path.Combine(folder, "stat")).Split(") ", 2)[1].Split(' ')[1];
                if (parent == $"{mpirun.Id}"
                    && File.ReadAllText(Path.Combine(folder,
                    "environ")).Split('\0').Contains($"OMPI_COMM_WORLD_RANK={rank}")) return int.Parse(Path.GetFileName(folder), null);
            }
            catch (Exception gone) when (gone is IOException or UnauthorizedAccessException or IndexOutOfRangeException) { }
        }
        return null;
    }

    /// <summary>Sends a signal.</summary>
    public static void Signal(string signal, int process)
    {
        using var kill = Process.Start("kill", [$"-{signal}", $"{process}"]);
        kill.WaitForExit();
    }
}
