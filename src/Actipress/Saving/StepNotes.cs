using System.Globalization;
using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Selection;

namespace Actipress.Saving;

/// <summary>A note for the user about a step.</summary>
/// <param name="About">The subject of the note: each subject is noted once.</param>
/// <param name="Text">One or two sentences: what was found, and the way out.</param>
readonly record struct Note(string About, string Text);

/// <summary>Makes the notes about a step from its ledger.</summary>
static class StepNotes
{
    // Above this root mean square of the maps' relative errors, gradients with a cosine below 0.95 were found.
    const double DoubtfulError = 0.5, FineError = 0.3;

    // A cost below this share of all saved bytes is not noted.
    const double SmallShare = 0.01;

    /// <summary>All notes of the step.</summary>
    /// <param name="ledger">The ledger after a forward pass.</param>
    /// <param name="unknown">The bytes that stay exact because the table has no line for their operation, by the operation's name.</param>
    /// <param name="codec">The codec of layers that no rule names.</param>
    public static IEnumerable<Note> Of(Ledger ledger, IReadOnlyDictionary<string, long> unknown, ActivationCodec codec)
    {
        var saved = ledger.Accounts.Sum(account => account.SavedBytes);
        foreach (var (operation, bytes) in unknown)
            if (bytes > saved * SmallShare)
                yield return new(operation, operation.Length == 0
                    ? $"{CompressionReport.Bytes(bytes)} were saved by no operation of libtorch, as a custom autograd function's are: "
                        + "they stay exact."
                    : $"{operation} is not in the table of operations: what it saves, {CompressionReport.Bytes(bytes)}, stays exact. If "
                        + $"you know what its backward pass needs: options.{nameof(CompressionOptions.Operation)}(\"{operation}\", "
                        + $"{nameof(SavedNeed)}...).");

        if (FinalizedHandles.Refusal is { Message: var refusal })
            yield return new("finalizers", "An operation with a number, such as a LeakyReLU, may fail or compute with another number, "
                + $"where the collector frees its arguments too early. Actipress cannot prevent it here. {refusal}");

        var workspaces = ledger.Accounts.Sum(account => account.WorkspaceBytes);
        if (workspaces > 0)
            yield return new("workspace", $"{CompressionReport.Bytes(workspaces)} are the workspace of a recurrent layer, whose layout "
                + "only its library knows: it stays as it is.");

        var alive = ledger.Accounts.Where(account => account.AliveElsewhereBytes > 0)
            .OrderByDescending(account => account.AliveElsewhereBytes).ToList();
        if (alive.Count > 0)
        {
            var bytes = CompressionReport.Bytes(alive.Sum(account => account.AliveElsewhereBytes));
            var first = string.Join(", ", alive.Take(3).Select(account =>
                account.AliveElsewhereBy.Count == 0 ? $"{account}" : $"{account} by {string.Join(" and ", account.AliveElsewhereBy)}"));
            var others = alive.Count > 3 ? $" and {alive.Count - 3} layers more" : "";
            yield return new("alive", $"{bytes} of the maps were still alive when the backward pass began, and are kept as they are: "
                + $"{first}{others}. Disposing intermediate results would free them: with `using`, or with "
                + $"options.{nameof(CompressionOptions.DisposeIntermediates)}.");

            var lines = alive.SelectMany(account => account.AliveElsewhereAt).Distinct().ToList();
            if (lines.Count > 0)    // from the second step on
                yield return new("alive at", $"These lines saved maps that were still alive: {string.Join(", ", lines.Take(5))}"
                    + $"{(lines.Count > 5 ? $" and {lines.Count - 5} more" : "")}. The handle to dispose is one that such a line makes or "
                    + "passes on.");
        }

        if (codec.Keep is Keep.TopK && Doubt(ledger) is var (error, worst))
            yield return new("fidelity", string.Create(CultureInfo.InvariantCulture,
                $"The gradient of this step is likely far from the exact one: the maps' errors are {error:0.00} of their size, most in "
                    + $"{worst}. {Mend(codec, error)} would bring that down; options.{nameof(CompressionOptions.KeepFidelity)} finds what "
                    + $"each layer needs. A network that has learnt nothing yet is the worst case."));
    }

    static (double Error, string Worst)? Doubt(Ledger ledger)
    {
        var judged = ledger.Accounts.Where(account => account.RelativeError is not null).ToList();
        var kept = judged.Sum(account => account.JudgedBytes);
        if (kept == 0) return null;
        var error = Math.Sqrt(judged.Sum(account => account.JudgedBytes * Math.Pow(account.RelativeError!.Value, 2)) / kept);
        if (error < DoubtfulError) return null;
        return (error, $"{judged.MaxBy(account => account.JudgedBytes * account.RelativeError!.Value)}");
    }

    // The coarsest ratio that should be fine enough, assuming that the maps lose the same multiple of white noise's error at this ratio as
    // at their own.
    static string Mend(ActivationCodec codec, double error)
    {
        var ratio = ((Keep.TopK)codec.Keep).Ratio;
        foreach (var finer in (double[])[10, 4, 2])
            if (finer < ratio && error * Sensitivity.OfWhiteNoise(finer) / Sensitivity.OfWhiteNoise(ratio) < FineError)
                return $"{codec with { Keep = new Keep.TopK(finer) }}";
        return $"{ActivationCodec.Quantized(4)}";
    }
}
