using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// Records which operations of libtorch run on this thread, innermost last, and on which tensors. libtorch's own operation callbacks
/// (<c>at::addThreadLocalCallback</c>) report the begin and the end of each operation. The innermost operation saves a saved tensor.
/// </summary>
/// <remarks>
/// <para>The callbacks are on only while a scope whose hooks need them is open on the thread (<see cref="Watch"/>). A callback allocates
/// nothing, because frames and names are reused. No exception leaves a callback.</para>
/// <para>libtorch's <c>RecordFunction</c> holds the arguments as a pointer to its <c>c10::IValue</c>s and their number. The offset of these
/// two words is found at start-up, in a multiplication of two known tensors; where it is not found, the observer refuses. The results are a
/// vector of such values. Its offset is found in the same way; where it is not found, no results are reported.</para>
/// </remarks>
static unsafe class OperationObserver
{
    // struct RecordFunctionCallback: two functions, a probability, a flag for each of ten scopes, and whether inputs, outputs and ids are
    // wanted.
    [StructLayout(LayoutKind.Sequential)]
    struct Callback
    {
        public nint Start, End;
        public double Probability;
        public fixed byte Scopes[10];
        public byte NeedsInputs, NeedsOutputs, NeedsIds;
    }

    // An IValue: its payload and its ValueTag.
    internal const int WordsPerValue = 2;

    const int WordsSearched = 96, FarthestFrame = 1 << 16, MostNames = 1 << 13;

    /// <summary>An <see cref="AppContext"/> switch for tests. Operations are not observed where it is off before the first use.</summary>
    public const string Switch = "Actipress.ObservesOperations";

    static readonly Lazy<PlatformNotSupportedException?> refusal = new(Install, LazyThreadSafetyMode.ExecutionAndPublication);
    static readonly ConcurrentDictionary<nint, Operation> byName = new();
    static delegate* unmanaged[Cdecl]<Callback, ulong> addCallback;
    static delegate* unmanaged[Cdecl]<ulong, void> removeCallback;
    static delegate* unmanaged[Cdecl]<nint, nint> nameOf;
    static delegate* unmanaged[Cdecl]<byte> hasCallbacks;
    static int argumentsWord = -1, resultsWord = -1;
    static bool readsTexts, readsLists;

    [ThreadStatic] static RunningOperations? running;
    [ThreadStatic] static ulong handle;
    [ThreadStatic] static bool addedInBackward, unsettled;
    [ThreadStatic] static (nint First, nint Second) searched;
    [ThreadStatic] static int found;
    [ThreadStatic] static nint searchedResult;

    /// <summary>Why libtorch's operations cannot be observed here; null where they can.</summary>
    public static PlatformNotSupportedException? Refusal => refusal.Value;

    /// <summary>The operations that run on this thread; null where the callbacks are off.</summary>
    public static RunningOperations? Running => handle == 0 ? null : running;

    /// <summary>Switches the callbacks of this thread on or off.</summary>
    /// <remarks>
    /// Around each node of a backward pass libtorch saves and restores the thread's callbacks. So callbacks that were on before a backward
    /// pass stay on until the pass is over, and callbacks that are switched on within the pass may be lost. The thread is
    /// <see cref="IsUnsettled"/> until the next call outside the pass.
    /// </remarks>
    public static void Watch(bool wanted)
    {
        if (wanted && Refusal is not null) return;
        if (addedInBackward && handle != 0 && hasCallbacks() == 0)
        {
            handle = 0;
            running!.IsObserved = false;
        }
        IsUnsettled = addedInBackward = addedInBackward && handle != 0;
        if (wanted == (handle != 0)) return;
        var inBackward = LibTorch.CurrentBackward >= 0;
        if (wanted)
        {
            running ??= new RunningOperations();
            handle = Add();
            running.IsObserved = true;
            IsUnsettled = addedInBackward = inBackward;
        }
        else if (inBackward && !addedInBackward) IsUnsettled = true;
        else
        {
            removeCallback(handle);
            handle = 0;
            IsUnsettled = addedInBackward = false;
            running!.IsObserved = false;
        }
    }

    /// <summary>Whether <see cref="Watch"/> was called on this thread within a backward pass, and should be called again.</summary>
    public static bool IsUnsettled { get => unsettled; private set => unsettled = value; }

    static ulong Add()
    {
        var callback = new Callback
        {
            Start = (nint)(delegate* unmanaged[Cdecl]<nint, nint, nint>)&Started,
            End = (nint)(delegate* unmanaged[Cdecl]<nint, nint, void>)&Ended,
            Probability = 1,
            NeedsInputs = 1,
            NeedsOutputs = 1,
        };
        callback.Scopes[0] = 1;    // functions, not the nodes of the backward pass
        return addCallback(callback);
    }

    static PlatformNotSupportedException? Install()
    {
        if (AppContext.TryGetSwitch(Switch, out var on) && !on)
            return LibTorch.Unsupported($"the switch {Switch} off", "it on, which is the default");
        try
        {
            addCallback =
                (delegate* unmanaged[Cdecl]<Callback, ulong>)LibTorch.Symbol("_ZN2at22addThreadLocalCallbackENS_22RecordFunctionCallbackE");
            removeCallback = (delegate* unmanaged[Cdecl]<ulong, void>)LibTorch.Symbol("_ZN2at14removeCallbackEm");
            nameOf = (delegate* unmanaged[Cdecl]<nint, nint>)LibTorch.Symbol("_ZNK2at14RecordFunction4nameEv");
            hasCallbacks = (delegate* unmanaged[Cdecl]<byte>)LibTorch.Symbol("_ZN2at23hasThreadLocalCallbacksEv");
            SelfCheck();
            return null;
        }
        catch (PlatformNotSupportedException failure) { return failure; }
        catch (TypeInitializationException failure) when (failure.InnerException is PlatformNotSupportedException inner) { return inner; }
    }

    // Multiplies two known tensors, and finds their implementations among the arguments. Then checks that both tensors, and the numbers
    // among the arguments of another operation, are observed as later operations will be.
    static void SelfCheck()
    {
        using var outer = torch.NewDisposeScope();
        var (a, b) = (torch.ones(2, 3), torch.ones(2, 3));
        running ??= new RunningOperations();
        (searched, found) = ((Implementation(a), Implementation(b)), -1);
        try { Observe(() => a.mul(b)); }
        finally { searched = default; }
        if (found < 0)
            throw LibTorch.Unsupported("no arguments in the operation callback of a trial", "the two factors of a multiplication");
        argumentsWord = found;
        ref var last = ref running.Last;
        Observe(() => a.Hardtanh(-1.5, 2.5));
        if ((last.Numbers[1], last.Numbers[2]) is not (-1.5, 2.5))
            throw LibTorch.Unsupported(
                $"the numbers {last.Numbers[1]} and {last.Numbers[2]} among the arguments of '{last.Operation}' in a trial",
                "-1.5 and 2.5 of aten::hardtanh");
        Observe(() => a.mul(b));
        readsTexts = true;
        Observe(() => torch.nn.functional.gelu(a));
        readsTexts = last.Numbers[1] == 'n';    // "none", and not "tanh"
        readsLists = true;
        Observe(() => torch.cat([a, b, a], 1));
        readsLists = running.ListOf(last) is [var one, var two, var three] && one == Implementation(a) && two == Implementation(b)
            && three == one && last.Numbers[1] == 1;
        searchedResult = Implementation(a);
        try { Observe(() => a.mul_(b)); }
        finally { searchedResult = 0; }
        Observe(() => a.mul(b));
        if (running.Depth != 0 || last.Operation.Name != "aten::mul" || last.Arguments[0] != Implementation(a)
            || last.Arguments[1] != Implementation(b))
            throw LibTorch.Unsupported(
                $"operation '{last.Operation}' at depth {running.Depth} in a trial", "aten::mul of two known tensors");

        static void Observe(Func<Tensor> operation)
        {
            var trial = Add();
            try { operation(); }
            finally { removeCallback(trial); }
        }
    }

    /// <summary>The names of all operations that libtorch has, without overloads.</summary>
    public static IReadOnlySet<string> AllNames => allNames.Value;

    static readonly Lazy<IReadOnlySet<string>> allNames = new(ReadNames);

    // std::vector<c10::OperatorName>, by value: three words. An OperatorName is two std::strings of four words.
    static HashSet<string> ReadNames()
    {
        const int WordsPerName = 8;
        var dispatcher = ((delegate* unmanaged[Cdecl]<nint>)LibTorch.Symbol("_ZN3c1010Dispatcher13realSingletonEv"))();
        var vector = stackalloc nint[3];
        CppAbi.Call(LibTorch.Symbol("_ZN3c1010Dispatcher13getAllOpNamesEv"), dispatcher, (nint)vector);
        var names = new HashSet<string>();
        for (var name = (nint*)vector[0]; name < (nint*)vector[1]; name += WordsPerName)
            names.Add(System.Text.Encoding.UTF8.GetString(CppAbi.Text(name)));
        return names;    // once in the life of the process: the vector is not freed
    }

    /// <summary>The address of a tensor's implementation: the same for every handle of one tensor.</summary>
    public static nint Implementation(Tensor tensor) => *(nint*)tensor.Handle;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint Started(nint result, nint function)
    {
        *(nint*)result = 0;    // no context
        var operations = running ??= new RunningOperations();
        ref var frame = ref operations.Enter();
        try
        {
            frame.Operation = Named(nameOf(function));
            if (searched.First != 0) Search((nint*)function);
            var word = argumentsWord >= 0 ? argumentsWord : found;
            if (word < 0) return result;
            var (values, count) = (((nint*)function)[word], (int)Math.Min(((nint*)function)[word + 1], Frame.MostArguments));
            for (var i = 0; i < count; i++)
            {
                var value = (nint*)values + i * WordsPerValue;
                var tag = *(int*)(value + 1);
                frame.Arguments[i] = tag == ValueTag.Tensor ? *value : 0;
                frame.Numbers[i] = tag switch
                {
                    ValueTag.Double => *(double*)value,
                    ValueTag.Integer => *value,
                    ValueTag.Text when readsTexts => FirstLetter(*value),
                    _ => double.NaN,
                };
                if (tag == ValueTag.List && readsLists && frame.Operation.JoinsList) operations.List(ref frame, (nint*)*value);
            }
            frame.ArgumentCount = count;
        }
        catch { frame.Operation = Operation.Unknown; }    // tensors that it saves stay exact
        return result;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Ended(nint function, nint context)
    {
        if (running is not { Depth: > 0 } operations) return;
        try
        {
            if (searchedResult != 0) SearchResult((nint*)function);
            ref var frame = ref operations.At(0);
            if (resultsWord >= 0 && frame.Operation.TellsResults) Tell(frame, (nint*)function + resultsWord);
        }
        catch { }    // a result that is not reported is not derived
        operations.Leave();
    }

    static void Tell(in Frame frame, nint* vector)
    {
        const int MostResults = 4;
        var results = stackalloc nint[MostResults];
        var count = (int)Math.Min(MostResults, (vector[1] - vector[0]) / (WordsPerValue * sizeof(nint)));
        for (var i = 0; i < count; i++)
        {
            var value = (nint*)vector[0] + i * WordsPerValue;
            results[i] = (int)value[1] == ValueTag.Tensor ? *value : 0;
        }
        if (count > 0) SavedTensorsScope.Ended(frame, new(results, count));
    }

    // A vector is three words: the addresses of its begin, its end, and the end of its memory.
    static void SearchResult(nint* function)
    {
        const int Bytes = WordsPerValue * 8;
        for (var word = 0; word < WordsSearched && resultsWord < 0; word++)
        {
            var (begin, end, memory) = (function[word], function[word + 1], function[word + 2]);
            if (begin < FarthestFrame || (begin & 7) != 0 || end - begin != Bytes || memory - begin is < Bytes or > FarthestFrame) continue;
            if (*(nint*)begin == searchedResult && (int)((nint*)begin)[1] == ValueTag.Tensor) resultsWord = word;
        }
    }

    // A text is a reference-counted object: a virtual table, the counts, and then a std::string.
    static double FirstLetter(nint text) => CppAbi.Text((nint*)text + 2) is [var first, ..] ? first : double.NaN;

    // The address of a name belongs to an operator's schema, which lives as long as the operator; its text is compared all the same. The
    // engine makes the names of its nodes anew each time, at other addresses. Nodes save nothing themselves, and their names are not kept.
    static Operation Named(nint name)
    {
        var text = MemoryMarshal.CreateReadOnlySpanFromNullTerminated((byte*)name);
        if (byName.TryGetValue(name, out var known) && known.IsCalled(text)) return known;
        if (text.StartsWith("autograd::engine::"u8)) return Operation.Unknown;
        var operation = Operation.Called(text);
        if (known is not null || byName.Count < MostNames) byName[name] = operation;
        return operation;
    }

    // The arguments lie on the caller's stack, above this frame.
    static void Search(nint* function)
    {
        var here = (nint)(&function);
        for (var word = 0; word < WordsSearched && found < 0; word++)
        {
            var values = (nint*)function[word];
            if ((nint)values <= here || (nint)values - here > FarthestFrame || ((nint)values & 7) != 0
                || function[word + 1] is < 2 or > Frame.MostArguments)
                continue;
            if (values[0] == searched.First && values[WordsPerValue] == searched.Second && (int)values[1] == ValueTag.Tensor
                && (int)values[WordsPerValue + 1] == ValueTag.Tensor)
                found = word;
        }
    }
}

/// <summary>The operations that run on one thread, the outermost first.</summary>
sealed class RunningOperations
{
    Frame[] frames = new Frame[16];
    nint[] lists = new nint[16];
    int listed;
    long number;
    bool isKnown;    // to FinalizedHandles

    /// <summary>Whether the operations of the thread are observed now. Read on another thread.</summary>
    public bool IsObserved
    {
        get;
        set
        {
            field = value;
            if (!value || isKnown || FinalizedHandles.Refusal is not null) return;
            FinalizedHandles.Watch(this);
            isKnown = true;
        }
    }

    /// <summary>The number of the outermost operation that runs; null where none does. Read on another thread.</summary>
    public long? RunningNumber => Depth == 0 ? null : Volatile.Read(ref number);

    /// <summary>Whether an outermost operation has ended. Read on another thread.</summary>
    public bool HasEnded(long operation) => Depth == 0 || Volatile.Read(ref number) != operation;

    /// <summary>The number of running operations, one inside the other.</summary>
    public int Depth { get; private set; }

    /// <summary>The outermost operation that ended last, for the self-check.</summary>
    public ref Frame Last => ref frames[0];

    public ref Frame Enter()
    {
        if (Depth == frames.Length) Array.Resize(ref frames, 2 * Depth);
        if (Depth == 0) number++;
        ref var frame = ref frames[Depth++];
        (frame.Operation, frame.ArgumentCount, frame.SavedResults) = (Operation.Unknown, 0, 0);
        (frame.ListStart, frame.ListCount) = (listed, 0);
        return ref frame;
    }

    // libtorch calls the end callback of an operation only if its begin callback was called, so that each end has its begin.
    public void Leave()
    {
        if (Depth == 0) return;
        Depth--;
        listed = frames[Depth].ListStart;
        if (Depth == 0 && FinalizedHandles.IsWaiting) FinalizedHandles.Free();
    }

    /// <summary>Records the tensors of an operation's list.</summary>
    /// <param name="frame">The operation.</param>
    /// <param name="list">A <c>c10::detail::ListImpl</c>: a virtual table, the counts, and then a vector of <c>c10::IValue</c>s.</param>
    public unsafe void List(ref Frame frame, nint* list)
    {
        var end = (nint*)list[3];
        for (var value = (nint*)list[2]; value < end; value += OperationObserver.WordsPerValue)
        {
            if (listed == lists.Length) Array.Resize(ref lists, 2 * listed);
            lists[listed++] = (int)value[1] == ValueTag.Tensor ? *value : 0;
        }
        frame.ListCount = listed - frame.ListStart;
    }

    /// <summary>The implementations of the tensors of an operation's list; empty where there is none.</summary>
    public ReadOnlySpan<nint> ListOf(in Frame frame) => lists.AsSpan(frame.ListStart, frame.ListCount);

    /// <summary>The operation at a level: 0 is the innermost.</summary>
    public ref Frame At(int level) => ref frames[Depth - 1 - level];
}

/// <summary>One running operation.</summary>
struct Frame
{
    public const int MostArguments = 10;

    public Operation Operation;
    public int ArgumentCount;

    /// <summary>The number of its results that it has saved so far.</summary>
    public int SavedResults;

    /// <summary>The place and the length of its list of tensors (<see cref="RunningOperations.ListOf"/>).</summary>
    public int ListStart, ListCount;

    /// <summary>The implementations of its tensor arguments, by their position in the operation's schema; 0 for other arguments.</summary>
    public ArgumentList Arguments;

    /// <summary>
    /// Its arguments that are numbers, by their position in the schema, and the first letter of each text; NaN for other arguments.
    /// </summary>
    public NumberList Numbers;

    [InlineArray(MostArguments)]
    public struct ArgumentList
    {
        nint first;
    }

    [InlineArray(MostArguments)]
    public struct NumberList
    {
        double first;
    }
}

/// <summary>An operation of libtorch by its name, such as <c>aten::convolution</c>.</summary>
sealed class Operation
{
    // Those whose results may follow from maps that are held.
    static readonly FrozenSet<string> derivable = FrozenSet.ToFrozenSet(
    [
        "native_batch_norm", "native_group_norm", "native_layer_norm", "relu", "leaky_relu", "hardtanh", "silu", "hardswish", "gelu",
        "elu", "_prelu_kernel", "add", "mul", "cat",
    ]);

    static readonly FrozenSet<string> batchNorms = FrozenSet.ToFrozenSet(["native_batch_norm", "cudnn_batch_norm"]);

    static readonly ConcurrentDictionary<string, Operation> byText = new();
    readonly byte[] utf8;

    Operation(string name)
    {
        (Name, ShortName, utf8) = (name, name[(name.LastIndexOf(':') + 1)..].TrimEnd('_'), System.Text.Encoding.UTF8.GetBytes(name));
        (JoinsList, IsBatchNorm) = (ShortName == "cat", batchNorms.Contains(ShortName));
        TellsResults = IsBatchNorm || derivable.Contains(ShortName);
    }

    /// <summary>An operation that was not observed.</summary>
    public static readonly Operation Unknown = new("");

    /// <summary>The name without its overload.</summary>
    public string Name { get; }

    /// <summary>The name without <c>aten::</c> and without the underscore of an operation in place.</summary>
    public string ShortName { get; }

    /// <summary>Whether its results are reported to hooks. They can be derived from held maps, or tell a batch's statistics.</summary>
    public bool TellsResults { get; }

    /// <summary>Whether the operation is a batch norm: its second result is the means of the batch, where it used these.</summary>
    public bool IsBatchNorm { get; }

    /// <summary>Whether the operation joins a list of tensors.</summary>
    public bool JoinsList { get; }

    /// <summary>Whether the operation changes its first argument.</summary>
    public bool IsInPlace => Name.EndsWith('_') && !Name.EndsWith("__", StringComparison.Ordinal);

    public static Operation Called(ReadOnlySpan<byte> utf8) => Called(System.Text.Encoding.UTF8.GetString(utf8));

    /// <summary>An operation that libtorch has.</summary>
    /// <param name="name">With its namespace, such as <c>aten::relu</c>, and with or without the underscore of its form in place.</param>
    /// <exception cref="ArgumentException">libtorch has no operation of this name; the message lists similar names.</exception>
    public static Operation Existing(string name)
    {
        var all = OperationObserver.AllNames;
        if (all.Contains(name)) return Called(name);
        // Names with the same beginning after the namespace come first.
        var whole = name.Contains("::", StringComparison.Ordinal) ? name : "aten::" + name;
        var near = all.Select(other => (Name: other, Distance: Distance(whole, other))).OrderBy(pair => pair.Distance)
            .ThenBy(pair => pair.Name, StringComparer.Ordinal).Take(5);
        throw new ArgumentException(
            $"libtorch has no operation '{name}'. Near names: {string.Join(", ", near.Select(pair => pair.Name))}.", nameof(name));
    }

    /// <summary>Levenshtein's distance: the number of letters to insert, delete or replace to change one name into the other.</summary>
    public static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                (diagonal, row[j]) = (row[j], Math.Min(changed, Math.Min(row[j], row[j - 1]) + 1));
            }
        }
        return row[^1];
    }

    public static Operation Called(string name) => name.Length == 0 ? Unknown : byText.GetOrAdd(name, text => new Operation(text));

    public bool IsCalled(ReadOnlySpan<byte> text) => text.SequenceEqual(utf8);

    public override string ToString() => Name;
}
