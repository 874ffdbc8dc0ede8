using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Machine;

namespace Actipress.Grid.Tiles;

/// <summary>
/// The cosines of transforms of 1 to 16 points, in the order in which the fast transform uses them. For an even number n of points, the
/// sums x[i] + x[n-1-i] give the even coefficients by the same rule, and the differences give the odd coefficients by a matrix product.
/// An odd number of points is a matrix product.
/// </summary>
/// <remarks>
/// The eight differences d of 16 points need half as many multiplications: d[i] and d[7-i] are rotated by (2i + 1) pi / 32 into u[i] and
/// v[i], and every second v changes its sign. U and V are the cosine transforms of u and v without normalisation. The odd coefficients
/// are U[0], U[1] + V[3], U[1] - V[3], U[2] + V[2], U[2] - V[2], U[3] + V[1], U[3] - V[1] and V[0]:
/// a cosine transform of type IV from two of type II.
/// </remarks>
static unsafe class GridCosines
{
    /// <summary>The number of points whose differences are rotated.</summary>
    public const int Turned = 16;

    /// <summary>Where the cosines of four points without normalisation start, behind four entries for each rotated pair.</summary>
    public const int AfterTurns = 4 * (Turned / 4);

    static readonly nint[] tables = [.. Enumerable.Range(0, 17).Select(points => (nint)Table(points))];

    /// <summary>
    /// The matrices for <paramref name="points"/> points, row-major and in order of use: one for the differences of each division (for 16
    /// points the rotations and a matrix of four points), then one for the odd number of points that is left.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float* Of(int points) => (float*)tables[points];

    /// <summary>The same matrices, with each entry repeated in all lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T* Of<T>(int points) where T : unmanaged, ILanes<T> => (T*)InLanes<T>.Tables[points];

    /// <summary>All tables, for 1 to 16 points, one after the other.</summary>
    public static float[] All() => [.. Enumerable.Range(1, 16).SelectMany(points => Entries(points))];

    /// <summary>Where the table for <paramref name="points"/> points starts in <see cref="All"/>.</summary>
    public static int StartOf(int points) => Enumerable.Range(1, points - 1).Sum(fewer => Entries(fewer).Count);

    /// <summary>The number of entries for the differences of <paramref name="points"/> points.</summary>
    public static int EntriesOf(int points) => points == Turned ? AfterTurns + 6 : points / 2 * (points / 2);

    static class InLanes<T> where T : unmanaged, ILanes<T>
    {
        public static readonly nint[] Tables = [.. Enumerable.Range(0, 17).Select(Table)];

        static nint Table(int points)
        {
            var entries = Entries(points);
            var table = (T*)NativeMemory.AlignedAlloc((nuint)Math.Max(64, entries.Count * sizeof(T)), 64);
            for (var i = 0; i < entries.Count; i++) table[i] = T.All(entries[i]);
            return (nint)table;
        }
    }

    static float* Table(int points)
    {
        var entries = Entries(points);
        var table = (float*)NativeMemory.AlignedAlloc((nuint)Math.Max(64, entries.Count * sizeof(float)), 64);
        for (var i = 0; i < entries.Count; i++) table[i] = entries[i];
        return table;
    }

    static List<float> Entries(int points, bool normed = true)
    {
        var entries = new List<float>();
        int stride = 1, n = points;
        for (; n > 0 && n % 2 == 0; n /= 2, stride *= 2)
            if (n == Turned)
            {
                for (var i = 0; i < 4; i++)
                {
                    var (cos, sin) = (Entry(points, 1, i), Entry(points, 1, 7 - i));
                    entries.AddRange(i % 2 == 0 ? [cos, sin, sin, -cos] : [cos, sin, -sin, cos]);
                }
                entries.AddRange(Entries(4, normed: false));
            }
            else
                for (var k = 0; k < n / 2; k++)
                    for (var i = 0; i < n / 2; i++) entries.Add(Entry(points, (2 * k + 1) * stride, i, normed));
        for (var k = 0; k < n; k++)
            for (var i = 0; i < n; i++) entries.Add(Entry(points, k * stride, i, normed));
        return entries;
    }

    // This is A[k, i] of Dct. Math.Cos may differ in its last bit between machines, but the rounded float differs only in ties, which are
    // too rare to occur.
    static float Entry(int points, int k, int i, bool normed = true) =>
        (float)((normed ? Math.Sqrt((k == 0 ? 1.0 : 2.0) / points) : 1) * Math.Cos(Math.PI * (2 * i + 1) * k / (2.0 * points)));
}
