using Actipress.Accounting;
using Actipress.Autograd;

namespace Actipress.Saving;

/// <summary>What a user should know of a step: in each report, and once by the event.</summary>
/// <param name="policy">Whose rules may have decided nothing.</param>
/// <param name="ledger">The books of the step.</param>
sealed class Notices(SavingPolicy policy, Ledger ledger)
{
    // Bytes of the maps of the step by operations that are not in the table.
    readonly Dictionary<string, long> unknown = [];

    // What was told by the event, and the notes that hold for every step.
    readonly HashSet<string> told = [];
    IReadOnlyList<Note>? lasting;

    /// <summary>Told of each thing once, when the first backward pass begins that shows it.</summary>
    public Action<string>? Noted { get; set; }

    /// <summary>Another forward pass begins.</summary>
    public void Begin() => unknown.Clear();

    /// <summary>An operation that is not in the table has saved a map.</summary>
    public void MeetUnknown(Operation operation, long bytes) => unknown[operation.Name] = unknown.GetValueOrDefault(operation.Name) + bytes;

    /// <summary>All notes of the step.</summary>
    public IEnumerable<Note> Notes() => policy.Codec is { } codec ? StepNotes.Of(ledger, unknown, codec).Concat(lasting ?? []) : [];

    /// <summary>A backward pass begins: tells what was not told before.</summary>
    /// <param name="failed">Gets what the event throws.</param>
    public void Tell(Action<Exception> failed)
    {
        lasting ??= policy.IdleRules();
        foreach (var note in Notes())
        {
            if (!told.Add(note.About)) continue;
            try { Noted?.Invoke(note.Text); }
            catch (Exception failure) { failed(failure); }
        }
    }
}
