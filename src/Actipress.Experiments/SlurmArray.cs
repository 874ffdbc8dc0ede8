using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Actipress.Experiments;

/// <summary>A sweep's remaining trainings as job arrays of Slurm, with one task for each training.</summary>
/// <param name="Sweep">The experiment; its folder must be visible from the nodes.</param>
/// <param name="Command">The command with which a node starts one training, to which the training's key is added.</param>
public sealed record SlurmArray(Sweep Sweep, IReadOnlyList<string> Command)
{
    // Slurm's usual MaxArraySize is 1001.
    const int LargestArray = 1000;

    /// <summary>The number of cores of a process.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>The number of processes that do each training together; see <see cref="Distributed.Ranks"/>.</summary>
    public int Ranks { get; init; } = 1;

    /// <summary>Slurm's plug-in that starts several ranks: pmix for Open MPI, pmi2 for MPICH.</summary>
    public string Mpi { get; init; } = "pmix";

    /// <summary>Further options of sbatch, such as <c>--time=1:00:00</c>.</summary>
    public IReadOnlyList<string> Options { get; init; } = [];

    /// <summary>Submits the job arrays by sbatch.</summary>
    /// <returns>The job numbers of the arrays; none where everything is done.</returns>
    /// <exception cref="ArgumentException">The ranks cannot do one of the trainings together.</exception>
    /// <exception cref="InvalidDataException">Slurm is not installed, or refuses; the message has its words.</exception>
    public IReadOnlyList<long> Submit()
    {
        Sweep.CheckAmong(Ranks);
        Directory.CreateDirectory(Logs);
        return [.. Sweep.Remaining().Select(plan => plan.Key()).Chunk(LargestArray).Select(keys => Submit(Script(keys)))];
    }

    string Logs => Path.Combine(Sweep.Folder, "state");

    /// <summary>
    /// The batch script of one array. Slurm sends SIGTERM to a task a minute before its time is over, at which the training saves its
    /// state.
    /// </summary>
    public string Script(IReadOnlyList<string> keys)
    {
        ArgumentNullException.ThrowIfNull(keys);
        return $"""
            #!/bin/bash
            #SBATCH --job-name=actipress-{Path.GetFileName(Sweep.Folder)}
            #SBATCH --array=0-{keys.Count - 1}
            #SBATCH --ntasks={Ranks}
            #SBATCH --cpus-per-task={Threads}
            #SBATCH --output={Logs}/slurm-%A-%a.log
            #SBATCH --signal=TERM@60
            #SBATCH --requeue
            runs=({string.Join(' ', keys)})
            exec {Launcher}{string.Join(' ', Command.Select(Quoted))} "${"{"}runs[$SLURM_ARRAY_TASK_ID]{"}"}"

            """;
    }

    string Launcher => Ranks == 1 ? "" : $"srun --mpi={Quoted(Mpi)} --cpus-per-task={Threads} --kill-on-bad-exit=1 ";

    static string Quoted(string word) => $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    long Submit(string script)
    {
        try
        {
            using var sbatch = Process.Start(new ProcessStartInfo("sbatch", ["--parsable", .. Options])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            var error = sbatch.StandardError.ReadToEndAsync();
            sbatch.StandardInput.Write(script);
            sbatch.StandardInput.Close();
            var output = sbatch.StandardOutput.ReadToEnd();
            sbatch.WaitForExit();
            return sbatch.ExitCode == 0 && long.TryParse(output.Split(';')[0], CultureInfo.InvariantCulture, out var job)
                ? job
                : throw new InvalidDataException($"Slurm refuses the job array: {error.Result.Trim()} {output.Trim()}");
        }
        catch (Win32Exception missing)
        {
            throw new InvalidDataException("No sbatch here: wanted Slurm's client (on Debian: apt-get install slurm-client), or leave "
                + "--slurm out to work on this machine.", missing);
        }
        catch (IOException closed)
        {
            throw new InvalidDataException("Slurm refuses the job array: sbatch ended before it had read the script.", closed);
        }
    }
}
