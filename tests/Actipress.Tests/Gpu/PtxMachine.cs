using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace Actipress.Tests.Gpu;

/// <summary>
/// Executes the PTX of a kernel, thread by thread between barriers, and stands in for a GPU where there is none. It refuses unknown
/// instructions. The order of the threads changes at each barrier, so that a missing barrier shows. All threads of a group must wait at the
/// same barrier.
/// </summary>
sealed unsafe partial class PtxMachine
{
    const int Returned = -1;

    readonly Dictionary<string, int> registers = [], labels = [], parameters = [];
    readonly List<(string Name, int Bytes)> sharedBlocks = [], localBlocks = [];
    readonly List<Action<Lane>> code = [];

    /// <summary>The position of each parameter in the arguments, and its bytes.</summary>
    public List<int> ParameterBytes { get; } = [];

    public string Entry { get; }

    public int MostThreads { get; }

    sealed class Lane(int registers, uint thread, uint threads, uint group, uint groups)
    {
        public readonly ulong[] Values = new ulong[registers];
        public readonly uint Thread = thread, Threads = threads, Group = group, Groups = groups;
        public int At;
        public int? Barrier;
        public byte** Arguments;
        public Dictionary<string, nint> Blocks = [];
    }

    public PtxMachine(string ptx)
    {
        Entry = EntryName().Match(ptx).Groups[1].Value;
        MostThreads = int.Parse(MostThreadsWords().Match(ptx).Groups[1].Value, CultureInfo.InvariantCulture);
        foreach (Match parameter in Parameter().Matches(ptx[..ptx.IndexOf(".maxntid", StringComparison.Ordinal)]))
        {
            parameters[parameter.Groups[3].Value] = parameters.Count;
            ParameterBytes.Add(parameter.Groups[4].Success ? Number(parameter.Groups[4].Value) : Number(parameter.Groups[2].Value) / 8);
        }
        var body = ptx[(ptx.IndexOf('{', ptx.IndexOf(".maxntid", StringComparison.Ordinal)) + 1)..ptx.LastIndexOf('}')];
        List<string> statements = [];
        foreach (var line in body.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0))
            if (line.EndsWith(':')) labels[line[..^1]] = statements.Count;
            else if (Block().Match(line) is { Success: true } block)
                (block.Groups[1].Value == "shared" ? sharedBlocks : localBlocks)
                    .Add((block.Groups[2].Value, Number(block.Groups[3].Value)));
            else if (!line.StartsWith(".reg", StringComparison.Ordinal) && line is not ("{" or "}")) statements.Add(line.TrimEnd(';'));
        foreach (var statement in statements) code.Add(Translate(statement));
    }

    static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    /// <summary>Runs groups one after the other.</summary>
    /// <param name="arguments">The address of each argument.</param>
    public void Run(int groups, int threads, byte** arguments)
    {
        Assert.InRange(threads, 1, MostThreads);
        var order = new Random(groups);
        for (var group = 0; group < groups; group++)
        {
            List<nint> memory = [];
            var shared = sharedBlocks.ToDictionary(block => block.Name, block => Take(block.Bytes));
            var lanes = Enumerable.Range(0, threads).Select(thread =>
                new Lane(registers.Count, (uint)thread, (uint)threads, (uint)group, (uint)groups) { Arguments = arguments }).ToArray();
            foreach (var lane in lanes)
            {
                foreach (var (name, at) in shared) lane.Blocks[name] = at;
                foreach (var (name, bytes) in localBlocks) lane.Blocks[name] = Take(bytes);
            }
            while (lanes.Any(lane => lane.At != Returned))
            {
                order.Shuffle(lanes);
                foreach (var lane in lanes)
                {
                    if (lane.At == Returned) continue;
                    for (lane.Barrier = null; lane.Barrier is null && lane.At != Returned;) code[lane.At++](lane);
                }
                Assert.True(
                    lanes.Where(lane => lane.At != Returned).Select(lane => lane.Barrier).Distinct().Count() <= 1,
                    $"{Entry}: threads of a group wait at different barriers");
            }
            foreach (var block in memory) NativeMemory.AlignedFree((void*)block);

            // The memory is not zero, because kernels must not rely on zeros.
            nint Take(int bytes)
            {
                var block = (nint)NativeMemory.AlignedAlloc((nuint)bytes, 16);
                new Span<byte>((void*)block, bytes).Fill(0xCD);
                memory.Add(block);
                return block;
            }
        }
    }

    Action<Lane> Translate(string statement)
    {
        if (statement.StartsWith('@'))
        {
            var space = statement.IndexOfAny([' ', '\t']);
            var (predicate, wanted) = statement[1] == '!' ? (Value(statement[2..space]), 0UL) : (Value(statement[1..space]), 1UL);
            var then = Translate(statement[space..].Trim());
            return lane => { if (predicate(lane) == wanted) then(lane); };
        }
        var split = statement.IndexOfAny([' ', '\t']);
        var words = (split < 0 ? statement : statement[..split]).Split('.');
        var operands = split < 0 ? [] : Operand().Matches(statement[split..]).Select(found => found.Value.Trim()).ToArray();
        var at = code.Count;
        switch (words[0])
        {
            case "ret": return lane => lane.At = Returned;
            case "bar": return lane => lane.Barrier = at;
            case "bra": return lane => lane.At = labels[operands[0]];
            case "ld" or "st": return Move(words, operands);
            case "red": return Reduce(words, operands);
            case "cvta": return Assign(operands[0], Value(operands[1]));
            case "cvt": return Assign(operands[0], Converted(words[^2], words[^1], Value(operands[1])));
            case "setp": return Assign(operands[0], Compared(words[1], words[2], Value(operands[1]), Value(operands[2])));
            case "selp":
                var (yes, no, chosen) = (Value(operands[1]), Value(operands[2]), Value(operands[3]));
                return Assign(operands[0], lane => chosen(lane) != 0 ? yes(lane) : no(lane));
        }
        var inputs = operands[1..].Select(Value).ToArray();
        return Assign(operands[0], (words, inputs) switch
        {
            (_, [var a]) => Unary(words, a),
            (_, [var a, var b]) => Binary(words, a, b),
            (["fma", "rn", "f32"], [var a, var b, var c]) =>
                lane => Bits(MathF.FusedMultiplyAdd(Float(a(lane)), Float(b(lane)), Float(c(lane)))),
            (["mad", "lo", "u64"], [var a, var b, var c]) => lane => a(lane) * b(lane) + c(lane),
            _ => throw Unknown(statement),
        });
    }

    static NotSupportedException Unknown(string what) => new($"No instruction '{what}' in this machine.");

    static Func<Lane, ulong> Unary(string[] words, Func<Lane, ulong> a) => (words[0], words[^1]) switch
    {
        ("mov", "b32" or "f32") => lane => (uint)a(lane),
        ("mov", "b16") => lane => (ushort)a(lane),
        ("mov", _) => a,
        ("not", "pred") => lane => a(lane) ^ 1,
        ("not", "b32") => lane => (uint)~a(lane),
        ("not", "b64") => lane => ~a(lane),
        ("neg", "f32") => lane => (uint)a(lane) ^ 0x80000000,
        ("neg", "s32") => lane => (uint)-(int)a(lane),
        ("neg", "s64") => lane => (ulong)-(long)a(lane),
        ("abs", "f32") => lane => a(lane) & 0x7FFFFFFF,
        ("abs", "s32") => lane => (uint)Math.Abs((int)a(lane)),
        ("rcp", "f32") when words[1] == "rn" => lane => Bits(1 / Float(a(lane))),
        _ => throw Unknown(string.Join('.', words)),
    };

    static Func<Lane, ulong> Binary(string[] words, Func<Lane, ulong> a, Func<Lane, ulong> b) => (words[0], words[^1]) switch
    {
        ("add", "s32" or "u32") => lane => (uint)(a(lane) + b(lane)),
        ("add", "s64" or "u64") => lane => a(lane) + b(lane),
        ("sub", "s32" or "u32") => lane => (uint)(a(lane) - b(lane)),
        ("sub", "s64" or "u64") => lane => a(lane) - b(lane),
        ("mul", "s32" or "u32") when words[1] == "lo" => lane => (uint)(a(lane) * b(lane)),
        ("mul", "s64" or "u64") when words[1] == "lo" => lane => a(lane) * b(lane),
        ("mul", "u32") when words[1] == "wide" => lane => (ulong)(uint)a(lane) * (uint)b(lane),
        // The compiler computes a division by zero and discards the result where regions have no points, so any result will do.
        ("div", "s32") => lane => b(lane) == 0 ? uint.MaxValue : (uint)((int)a(lane) / (int)b(lane)),
        ("div", "u32") => lane => b(lane) == 0 ? uint.MaxValue : (uint)a(lane) / (uint)b(lane),
        ("div", "s64") => lane => b(lane) == 0 ? ulong.MaxValue : (ulong)((long)a(lane) / (long)b(lane)),
        ("rem", "s32") => lane => b(lane) == 0 ? uint.MaxValue : (uint)((int)a(lane) % (int)b(lane)),
        ("min", "s32") => lane => (uint)Math.Min((int)a(lane), (int)b(lane)),
        ("min", "s64") => lane => (ulong)Math.Min((long)a(lane), (long)b(lane)),
        ("max", "s32") => lane => (uint)Math.Max((int)a(lane), (int)b(lane)),
        ("and", "b32" or "b64" or "pred") => lane => a(lane) & b(lane),
        ("or", "b32" or "b64" or "pred") => lane => a(lane) | b(lane),
        ("xor", "b32" or "b64" or "pred") => lane => a(lane) ^ b(lane),
        // A shift by the width or more gives zero, or the sign.
        ("shl", "b32") => lane => (uint)b(lane) > 31 ? 0 : (uint)a(lane) << (int)b(lane),
        ("shl", "b64") => lane => (uint)b(lane) > 63 ? 0 : a(lane) << (int)b(lane),
        ("shr", "u32") => lane => (uint)b(lane) > 31 ? 0 : (uint)a(lane) >> (int)b(lane),
        ("shr", "u64") => lane => (uint)b(lane) > 63 ? 0 : a(lane) >> (int)b(lane),
        ("shr", "s32") => lane => (uint)((int)a(lane) >> (int)Math.Min(31, (uint)b(lane))),
        ("shr", "s64") => lane => (ulong)((long)a(lane) >> (int)Math.Min(63, (uint)b(lane))),
        ("add", "f32") when words[1] == "rn" => lane => Bits(Float(a(lane)) + Float(b(lane))),
        ("sub", "f32") when words[1] == "rn" => lane => Bits(Float(a(lane)) - Float(b(lane))),
        ("mul", "f32") when words[1] == "rn" => lane => Bits(Float(a(lane)) * Float(b(lane))),
        ("div", "f32") when words[1] == "rn" => lane => Bits(Float(a(lane)) / Float(b(lane))),
        ("mul", "f64") when words[1] == "rn" => lane => BitConverter.DoubleToUInt64Bits(Double(a(lane)) * Double(b(lane))),
        ("div", "f64") when words[1] == "rn" => lane => BitConverter.DoubleToUInt64Bits(Double(a(lane)) / Double(b(lane))),
        // The result for a number and NaN is the number.
        ("min", "f32") => lane => Bits(float.MinNumber(Float(a(lane)), Float(b(lane)))),
        ("max", "f32") => lane => Bits(float.MaxNumber(Float(a(lane)), Float(b(lane)))),
        _ => throw Unknown(string.Join('.', words)),
    };

    static Func<Lane, ulong> Compared(string how, string type, Func<Lane, ulong> a, Func<Lane, ulong> b)
    {
        return type switch
        {
            "s32" => lane => Holds(((int)a(lane)).CompareTo((int)b(lane))),
            "u32" => lane => Holds(((uint)a(lane)).CompareTo((uint)b(lane))),
            "s64" => lane => Holds(((long)a(lane)).CompareTo((long)b(lane))),
            "f32" => lane => OfFloats(Float(a(lane)), Float(b(lane))),
            "f64" => lane => OfFloats(Double(a(lane)), Double(b(lane))),
            _ => throw Unknown($"setp.{how}.{type}"),
        };

        ulong OfFloats(double x, double y) => double.IsNaN(x) || double.IsNaN(y) ? how.Length == 3 ? 1 : 0UL : Holds(x.CompareTo(y));

        ulong Holds(int order) => how switch
        {
            "eq" or "equ" => order == 0,
            "ne" or "neu" => order != 0,
            "lt" or "ltu" or "lo" => order < 0,
            "le" or "leu" or "ls" => order <= 0,
            "gt" or "gtu" or "hi" => order > 0,
            "ge" or "geu" or "hs" => order >= 0,
            _ => throw Unknown($"setp.{how}"),
        } ? 1 : 0UL;
    }

    static Func<Lane, ulong> Converted(string to, string from, Func<Lane, ulong> a) => (to, from) switch
    {
        ("f32", "f64") => lane => Bits((float)Double(a(lane))),
        ("f64", "f32") => lane => BitConverter.DoubleToUInt64Bits(Float(a(lane))),
        ("f32", "s32") => lane => Bits((int)a(lane)),
        ("f64", "s32") => lane => BitConverter.DoubleToUInt64Bits((int)a(lane)),
        ("f64", "s64") => lane => BitConverter.DoubleToUInt64Bits((long)a(lane)),
        ("f32", "u32") => lane => Bits((uint)a(lane)),
        ("f64", "u32") => lane => BitConverter.DoubleToUInt64Bits((uint)a(lane)),
        ("s32", "f32") => lane => (uint)(float.IsNaN(Float(a(lane))) ? 0 : (int)Float(a(lane))),
        (_, "s32") => lane => Narrow(to, (ulong)(int)a(lane)),
        (_, "s16") => lane => Narrow(to, (ulong)(short)a(lane)),
        (_, "u16") => lane => Narrow(to, (ushort)a(lane)),
        (_, "u32") => lane => Narrow(to, (uint)a(lane)),
        (_, "s64" or "u64") => lane => Narrow(to, a(lane)),
        _ => throw Unknown($"cvt.{to}.{from}"),
    };

    static ulong Narrow(string type, ulong value) => type[1..] switch
    {
        "16" => (ushort)value,
        "32" => (uint)value,
        "64" => value,
        _ => throw Unknown(type),
    };

    Action<Lane> Move(string[] words, string[] operands)
    {
        var (loads, bytes) = (words[0] == "ld", Number(words[^1][1..]) / 8);
        var (registersText, addressText) = loads ? (operands[0], operands[1]) : (operands[1], operands[0]);
        var targets = registersText.Trim('{', '}').Split(',').Select(name => name.Trim()).ToArray();
        var address = words[1] == "param" ? ParameterAddress(addressText) : Address(addressText);
        if (loads)
        {
            var indices = targets.Select(Register).ToArray();
            return lane =>
            {
                var from = address(lane);
                Assert.True(from % (bytes * indices.Length) == 0, $"{Entry}: a misaligned load of {indices.Length} x {bytes} bytes");
                for (var i = 0; i < indices.Length; i++)
                    lane.Values[indices[i]] =
                        bytes switch { 1 => ((byte*)from)[i], 2 => ((ushort*)from)[i], 4 => ((uint*)from)[i], _ => ((ulong*)from)[i] };
            };
        }
        var values = targets.Select(Value).ToArray();
        return lane =>
        {
            var to = address(lane);
            Assert.True(to % (bytes * values.Length) == 0, $"{Entry}: a misaligned store of {values.Length} x {bytes} bytes");
            for (var i = 0; i < values.Length; i++)
                switch (bytes)
                {
                    case 1: ((byte*)to)[i] = (byte)values[i](lane); break;
                    case 2: ((ushort*)to)[i] = (ushort)values[i](lane); break;
                    case 4: ((uint*)to)[i] = (uint)values[i](lane); break;
                    default: ((ulong*)to)[i] = values[i](lane); break;
                }
        };
    }

    Action<Lane> Reduce(string[] words, string[] operands)
    {
        var (address, value) = (Address(operands[0]), Value(operands[1]));
        return (words[1], words[^1]) switch
        {
            ("or", "b32") => lane => *(uint*)address(lane) |= (uint)value(lane),
            ("add", "u32") => lane => *(uint*)address(lane) += (uint)value(lane),
            ("add", "u64") => lane => *(ulong*)address(lane) += value(lane),
            ("max", "u32") => lane => *(uint*)address(lane) = Math.Max(*(uint*)address(lane), (uint)value(lane)),
            _ => throw Unknown(string.Join('.', words)),
        };
    }

    Func<Lane, nint> Address(string text)
    {
        var parts = text.Trim('[', ']').Split('+');
        var (start, offset) = (Value(parts[0]), parts.Length > 1 ? Number(parts[1]) : 0);
        return lane => (nint)start(lane) + offset;
    }

    Func<Lane, nint> ParameterAddress(string text)
    {
        var parts = text.Trim('[', ']').Split('+');
        var (parameter, offset) = (parameters[parts[0]], parts.Length > 1 ? Number(parts[1]) : 0);
        return lane => (nint)lane.Arguments[parameter] + offset;
    }

    Action<Lane> Assign(string target, Func<Lane, ulong> value)
    {
        var register = Register(target);
        return lane => lane.Values[register] = value(lane);
    }

    int Register(string name)
    {
        if (!registers.TryGetValue(name, out var index)) registers[name] = index = registers.Count;
        return index;
    }

    Func<Lane, ulong> Value(string text)
    {
        switch (text)
        {
            case "%tid.x": return lane => lane.Thread;
            case "%ntid.x": return lane => lane.Threads;
            case "%ctaid.x": return lane => lane.Group;
            case "%nctaid.x": return lane => lane.Groups;
        }
        if (text[0] == '%')
        {
            var register = Register(text);
            return lane => lane.Values[register];
        }
        if (sharedBlocks.Concat(localBlocks).Any(block => block.Name == text)) return lane => (ulong)lane.Blocks[text];
        var constant = text.StartsWith("0f", StringComparison.OrdinalIgnoreCase)
            || text.StartsWith("0d", StringComparison.OrdinalIgnoreCase)
            ? ulong.Parse(text[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture)
            : (ulong)(Int128.Parse(text, CultureInfo.InvariantCulture) & ulong.MaxValue);
        return _ => constant;
    }

    static float Float(ulong bits) => BitConverter.UInt32BitsToSingle((uint)bits);
    static double Double(ulong bits) => BitConverter.UInt64BitsToDouble(bits);
    static ulong Bits(float value) => BitConverter.SingleToUInt32Bits(value);

    [GeneratedRegex(@"\.entry (\w+)\(")]
    private static partial Regex EntryName();

    [GeneratedRegex(@"\.maxntid (\d+)")]
    private static partial Regex MostThreadsWords();

    [GeneratedRegex(@"\.param (\.align \d+ )?\.[bfsu](\d+)\s+(\w+)(?:\[(\d+)\])?")]
    private static partial Regex Parameter();

    [GeneratedRegex(@"^\.(shared|local) \.align \d+ \.b8 (\w+)\[(\d+)\];$")]
    private static partial Regex Block();

    [GeneratedRegex(@"\{[^}]*\}|\[[^\]]*\]|[^\s,;{}\[\]]+")]
    private static partial Regex Operand();
}
