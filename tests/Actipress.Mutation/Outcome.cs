namespace Actipress.Mutation;

/// <summary>The outcome of a mutant.</summary>
/// <param name="State">The state of the sources and tests in the run.</param>
/// <param name="Key">The key of the mutant.</param>
/// <param name="Died">Whether a test noticed the mutant.</param>
/// <param name="By">The test that noticed it; null where none did.</param>
/// <param name="Tests">The number of test methods that ran, of those that reach the mutant.</param>
/// <param name="Reaching">The number of test methods that reach the mutant.</param>
sealed record Outcome(string State, string Key, bool Died, string? By, int Tests, int Reaching)
{
    /// <summary>The text for a line of progress.</summary>
    public string InWords => Died ? $"died by {By}" : Reaching == 0 ? "NO TEST REACHES" : "SURVIVED";

    /// <summary>Activates a mutant and runs the tests that reach it, the quickest first, up to a limit of seconds.</summary>
    public static Outcome Of(string state, Mutant mutant, Reach reach, MutatedTree tree, double limit)
    {
        var reaching = reach.Of(mutant);
        var (ran, seconds) = (0, 0.0);
        foreach (var share in new[] { Math.Min(3, limit), limit })      // most mutants die within the first seconds
        {
            var batch = new List<Reach.Test>();
            while (ran + batch.Count < reaching.Count && (seconds + reaching[ran + batch.Count].Seconds <= share || ran + batch.Count == 0))
            {
                seconds += reaching[ran + batch.Count].Seconds;
                batch.Add(reaching[ran + batch.Count]);
            }
            if (batch.Count == 0) continue;
            var patience = TimeSpan.FromSeconds(60 + 10 * batch.Sum(test => test.Seconds));
            var tests = batch.SelectMany(test => new[] { "-method", test.Method });
            var run = tree.Run([.. tests, "-stopOnFail"], patience, ("ACTIPRESS_MUTANT", $"{mutant.Id}"));
            ran += batch.Count;
            if (run.ExitCode != 0) return new(state, mutant.Key, true, run.Noticed, ran, reaching.Count);
        }
        return new(state, mutant.Key, false, null, ran, reaching.Count);
    }
}
