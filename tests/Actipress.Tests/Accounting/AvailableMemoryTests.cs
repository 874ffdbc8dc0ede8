using Actipress.Accounting;

namespace Actipress.Tests.Accounting;

/// <summary>The available memory by files of Linux that the tests write.</summary>
public sealed class AvailableMemoryTests : IDisposable
{
    const long MiB = 1 << 20;

    readonly string root = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public AvailableMemoryTests()
    {
        Write("proc/meminfo", "MemTotal:       65536000 kB\nMemFree:         1024000 kB\nMemAvailable:    4194304 kB\n");
        Write("proc/self/cgroup", "");
    }

    public void Dispose() => Directory.Delete(root, recursive: true);

    void Write(string file, string text)
    {
        var path = Path.Combine(root, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }

    [Fact]
    public void Without_groups_it_is_what_the_machine_has()
    {
        Assert.Equal(4096 * MiB, AvailableMemory.OnLinux(root));
        File.Delete(Path.Combine(root, "proc/self/cgroup"));
        Assert.Equal(4096 * MiB, AvailableMemory.OnLinux(root));
    }

    // A job of Slurm: its step's group has no limit, the job's has.
    [Theory]
    [InlineData("system.slice/slurmstepd.scope/job_7/step_0", "system.slice/slurmstepd.scope/job_7")]
    [InlineData("/", "")]    // a container that sees its own group as the root
    public void A_group_of_version_2_leaves_its_limit_less_what_is_used_but_for_cached_files(string own, string limited)
    {
        Write("proc/self/cgroup", $"0::/{own.TrimStart('/')}\n");
        Write($"sys/fs/cgroup/{own.TrimStart('/')}/memory.max", "max\n");
        Write($"sys/fs/cgroup/{limited}/memory.max", $"{2048 * MiB}\n");
        Write($"sys/fs/cgroup/{limited}/memory.current", $"{1500 * MiB}\n");
        Assert.Equal(548 * MiB, AvailableMemory.OnLinux(root));
        Write($"sys/fs/cgroup/{limited}/memory.stat", $"anon {1100 * MiB}\nfile {400 * MiB}\ninactive_file {300 * MiB}\n");
        Assert.Equal(848 * MiB, AvailableMemory.OnLinux(root));
        Write($"sys/fs/cgroup/{limited}/memory.max", $"{100 * MiB}\n");
        Assert.Equal(0, AvailableMemory.OnLinux(root));
        Write($"sys/fs/cgroup/{limited}/memory.max", "max\n");
        Assert.Equal(4096 * MiB, AvailableMemory.OnLinux(root));
    }

    [Theory]
    [InlineData("docker/abc", "docker/abc")]
    [InlineData("docker/abc", "")]    // mounted in the container as its root
    public void So_does_one_of_version_1(string own, string limited)
    {
        Write("proc/self/cgroup", $"9:name=systemd:/\n4:memory:/{own}\n1:cpu:/\n0::/\n");
        Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        Write($"sys/fs/cgroup/memory/{limited}/memory.limit_in_bytes", $"{2048 * MiB}\n");
        Write($"sys/fs/cgroup/memory/{limited}/memory.usage_in_bytes", $"{1024 * MiB}\n");
        Write($"sys/fs/cgroup/memory/{limited}/memory.stat", $"inactive_file {1 * MiB}\ntotal_inactive_file {24 * MiB}\n");
        Assert.Equal(1048 * MiB, AvailableMemory.OnLinux(root));
    }

    [Fact]
    public void A_machine_that_does_not_tell_is_refused()
    {
        Write("proc/meminfo", "MemTotal:       65536000 kB\n");
        Assert.Contains(
            "wanted MemAvailable", Assert.Throws<PlatformNotSupportedException>(() => AvailableMemory.OnLinux(root)).Message,
            StringComparison.Ordinal);
    }
}
