using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Actipress.Autograd;
using Actipress.Machine;
using Actipress.Maps;

namespace Actipress.Encodings;

/// <summary>
/// Records exactly which elements of a map are above zero. The sign of a ReLU's rebuilt argument, or of the map itself, gives most of them.
/// A bit is held for each element that is rebuilt near zero, and the positions of the few other elements whose sign is wrong.
/// </summary>
/// <remarks>
/// The argument must be rebuilt bit for bit as it was when the bits were packed, because the argument decides which bit belongs to which
/// element. Each chunk stores the number of its bits, and unpacking refuses another number.
/// </remarks>
sealed unsafe class SignsInDoubt : IDisposable
{
    // The number of elements of a chunk, in which a position has 16 bits. Threads take whole chunks.
    const int ChunkElements = 1 << 16;

    // The number of bits of the position of a wrong sign, and the largest number of bits an element at which the bits are packed at all.
    const int PlaceBits = 16;
    const double MostBits = 0.9;

    // The number of elements that are tested together.
    const int Lane = 8;

    // The chunks. A chunk is its numbers of bits and positions, the bits in whole bytes with one or two bytes more, and the positions.
    readonly nint[] chunks;
    readonly float limit, least;
    readonly MapShape shape;
    readonly Strips strips;

    SignsInDoubt(MapShape shape, float limit, float least)
    {
        (this.shape, this.limit, this.least, strips) = (shape, limit, least, new(shape));
        chunks = new nint[strips.Count * ChunksOfStrip];
    }

    // The number of chunks of the largest strip. A smaller strip has null in place of the chunks that it lacks.
    long ChunksOfStrip => (strips.MostElements + ChunkElements - 1) / ChunkElements;

    /// <summary>The number of bytes held.</summary>
    public long Bytes { get; private set; }

    /// <summary>
    /// Packs the signs of a map; null where a bit for each element would take hardly more, or where a value is NaN.
    /// </summary>
    /// <param name="result">The map, such as a ReLU's result: contiguous float32 numbers on the CPU.</param>
    /// <param name="sample">A sample of the map, and the rebuilt values there of the map or of the ReLU's argument.</param>
    /// <param name="argument">Rebuilds a range of these values, as contiguous float32 on the CPU; it is disposed here.</param>
    public static SignsInDoubt? Pack(Tensor result, RebuiltSample sample, Func<MapRange, Tensor> argument)
    {
        if (Choose(sample) is not var (limit, least)) return null;
        var signs = new SignsInDoubt(MapShape.Of(result.shape), limit, least);
        try
        {
            if (signs.strips.Pieces().All(piece => signs.Add(result, piece, argument))
                && signs.Bytes * 8 < MostBits * result.NumberOfElements) return signs;
        }
        catch
        {
            signs.Dispose();
            throw;
        }
        signs.Dispose();
        return null;
    }

    /// <summary>The whole strips that must be rebuilt for a range.</summary>
    public MapRange Cover(MapRange range) => strips.Cover(range);

    /// <summary>Applies a ReLU to the rebuilt values, in place, with the held signs.</summary>
    /// <param name="argument">A range of these values, rebuilt as it was when the signs were packed.</param>
    /// <param name="range">The range, which consists of whole strips.</param>
    /// <exception cref="InvalidDataException">The argument was rebuilt with other values.</exception>
    public void Rectify(Tensor argument, MapRange range)
    {
        var values = (nint)LibTorch.Data(argument);
        Each(range, (chunk, at, count) => RectifyChunk((float*)values + at, count, (byte*)chunks[chunk], limit, least));
    }

    public void Dispose()
    {
        for (var i = 0; i < chunks.Length; i++)
        {
            if (chunks[i] != 0) CodecMemory.Free((void*)chunks[i], BytesOf(*(Head*)chunks[i]));
            chunks[i] = 0;
        }
    }

    // Packs the signs of a piece; false where a value is NaN.
    bool Add(Tensor result, MapRange piece, Func<MapRange, Tensor> argument)
    {
        using var part = argument(piece);
        var (values, rebuilt) =
            ((nint)LibTorch.Data(result) + (nint)(piece.FirstElement(shape) * sizeof(float)), (nint)LibTorch.Data(part));
        var (bytes, complete) = (0L, 1);
        Each(piece, (chunk, at, count) =>
        {
            chunks[chunk] = PackChunk((float*)values + at, (float*)rebuilt + at, count, limit);
            if (chunks[chunk] == 0) Volatile.Write(ref complete, 0);
            else Interlocked.Add(ref bytes, sizeof(nint) + BytesOf(*(Head*)chunks[chunk]));
        });
        Bytes += bytes;
        return complete != 0;
    }

    // Calls an action for each chunk of a range, with the chunk's index, its offset in the range, and its number of elements.
    void Each(MapRange range, Action<long, long, int> work)
    {
        var todo = new List<(long Chunk, long At, int Count)>();
        for (long map = 0, at = 0; at < range.Elements(shape); map++)
        {
            // The elements of a range of whole maps are contiguous, and so are those of some rows of one map.
            var part = range.IsOfWholeMaps(shape) ? range : range with { First = range.First + map, Maps = 1 };
            for (long first = part.FirstElement(shape), end = first + part.Elements(shape); first < end;)
            {
                var (strip, of) = strips.Of(first);
                var elements = of.Elements(shape);
                for (long chunk = 0, start = 0; start < elements; chunk++, start += ChunkElements)
                    todo.Add((strip * ChunksOfStrip + chunk, at + start, (int)Math.Min(ChunkElements, elements - start)));
                first += elements;
                at += elements;
            }
        }
        CpuTeam.Each(todo.Count, 1, (i, _) => work(todo[(int)i].Chunk, todo[(int)i].At, todo[(int)i].Count));
    }

    struct Head
    {
        public int Bits, Places;
    }

    static int BytesOf(Head head) => BytesOf(head.Bits) + head.Places * sizeof(ushort);

    // The number of bytes before the positions.
    static int BytesOf(int bits) => sizeof(Head) + (bits + 7) / 8 + sizeof(ushort) & ~1;

    static int WordsOf(int bits) => (bits + 63) / 64;

    // Chooses by a sample the limit below which an element is in doubt, and the value of elements that are above zero with an argument that
    // is rebuilt below zero.
    static (float Limit, float Least)? Choose(RebuiltSample sample)
    {
        var (sizes, wrong) = (new float[sample.Values.Count], new List<float>());
        var (lost, lostSum) = (0, 0.0);
        for (var i = 0; i < sizes.Length; i++)
        {
            var (value, argument) = (sample.Values[i], sample.Rebuilt[i]);
            sizes[i] = (float)Math.Abs(argument);
            if (value > 0 != argument > 0) wrong.Add(sizes[i]);
            if (!(value > 0) || argument > 0) continue;
            lost++;
            lostSum += value;
        }
        Array.Sort(sizes);
        wrong.Sort();
        var (limit, best) = (0f, (double)PlaceBits * wrong.Count);
        for (var i = wrong.Count - 1; i >= 0; i--)
        {
            var places = wrong.Count - 1 - i;
            if (places * PlaceBits >= best) break;
            var bits = Above(sizes, wrong[i]) + places * PlaceBits;
            if (bits < best) (limit, best) = (wrong[i], bits);
        }
        if (!float.IsFinite(limit) || best > MostBits * sizes.Length) return null;
        return (limit, lost == 0 ? float.Epsilon : (float)Math.Max(lostSum / lost, float.Epsilon));
    }

    // The number of sorted numbers that are at most a limit.
    static int Above(float[] sorted, float limit)
    {
        var (low, high) = (0, sorted.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (sorted[middle] <= limit) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    static nint PackChunk(float* values, float* rebuilt, int count, float limit)
    {
        var words = stackalloc ulong[WordsOf(ChunkElements) + 1];
        var places = stackalloc ushort[ChunkElements];
        var (head, word) = (default(Head), 0UL);
        for (var i = 0; i < count; i += Lane)
        {
            var many = Math.Min(Lane, count - i);
            var (doubt, above) = Look(rebuilt + i, many, limit);
            var (number, real) = Look(values + i, many, float.PositiveInfinity);
            if (number != (1u << many) - 1) return 0;    // NaN
            var (gathered, bits, used) = ((ulong)Gather(real, doubt), BitOperations.PopCount(doubt), head.Bits % 64);
            word |= gathered << used;
            if (used + bits >= 64)
            {
                words[head.Bits / 64] = word;
                word = gathered >> (64 - used);
            }
            head.Bits += bits;
            for (var wrong = (real ^ above) & ~doubt; wrong != 0; wrong &= wrong - 1)
                places[head.Places++] = (ushort)(i + BitOperations.TrailingZeroCount(wrong));
        }
        words[head.Bits / 64] = word;
        var chunk = (byte*)CodecMemory.Allocate(BytesOf(head));
        *(Head*)chunk = head;
        var bytes = (head.Bits + 7) / 8;
        new Span<byte>(words, bytes).CopyTo(new Span<byte>(chunk + sizeof(Head), bytes));
        new Span<ushort>(places, head.Places).CopyTo(new Span<ushort>(PlacesOf(chunk), head.Places));
        return (nint)chunk;
    }

    static void RectifyChunk(float* values, int count, byte* chunk, float limit, float least)
    {
        var (head, at) = (*(Head*)chunk, 0);
        byte* bits = chunk + sizeof(Head);
        ushort* place = PlacesOf(chunk), lastPlace = place + head.Places;
        for (var i = 0; i < count; i += Lane)
        {
            var many = Math.Min(Lane, count - i);
            var (doubt, above) = Look(values + i, many, limit);
            // Eight bits at any offset lie within two bytes, and there is always one byte more than the bits fill.
            var real = (above & ~doubt) | Scatter((uint)*(ushort*)(bits + at / 8) >> at % 8, doubt);
            at += BitOperations.PopCount(doubt);
            if (at > head.Bits) throw Rebuilt();
            for (; place < lastPlace && *place < i + Lane; place++) real ^= 1u << (*place - i);
            Write(values + i, many, real, least);
        }
        if (at != head.Bits) throw Rebuilt();

        static InvalidDataException Rebuilt() =>
            new("A map from which a ReLU's result follows was rebuilt otherwise than when its zeros were packed.");
    }

    // The address of the positions, behind the bits and the bytes that may be read with the last bits.
    static ushort* PlacesOf(byte* chunk) => (ushort*)(chunk + BytesOf(((Head*)chunk)->Bits));

    // A bit mask of the numbers near zero, and one of the numbers above zero.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static (uint Doubt, uint Above) Look(float* x, int count, float limit)
    {
        if (count == Lane && Vector256.IsHardwareAccelerated)
        {
            var eight = Vector256.Load(x);
            var near = Vector256.LessThanOrEqual(Vector256.Abs(eight), Vector256.Create(limit));
            return (near.ExtractMostSignificantBits(), Vector256.GreaterThan(eight, Vector256<float>.Zero).ExtractMostSignificantBits());
        }
        var (doubt, above) = (0u, 0u);
        for (var i = 0; i < count; i++)
        {
            if (Math.Abs(x[i]) <= limit) doubt |= 1u << i;
            if (x[i] > 0) above |= 1u << i;
        }
        return (doubt, above);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Write(float* x, int count, uint real, float least)
    {
        if (count == Lane && Vector256.IsHardwareAccelerated)
        {
            var (eight, each) = (Vector256.Load(x), Vector256.Create(1, 2, 4, 8, 16, 32, 64, 128));
            var positive = Vector256.ConditionalSelect(Vector256.GreaterThan(eight, Vector256<float>.Zero), eight, Vector256.Create(least));
            (positive & Vector256.Equals(Vector256.Create((int)real) & each, each).AsSingle()).Store(x);
            return;
        }
        for (var i = 0; i < count; i++) x[i] = (real >> i & 1) == 0 ? 0 : x[i] > 0 ? x[i] : least;
    }

    // Gathers the bits of a number at the positions of a mask; Scatter is the inverse.
    static uint Gather(uint bits, uint mask)
    {
        if (Bmi2.IsSupported) return Bmi2.ParallelBitExtract(bits, mask);
        var gathered = 0u;
        for (var at = 0; mask != 0; mask &= mask - 1, at++) gathered |= (bits >> BitOperations.TrailingZeroCount(mask) & 1) << at;
        return gathered;
    }

    static uint Scatter(uint bits, uint mask)
    {
        if (Bmi2.IsSupported) return Bmi2.ParallelBitDeposit(bits, mask);
        var scattered = 0u;
        for (var at = 0; mask != 0; mask &= mask - 1, at++) scattered |= (bits >> at & 1) << BitOperations.TrailingZeroCount(mask);
        return scattered;
    }
}
