using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Actipress.Tests.Experiments;

/// <summary>
/// A real Slurm with this machine as its only node. The test starts munged, slurmctld and slurmd in a folder of their own.
/// </summary>
sealed class SlurmNode : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-slurm").FullName;
    readonly List<Process> daemons = [];

    /// <summary>Starts the daemons. The test skips by name where Slurm is not installed.</summary>
    public static SlurmNode Start()
    {
        foreach (var program in (string[])["munged", "slurmctld", "slurmd", "sbatch"])
            if (!((string[])["/usr/sbin", "/usr/bin"]).Any(bin => File.Exists(Path.Combine(bin, program))))
                Assert.Skip($"No {program}: on Debian, apt-get install slurm-wlm.");
        var node = new SlurmNode();
        try
        {
            node.StartDaemons();
            return node;
        }
        catch
        {
            node.Dispose();
            throw;
        }
    }

    /// <summary>The environment in which Slurm's commands find the node.</summary>
    public (string, string?)[] Environment => [("SLURM_CONF", In("slurm.conf"))];

    string In(string name) => Path.Combine(folder, name);

    void StartDaemons()
    {
        File.WriteAllBytes(In("munge.key"), RandomNumberGenerator.GetBytes(128));
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(In("munge.key"), UnixFileMode.UserRead);
        foreach (var state in (string[])["controller", "node"]) Directory.CreateDirectory(In(state));
        var (host, user) = (Dns.GetHostName().Split('.')[0], System.Environment.UserName);
        File.WriteAllText(In("slurm.conf"), $"""
            ClusterName=actipress
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={FreePort()}
            SlurmdPort={FreePort()}
            SlurmUser={user}
            SlurmdUser={user}
            AuthType=auth/munge
            AuthInfo=socket={In("munge.socket")}
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            JobAcctGatherType=jobacct_gather/none
            AccountingStorageType=accounting_storage/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_Core
            StateSaveLocation={In("controller")}
            SlurmdSpoolDir={In("node")}
            SlurmctldPidFile={In("slurmctld.pid")}
            SlurmdPidFile={In("slurmd.pid")}
            MailProg=/bin/true
            NodeName={host} NodeAddr=127.0.0.1 CPUs={System.Environment.ProcessorCount} State=UNKNOWN
            PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP

            """);
        Daemon(
            "munged", "--foreground", "--force", "--key-file", In("munge.key"), "--socket", In("munge.socket"), "--pid-file",
            In("munged.pid"), "--log-file", In("munged.log"), "--seed-file", In("munged.seed"));
        Wait("munged's socket", () => File.Exists(In("munge.socket")));
        Daemon("slurmctld", "-D", "-L", In("slurmctld.log"));
        Daemon("slurmd", "-D", "-L", In("slurmd.log"));
        Wait("an idle node", () => ChildProcess.Run(["sinfo", "-h", "-o", "%T"], null, Environment).Output.Trim() == "idle");
    }

    static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    // Debian installs daemons in a folder that is not on most users' path.
    void Daemon(string name, params string[] arguments) =>
        daemons.Add(ChildProcess.Start(["/usr/sbin/" + name, .. arguments], null, Environment));

    void Wait(string what, Func<bool> isThere)
    {
        for (var waited = Stopwatch.StartNew(); !isThere(); Thread.Sleep(100))
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(60), $"Waited a minute for {what}.\n{Log()}");
    }

    /// <summary>The logs of the daemons.</summary>
    public string Log() =>
        string.Join('\n', Directory.GetFiles(folder, "*.log").Select(file => $"{Path.GetFileName(file)}:\n{File.ReadAllText(file)}"));

    public void Dispose()
    {
        foreach (var daemon in Enumerable.Reverse(daemons))
        {
            daemon.Kill(entireProcessTree: true);
            daemon.WaitForExit();
            daemon.Dispose();
        }
        Directory.Delete(folder, recursive: true);
    }
}
