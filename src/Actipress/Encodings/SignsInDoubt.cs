using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress;

/// <summary>
/// Which elements of a ReLU's result are above zero, exactly, beside a rebuilt argument of the ReLU that tells most of them: a bit for each
/// element whose rebuilt argument is near zero, and the places of the few others that it tells wrongly.
/// </summary>
/// <remarks>
/// The argument has to be rebuilt bit for bit as it was when the bits were packed, for which bit belongs to which element hangs on it. Each
/// chunk counts its bits, and rebuilding refuses another count.
/// </remarks>
sealed unsafe class SignsInDoubt : IDisposable
{
    // Elements of a chunk, in which 16 bits tell a place; threads take whole chunks.
    const int ChunkElements = 1 << 16;

    // Bits of a place that is told wrongly, and the most bits an element that are worth a second look at the map.
    const int PlaceBits = 16;
    const double MostBits = 0.9;

    // Elements that are looked at together.
    const int Lane = 8;

    const int SampledElements = 1 << 11;

    // A chunk: how many bits and places it has, then the bits in whole bytes and one more or two, then the places.
    readonly nint[] chunks;
    readonly float limit, least;
    readonly long elements;

    SignsInDoubt(long elements, float limit, float least)
    {
        (this.elements, this.limit, this.least) = (elements, limit, least);
        chunks = new nint[(elements + ChunkElements - 1) / ChunkElements];
    }

    /// <summary>Bytes held.</summary>
    public long Bytes { get; private set; }

    /// <summary>The signs of a ReLU's result; null where a bit for each would take hardly more, or where a value is not a number.</summary>
    /// <param name="result">Contiguous float32 numbers on the CPU, none below zero.</param>
    /// <param name="argument">What the ReLU's argument will be rebuilt to, likewise.</param>
    public static SignsInDoubt? Pack(Tensor result, Tensor argument)
    {
        var (values, rebuilt, count) = ((nint)LibTorch.Data(result), (nint)LibTorch.Data(argument), result.NumberOfElements);
        if (Choose((float*)values, (float*)rebuilt, count) is not var (limit, least)) return null;
        var signs = new SignsInDoubt(count, limit, least);
        try
        {
            CpuTeam.Each(count, ChunkElements, (start, end) => signs.chunks[start / ChunkElements] =
                PackChunk((float*)values + start, (float*)rebuilt + start, (int)(end - start), limit));
            if (signs.chunks.Contains(0))
            {
                signs.Dispose();
                return null;
            }
            signs.Bytes = sizeof(float) * 2 + signs.chunks.Sum(chunk => (long)sizeof(nint) + BytesOf(*(Head*)chunk));
            if (signs.Bytes * 8 < MostBits * count) return signs;
        }
        catch
        {
            signs.Dispose();
            throw;
        }
        signs.Dispose();
        return null;
    }

    /// <summary>Makes of the ReLU's rebuilt argument its result, in place.</summary>
    /// <param name="argument">As it was when the signs were packed.</param>
    /// <exception cref="InvalidDataException">It is not.</exception>
    public void Rectify(Tensor argument)
    {
        var values = (nint)LibTorch.Data(argument);
        CpuTeam.Each(elements, ChunkElements, (start, end) =>
            RectifyChunk((float*)values + start, (int)(end - start), (byte*)chunks[start / ChunkElements], limit, least));
    }

    public void Dispose()
    {
        for (var i = 0; i < chunks.Length; i++)
        {
            NativeMemory.Free((void*)chunks[i]);
            chunks[i] = 0;
        }
    }

    struct Head
    {
        public int Bits, Places;
    }

    static int BytesOf(Head head) => BytesOf(head.Bits) + head.Places * sizeof(ushort);

    // Up to the places.
    static int BytesOf(int bits) => sizeof(Head) + (bits + 7) / 8 + sizeof(ushort) & ~1;

    static int WordsOf(int bits) => (bits + 63) / 64;

    // By some elements: the limit up to which one is in doubt, and the value of those above zero whose argument was rebuilt below it.
    static (float Limit, float Least)? Choose(float* values, float* rebuilt, long count)
    {
        var step = Math.Max(1, count / SampledElements) | 1;    // odd, so that no column of a map is left out
        var sampled = (int)((count + step - 1) / step);
        var (sizes, wrong) = (new float[sampled], new List<float>());
        var (lost, lostSum) = (0, 0.0);
        for (var i = 0; i < sampled; i++)
        {
            var (value, argument) = (values[i * step], rebuilt[i * step]);
            sizes[i] = Math.Abs(argument);
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
        if (!float.IsFinite(limit) || best > MostBits * sampled) return null;
        return (limit, lost == 0 ? float.Epsilon : (float)Math.Max(lostSum / lost, float.Epsilon));
    }

    // How many of sorted numbers are at most some limit.
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
            var (zero, real) = Look(values + i, many, 0);
            if ((zero | real) != (1u << many) - 1) return 0;    // NaN
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
        var chunk = (byte*)NativeMemory.Alloc((nuint)BytesOf(head));
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
            // Eight bits from some place on lie in two bytes, of which there are always some more.
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

    // Behind the bits and the bytes that may be read with the last of them.
    static ushort* PlacesOf(byte* chunk) => (ushort*)(chunk + BytesOf(((Head*)chunk)->Bits));

    // Of some numbers side by side: which are near zero, and which above it.
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

    // The bits of a number at the places of a mask, side by side; and back.
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
