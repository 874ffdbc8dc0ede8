using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Actipress.Machine;

namespace Actipress.Grid.Tiles;

/// <summary>
/// The cosines of transforms of 1 to 16 points, arranged for the way a tile computes them: an even number of points n is divided
/// into sums x[i] + x[n-1-i], which give the even coefficients by the same rule, and differences, which give the odd ones as
/// products with a matrix; an odd number is multiplied out.
/// </summary>
/// <remarks>
/// The eight differences d of 16 points take half as many multiplications: d[i] and d[7-i] are turned, by (2i + 1) pi / 32, into u[i]
/// and v[i], every second v with its sign changed; with U and V the cosine transforms of these four points each, not normed, the odd
/// coefficients are U[0], U[1] + V[3], U[1] - V[3], U[2] + V[2], U[2] - V[2], U[3] + V[1], U[3] - V[1] and V[0]
/// (a cosine transform of type IV out of two of type II).
/// </remarks>
static unsafe class GridCosines
{
    /// <summary>Points whose differences are turned.</summary>
    public const int Turned = 16;

    /// <summary>Where, behind four entries for each turned pair, the cosines of four points start that are not normed.</summary>
    public const int AfterTurns = 4 * (Turned / 4);

    static readonly nint[] tables = [.. Enumerable.Range(0, 17).Select(points => (nint)Table(points))];

    /// <summary>
    /// The matrices for <paramref name="points"/> points in order of use, row-major: for the differences of each division, or for each
    /// turned pair and then for four points, then for the rest of odd length.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float* Of(int points) => (float*)tables[points];

    /// <summary>The same, each entry in all lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T* Of<T>(int points) where T : unmanaged, ILanes<T> => (T*)InLanes<T>.Tables[points];

    /// <summary>The tables for 1 to 16 points, one after the other.</summary>
    public static float[] All() => [.. Enumerable.Range(1, 16).SelectMany(points => Entries(points))];

    /// <summary>Where the table for <paramref name="points"/> points starts among <see cref="All"/>.</summary>
    public static int StartOf(int points) => Enumerable.Range(1, points - 1).Sum(fewer => Entries(fewer).Count);

    /// <summary>How many entries the differences of a division of <paramref name="points"/> points take.</summary>
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

    // A[k, i] of Dct. Math.Cos may differ in its last bit between machines; as a float it does not, but for ties too rare to meet.
    static float Entry(int points, int k, int i, bool normed = true) =>
        (float)((normed ? Math.Sqrt((k == 0 ? 1.0 : 2.0) / points) : 1) * Math.Cos(Math.PI * (2 * i + 1) * k / (2.0 * points)));
}
