namespace Actipress;

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

    public void Hold(Account account, long bytes, string how)
    {
        account.KeptBytes += bytes;
        account.Ways[how] = account.Ways.GetValueOrDefault(how) + bytes;
        LiveBytes += bytes;
        PeakBytes = Math.Max(PeakBytes, LiveBytes);
    }

    /// <summary>Replaces one way of holding a map by another within the step.</summary>
    public void Replace(Account account, long bytes, string how)
    {
        account.KeptBytes -= bytes;
        account.Ways[how] -= bytes;
        LiveBytes -= bytes;
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

        /// <summary>The operations that saved what stayed alive.</summary>
        public HashSet<string> AliveElsewhereBy { get; } = [];

        public void AddAliveElsewhere(SavedMap map)
        {
            AliveElsewhereBytes += map.SavedBytes;
            AliveElsewhereBy.Add(map.Identity.Operation.Name);
        }
    }
}
