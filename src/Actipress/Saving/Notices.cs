using Actipress.Accounting;
using Actipress.Autograd;
using Actipress.Machine;

namespace Actipress.Saving;

/// <summary>The notes for the user about a step. Each report has them, and the event reports each note once.</summary>
/// <param name="policy">The policy whose rules may have decided nothing.</param>
/// <param name="ledger">The ledger of the step.</param>
sealed class Notices(SavingPolicy policy, Ledger ledger)
{
    // The bytes of the step's maps whose operations are not in the table, by operation.
    readonly Dictionary<string, long> unknown = [];

    // The subjects that the event has reported, and the notes that hold for every step.
    readonly HashSet<string> told = [];
    IReadOnlyList<Note>? lasting;

    /// <summary>Receives each note once, when the first backward pass to which it applies begins.</summary>
    public Action<string>? Noted { get; set; }

    /// <summary>Called when another forward pass begins.</summary>
    public void Begin() => unknown.Clear();

    /// <summary>Called when an operation that is not in the table has saved a map.</summary>
    public void MeetUnknown(Operation operation, long bytes) => unknown[operation.Name] = unknown.GetValueOrDefault(operation.Name) + bytes;

    /// <summary>All notes of the step.</summary>
    public IEnumerable<Note> Notes() => policy.Codec is { } codec ? StepNotes.Of(ledger, unknown, codec).Concat(lasting ?? []) : [];

    /// <summary>Called when a backward pass begins. Reports the notes that were not reported before.</summary>
    /// <param name="failed">Receives an exception that the event throws.</param>
    public void Tell(Action<Exception> failed)
    {
        lasting ??= [.. HiddenCaches.Here is { } wrong ? (Note[])[new("convolutions", wrong)] : [], .. policy.IdleRules()];
        foreach (var note in Notes())
        {
            if (!told.Add(note.About)) continue;
            try { Noted?.Invoke(note.Text); }
            catch (Exception failure) { failed(failure); }
        }
    }
}
