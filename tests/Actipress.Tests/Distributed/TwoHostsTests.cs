using System.Diagnostics;
using System.Globalization;

namespace Actipress.Tests.Distributed;

/// <summary>
/// Ranks on two hosts that reach each other by TCP alone: two network namespaces with a cable between them, each with a host name of its
/// own. The tests skip by name where namespaces are not permitted.
/// </summary>
public sealed class TwoHostsTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;
    readonly string one = $"actipress{Environment.ProcessId}a", other = $"actipress{Environment.ProcessId}b";
    readonly string subnet = $"10.213.{Environment.ProcessId % 250}";

    // Interfaces have names of at most 15 letters.
    string Cable(string end) => $"ap{Environment.ProcessId}{end}";

    public TwoHostsTests()
    {
        var made = Run("ip", "netns", "add", one);
        if (made is not { ExitCode: 0 }) Assert.Skip($"No network namespaces: {made?.All ?? "no program ip (on Debian, iproute2)"}");
        string[][] steps =
        [
            ["netns", "add", other],
            ["link", "add", Cable("a"), "type", "veth", "peer", "name", Cable("b")],
            ["link", "set", Cable("a"), "netns", one], ["link", "set", Cable("b"), "netns", other],
            ["-n", one, "addr", "add", $"{subnet}.1/24", "dev", Cable("a")],
            ["-n", other, "addr", "add", $"{subnet}.2/24", "dev", Cable("b")],
            ["-n", one, "link", "set", "lo", "up"], ["-n", other, "link", "set", "lo", "up"],
            ["-n", one, "link", "set", Cable("a"), "up"], ["-n", other, "link", "set", Cable("b"), "up"],
        ];
        foreach (var step in steps)
            if (Run("ip", step) is var ended && ended is not { ExitCode: 0 })
                Assert.Skip($"No network namespaces: ip {string.Join(' ', step)}: {ended?.All}");
    }

    public void Dispose()
    {
        foreach (var name in (string[])[one, other]) Run("ip", "netns", "del", name);
        Directory.Delete(folder, recursive: true);
    }

    static ChildProcess.Ended? Run(string program, params string[] arguments)
    {
        try { return ChildProcess.Run([program, .. arguments]); }
        catch (System.ComponentModel.Win32Exception) { return null; }
    }

    // mpirun starts the other host's rank by this script, as it would by ssh: options, host, command.
    string[] Command(string[] program)
    {
        var agent = Path.Combine(folder, "agent");
        File.WriteAllText(agent, $"""
            while [ "$1" != {subnet}.2 ]; do shift; done
            shift
            exec ip netns exec {other} unshare --uts sh -c "hostname {other}; $*"
            """);
        return
        [
            "/usr/sbin/ip", "netns", "exec", one, "/usr/bin/mpirun.openmpi", "--bind-to", "none",
            "--mca", "plm_rsh_agent", $"sh {agent}", "--mca", "pml", "ob1", "--mca", "btl", "tcp,self",
            "--mca", "btl_tcp_if_include", $"{subnet}.0/24", "--mca", "oob_tcp_if_include", $"{subnet}.0/24",
            "-x", "OMP_NUM_THREADS", "-x", "PATH", "--host", $"{subnet}.1:1,{subnet}.2:1", "-n", "2", .. program,
        ];
    }

    long SentBytes() => long.Parse(
        Run("ip", "netns", "exec", one, "cat", $"/sys/class/net/{Cable("a")}/statistics/tx_bytes")!.Output, CultureInfo.InvariantCulture);

    Process Start(string scenario)
    {
        if (!File.Exists("/usr/bin/mpirun.openmpi")) Assert.Skip("No mpirun.openmpi: on Debian, apt-get install openmpi-bin.");
        return Mpirun.Start(Command(Mpirun.Scenario(typeof(DataParallelScenarios), scenario)));
    }

    [Fact]
    public void Gradients_are_averaged_over_two_hosts()
    {
        var before = SentBytes();
        using var training = Start(nameof(DataParallelScenarios.Trains_on_two_hosts));
        Mpirun.AllPass(2, ChildProcess.Wait(training));
        Assert.True(SentBytes() - before > DataParallelScenarios.BytesOfTwoHosts, "Ranks of two hosts send gradients through the network.");
    }

    [Fact]
    public void A_host_that_goes_down_ends_the_other()
    {
        using var training = Start(nameof(DataParallelScenarios.Trains_for_long));
        var sent = SentBytes();
        Assert.True(
            SpinWait.SpinUntil(() => training.HasExited || SentBytes() > sent + (10 << 20), TimeSpan.FromMinutes(2)), "No step was done.");
        Assert.False(training.HasExited, "The training ended by itself.");
        // The processes of the other host are killed, as when its power fails; its kernel closes their connections.
        foreach (var process in Run("ip", "netns", "pids", other)!.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            Mpirun.Signal("KILL", int.Parse(process, CultureInfo.InvariantCulture));
        var ended = ChildProcess.Wait(training);
        Assert.NotEqual(0, ended.ExitCode);
        // Open MPI names the host, or says that its daemon failed where it notices the daemon's end first.
        Assert.True(
            ((string[])[$"{subnet}.2", other, "daemons"]).Any(name => ended.Error.Contains(name, StringComparison.Ordinal)), ended.All);
    }
}
