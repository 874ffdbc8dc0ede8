namespace Actipress.Accounting;

/// <summary>One way in which a map is held, as the ledger records it.</summary>
/// <param name="Bytes">Bytes held.</param>
/// <param name="How">The name of this way in a report.</param>
/// <param name="RelativeError">
/// The norm of its error divided by the norm of the map; null where the error is not known, or the map is exact.
/// </param>
readonly record struct Entry(long Bytes, string How, double? RelativeError = null);

/// <summary>The bytes of the maps that autograd saved in the current step, by layer, before and after packing.</summary>
sealed class Ledger
{
    readonly Dictionary<string, Account> accounts = [];
    bool released;

    /// <summary>The bytes currently held for the backward pass; zero once it is over.</summary>
    public long LiveBytes { get; private set; }

    /// <summary>The highest value of <see cref="LiveBytes"/> in this step.</summary>
    public long PeakBytes { get; private set; }

    public IEnumerable<Account> Accounts => accounts.Values;

    /// <summary>The account of a layer; the first one after everything was released begins a new step.</summary>
    /// <param name="layer">The layer's name.</param>
    /// <param name="type">The type of its module; empty where none is known.</param>
    public Account Of(string layer, string type)
    {
        if (released && LiveBytes == 0) Clear();
        if (!accounts.TryGetValue(layer, out var account)) accounts.Add(layer, account = new Account(layer, type));
        return account;
    }

    public void Clear()
    {
        accounts.Clear();
        (released, PeakBytes) = (false, LiveBytes);
    }

    public void Hold(Account account, Entry entry)
    {
        account.KeptBytes += entry.Bytes;
        account.Ways[entry.How] = account.Ways.GetValueOrDefault(entry.How) + entry.Bytes;
        account.AddError(entry, 1);
        LiveBytes += entry.Bytes;
        PeakBytes = Math.Max(PeakBytes, LiveBytes);
    }

    /// <summary>Takes back what <see cref="Hold"/> entered, since the map is held in another way from here on.</summary>
    public void Replace(Account account, Entry entry)
    {
        account.KeptBytes -= entry.Bytes;
        account.Ways[entry.How] -= entry.Bytes;
        account.AddError(entry, -1);
        LiveBytes -= entry.Bytes;
    }

    public void Release(long bytes)
    {
        LiveBytes -= bytes;
        released = true;
    }

    /// <summary>The lines of a report, in the order in which the layers saved their first maps.</summary>
    public IEnumerable<LayerReport> Lines() =>
        from account in Accounts
        where account.Maps + account.SharedMaps > 0
        select account.Line();

    /// <summary>The bytes of one layer.</summary>
    internal sealed class Account(string layer, string type)
    {
        public string Layer => layer;
        public long SavedBytes { get; set; }
        public long KeptBytes { get; set; }
        public long AliveElsewhereBytes { get; set; }
        public int Maps { get; set; }
        public int SharedMaps { get; set; }
        public int NotFinite { get; set; }
        public Dictionary<string, long> Ways { get; } = [];

        /// <summary>The bytes of recurrent layers' workspaces.</summary>
        public long WorkspaceBytes { get; set; }

        // For the maps whose error is known: the sum of their kept bytes, and the sum of the squares of their relative errors, weighted by
        // the kept bytes.
        long judgedBytes;
        double squares;

        /// <summary>The kept bytes of the maps whose error is known.</summary>
        public long JudgedBytes => judgedBytes;

        /// <summary>The root mean square of the maps' relative errors; null where none is known.</summary>
        public double? RelativeError => judgedBytes == 0 ? null : Math.Sqrt(Math.Max(0, squares / judgedBytes));

        public void AddError(Entry entry, int sign)
        {
            if (entry.RelativeError is not { } error) return;
            judgedBytes += sign * entry.Bytes;
            squares += sign * entry.Bytes * error * error;
        }

        /// <summary>The operations that saved the maps that stayed alive.</summary>
        public HashSet<string> AliveElsewhereBy { get; } = [];

        /// <summary>The lines of the program that saved the maps that stayed alive.</summary>
        public HashSet<string> AliveElsewhereAt { get; } = [];

        /// <summary>A map that something else has kept alive until the backward pass.</summary>
        /// <param name="bytes">Of the map as it was saved.</param>
        /// <param name="operation">The operation that saved it; null where none was observed.</param>
        /// <param name="site">The line of the program that saved it; null where none is known.</param>
        public void AddAliveElsewhere(long bytes, string? operation, string? site)
        {
            AliveElsewhereBytes += bytes;
            if (operation is not null) AliveElsewhereBy.Add(operation);
            if (site is not null) AliveElsewhereAt.Add(site);
        }

        /// <summary>The account as a report shows it.</summary>
        public LayerReport Line() => new(layer, type, Maps, SharedMaps, SavedBytes, KeptBytes,
            string.Join(", ", from way in Ways where way.Value > 0 || KeptBytes == 0 orderby way.Value descending select way.Key),
            AliveElsewhereBytes, NotFinite)
        {
            RelativeError = RelativeError,
            AliveElsewhereBy = string.Join(", ", AliveElsewhereBy.Order(StringComparer.Ordinal)),
            AliveElsewhereAt = string.Join(", ", AliveElsewhereAt.Order(StringComparer.Ordinal)),
        };

        /// <summary>The layer by its name and type.</summary>
        public override string ToString() => type.Length == 0 ? layer : $"{layer} ({type})";
    }
}
