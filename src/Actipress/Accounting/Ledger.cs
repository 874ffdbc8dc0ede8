using Actipress.Autograd;
using Actipress.Saving;

namespace Actipress.Accounting;

/// <summary>The bytes of the maps that autograd saved in the current step, by layer: what each was and what it became.</summary>
sealed class Ledger
{
    readonly Dictionary<string, Account> accounts = [];
    bool released;

    /// <summary>Bytes held for the backward pass now; zero once it is over.</summary>
    public long LiveBytes { get; private set; }

    /// <summary>The largest that <see cref="LiveBytes"/> was in this step.</summary>
    public long PeakBytes { get; private set; }

    public IEnumerable<Account> Accounts => accounts.Values;

    /// <summary>The layer's account; the first one after everything was released begins a new step.</summary>
    public Account Of(Layer layer)
    {
        if (released && LiveBytes == 0) Clear();
        if (!accounts.TryGetValue(layer.Name, out var account)) accounts.Add(layer.Name, account = new Account(layer));
        return account;
    }

    public void Clear()
    {
        accounts.Clear();
        (released, PeakBytes) = (false, LiveBytes);
    }

    public void Hold(Account account, Holding holding)
    {
        var bytes = holding.Bytes;
        account.KeptBytes += bytes;
        account.Ways[holding.How] = account.Ways.GetValueOrDefault(holding.How) + bytes;
        account.AddError(holding, 1);
        LiveBytes += bytes;
        PeakBytes = Math.Max(PeakBytes, LiveBytes);
    }

    /// <summary>Replaces one way of holding a map by another within the step.</summary>
    public void Replace(Account account, Holding holding)
    {
        account.KeptBytes -= holding.Bytes;
        account.Ways[holding.How] -= holding.Bytes;
        account.AddError(holding, -1);
        LiveBytes -= holding.Bytes;
    }

    public void Release(long bytes)
    {
        LiveBytes -= bytes;
        released = true;
    }

    /// <summary>One layer's part.</summary>
    internal sealed class Account(Layer layer)
    {
        public Layer Layer => layer;
        public long SavedBytes { get; set; }
        public long KeptBytes { get; set; }
        public long AliveElsewhereBytes { get; set; }
        public int Maps { get; set; }
        public int SharedMaps { get; set; }
        public int NotFinite { get; set; }
        public Dictionary<string, long> Ways { get; } = [];

        /// <summary>Bytes of recurrent layers' workspaces.</summary>
        public long WorkspaceBytes { get; set; }

        // Of the maps whose error is known: their kept bytes, and the squares of their relative errors times these.
        long judgedBytes;
        double squares;

        /// <summary>Kept bytes of the maps whose error is known.</summary>
        public long JudgedBytes => judgedBytes;

        /// <summary>The root mean square of the maps' relative errors; null where none is known.</summary>
        public double? RelativeError => judgedBytes == 0 ? null : Math.Sqrt(Math.Max(0, squares / judgedBytes));

        public void AddError(Holding holding, int sign)
        {
            if (holding.RelativeError is not { } error) return;
            judgedBytes += sign * holding.Bytes;
            squares += sign * holding.Bytes * error * error;
        }

        /// <summary>The operations that saved what stayed alive.</summary>
        public HashSet<string> AliveElsewhereBy { get; } = [];

        public void AddAliveElsewhere(SavedMap map)
        {
            if (map.IsInput) return;
            AliveElsewhereBytes += map.SavedBytes;
            if (map.Identity.Operation != Operation.Unknown) AliveElsewhereBy.Add(map.Identity.Operation.Name);
        }
    }
}
