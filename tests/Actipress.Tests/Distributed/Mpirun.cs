using System.Diagnostics;

namespace Actipress.Tests.Distributed;

/// <summary>Several processes of one program on this machine, started by Open MPI's <c>mpirun</c>; tests skip by name where it is not installed.</summary>
static class Mpirun
{
    /// <summary>What ranks have in their environment: one thread each, and Open MPI's leave to be root, which it is in a container.</summary>
    public static (string Name, string? Value)[] Environment { get; } =
        [("OMP_NUM_THREADS", "1"), ("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"), ("OMPI_MCA_btl_base_warn_component_unused", "0")];

    /// <summary>The command that starts so many of them.</summary>
    public static string[] Command(int ranks, params string[] program)
    {
        if (!File.Exists("/usr/bin/mpirun.openmpi")) Assert.Skip("No mpirun.openmpi: on Debian, apt-get install openmpi-bin.");
        return ["mpirun.openmpi", "--oversubscribe", "--bind-to", "none", "-n", $"{ranks}", .. program];
    }

    public static Process Start(int ranks, string[] program, params (string Name, string? Value)[] more) => ChildProcess.Start(Command(ranks, program), null, [.. Environment, .. more]);

    public static ChildProcess.Ended Run(int ranks, string[] program, params (string Name, string? Value)[] more)
    {
        using var process = Start(ranks, program, more);
        return ChildProcess.Wait(process);
    }

    /// <summary>How one of this assembly's explicit tests is run.</summary>
    public static string[] Scenario(Type scenarios, string name) => [System.Environment.ProcessPath!, "-explicit", "only", "-method", $"{scenarios.FullName}.{name}", "-noColor"];

    /// <summary>Runs one of this assembly's explicit tests on so many ranks, each of which must pass.</summary>
    public static void RunScenario(int ranks, Type scenarios, string name, params (string Name, string? Value)[] more)
    {
        var ended = Run(ranks, Scenario(scenarios, name), more);
        Assert.True(ended.ExitCode == 0, ended.All);
        Assert.Equal(ranks, ended.Output.Split("Total: 1, Errors: 0, Failed: 0, Skipped: 0").Length - 1);
    }

    /// <summary>The process of one rank; null while it is not there.</summary>
    public static int? ProcessOf(Process mpirun, int rank)
    {
        foreach (var folder in Directory.GetDirectories("/proc").Where(folder => int.TryParse(Path.GetFileName(folder), out _)))
        {
            try
            {
                // pid (name) state parent ...
                var parent = File.ReadAllText(Path.Combine(folder, "stat")).Split(") ", 2)[1].Split(' ')[1];
                if (parent == $"{mpirun.Id}" && File.ReadAllText(Path.Combine(folder, "environ")).Split('\0').Contains($"OMPI_COMM_WORLD_RANK={rank}")) return int.Parse(Path.GetFileName(folder), null);
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
