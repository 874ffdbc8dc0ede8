namespace Actipress.Saving;

/// <summary>The held maps and the numbers of a derivation, which live as long as what is derived.</summary>
sealed class DerivedFrom : IDisposable
{
    readonly SavedMap[] sources, rectified;
    readonly NormalisationNumbers[] numbers;
    readonly Action<SavedMap> release;
    bool disposed;

    /// <param name="derivation">The derivation.</param>
    /// <param name="derived">The map that is derived.</param>
    /// <param name="release">Releases a map.</param>
    public DerivedFrom(Derivation derivation, SavedMap derived, Action<SavedMap> release)
    {
        this.release = release;
        (sources, numbers) = ([.. derivation.Sources], [.. derivation.Numbers]);
        rectified = [.. derivation.Rectified.Where(other => other != derived)];
        foreach (var one in numbers) one.Share();
        foreach (var source in sources.Concat(rectified)) source.Users++;
    }

    /// <summary>The maps whose values are needed.</summary>
    public IReadOnlyList<SavedMap> Sources => sources;

    /// <summary>The layers of the sources, as the report names them.</summary>
    public string Layers => string.Join(" and ", sources.Select(source => source.Layer.Name).Distinct());

    /// <summary>The bytes of the numbers and the references.</summary>
    public long Bytes => (sources.Length + rectified.Length) * sizeof(long) + numbers.Sum(one => one.Bytes);

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        foreach (var one in numbers) one.Dispose();
        foreach (var source in sources.Concat(rectified)) release(source);
    }
}
