using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// The native room: makes libtorch's autograd engine ask us about every tensor that it saves for the backward pass.
/// </summary>
/// <remarks>
/// <para>The engine is one object with a virtual method <c>get_default_saved_variable_hooks()</c>. libtorch's own returns null ("no
/// hooks"); Python's engine overrides it. So do we: the engine gets a copy of its virtual table in which that one slot is a C#
/// function. It returns a small native object whose virtual table is C# again: pack, unpack, delete.</para>
/// <para>No managed exception may leave a callback, since it would end the process: each one hands what it catches to the scope. See
/// docs/hooks.md.</para>
/// </remarks>
static unsafe class EngineHooks
{
    // class Engine: complete destructor, deleting destructor, execute, execute_with_graph_task, make_anomaly_metadata, this one, ...; on
    // Windows there is one destructor.
    const int HooksSlot = 5;
    static readonly int engineSlots = CppAbi.IsMicrosofts ? 8 : 9;

    // The slot as libtorch has it on Linux: endbr64; mov qword [rdi], 0; mov rax, rdi; ret. It writes a null unique_ptr.
    static ReadOnlySpan<byte> NoHooks => [0xF3, 0x0F, 0x1E, 0xFA, 0x48, 0xC7, 0x07, 0, 0, 0, 0, 0x48, 0x89, 0xF8, 0xC3];

    static readonly nint* hooksVirtualTable = MakeHooksVirtualTable();

    static readonly Lazy<PlatformNotSupportedException?> installed = new(Install, LazyThreadSafetyMode.ExecutionAndPublication);

    /// <summary>Puts the hooks in place, once in the life of the process.</summary>
    /// <exception cref="PlatformNotSupportedException">This platform or libtorch is not the supported one; nothing was changed.</exception>
    public static void EnsureInstalled()
    {
        if (installed.Value is { } refusal) throw new PlatformNotSupportedException(refusal.Message, refusal);
    }

    static PlatformNotSupportedException? Install()
    {
        try
        {
            SystemLibraries.Check();
            StorageReference.SelfCheck();
            WeakTensor.SelfCheck();
            var getEngine = (delegate* unmanaged[Cdecl]<nint>)LibTorch.Symbol("_ZN5torch8autograd6Engine18get_default_engineEv");
            var engine = (nint**)getEngine();
            var table = *engine;
            // The symbol on Linux is where the table's words begin, on Windows where its functions do.
            var expected = LibTorch.Symbol("_ZTVN5torch8autograd6EngineE") + (CppAbi.IsMicrosofts ? 0 : 2 * sizeof(nint));
            if ((nint)table != expected)
                throw LibTorch.Unsupported(
                    "an engine that is not libtorch's own (another library has replaced it)", "torch::autograd::Engine");
            var slot = CppAbi.IsMicrosofts ? SlotOfExportedFunction(table) : SlotOfKnownCode(table);

            var before = CppAbi.WordsBeforeTable;
            var copy = (nint*)NativeMemory.Alloc((nuint)(engineSlots + before), (nuint)sizeof(nint));
            for (var word = 0; word < engineSlots + before; word++) copy[word] = table[word - before];
            copy[before + slot] = CppAbi.IsMicrosofts
                ? (nint)(delegate* unmanaged[Cdecl]<nint, nint, nint>)&GetHooksOnWindows
                : (nint)(delegate* unmanaged[Cdecl]<nint, nint, nint>)&GetHooksOnLinux;
            *engine = copy + before;
            try { SelfCheck(); }
            catch { *engine = table; throw; }
            _ = FinalizedHandles.Refusal;    // where it refuses, hooks work all the same, and a note says so
            return null;
        }
        catch (PlatformNotSupportedException refusal) { return refusal; }
        catch (TypeInitializationException failure) when (failure.InnerException is PlatformNotSupportedException refusal)
        {
            return refusal;
        }
        catch (Exception failure) when (failure is ExternalException or InvalidOperationException)
        {
            return LibTorch.Unsupported(failure.Message, "a tensor packed and unpacked unchanged");
        }
    }

    static int SlotOfKnownCode(nint* table)
    {
        var code = new ReadOnlySpan<byte>((void*)table[HooksSlot], NoHooks.Length);
        if (code.SequenceEqual(NoHooks)) return HooksSlot;
        throw LibTorch.Unsupported(
            $"code {Convert.ToHexString(code)} in slot {HooksSlot} of the engine", "the function that returns no hooks");
    }

    // Windows' libtorch exports the function itself.
    static int SlotOfExportedFunction(nint* table)
    {
        var function = LibTorch.Symbol("_ZN5torch8autograd6Engine32get_default_saved_variable_hooksEv");
        var slot = new ReadOnlySpan<nint>(table, engineSlots).IndexOf(function);
        if (slot >= 0) return slot;
        throw LibTorch.Unsupported($"no slot of the engine's {engineSlots} with the function that returns no hooks", "one");
    }

    // Packs and unpacks one known tensor: d/dx x^2 = 2x needs the saved x.
    static void SelfCheck()
    {
        using var outer = torch.NewDisposeScope();
        using var normal = torch.inference_mode(false);
        using var tracked = torch.enable_grad();
        var hooks = new KeepingCount();
        var leaf = torch.tensor(new[] { 1f, 2f, 3f }, requires_grad: true);
        var loss = leaf;
        SavedTensorsScope.RunApart(hooks, () => loss = leaf.mul(leaf).sum());
        loss.backward();
        if (hooks.Packed == 0 || hooks.Unpacked == 0)
            throw LibTorch.Unsupported($"{hooks.Packed} tensors packed and {hooks.Unpacked} unpacked in a trial", "at least one each");
        using var gradient = leaf.grad!;
        if (!gradient.data<float>().ToArray().AsSpan().SequenceEqual([2f, 4f, 6f]))
            throw LibTorch.Unsupported("a wrong gradient in a trial", "2x for x squared");
    }

    sealed class KeepingCount : SavedTensorHooks
    {
        public int Packed, Unpacked;
        public override SavedTensor Pack(Tensor tensor) { Packed++; return new Kept(this, tensor.detach()); }
        sealed class Kept(KeepingCount count, Tensor tensor) : SavedTensor
        {
            public override Tensor Unpack() { count.Unpacked++; return tensor.alias(); }
            public override void Dispose() => tensor.Dispose();
        }
    }

    // What libtorch holds for one saved tensor: a SavedVariableHooks object. Its state is a managed object behind a handle.
    struct NativeHooks
    {
        public nint* VirtualTable;
        public nint Scope;    // GCHandle of the SavedTensorsScope
        public nint Saved;    // GCHandle of the SavedTensor, from pack on
    }

    static nint* MakeHooksVirtualTable()
    {
        const int Functions = 5;
        var before = CppAbi.WordsBeforeTable;
        var table = (nint*)NativeMemory.AllocZeroed((nuint)(before + Functions), (nuint)sizeof(nint)) + before;
        table[0] = (nint)(delegate* unmanaged[Cdecl]<nint, nint, void>)&Pack;
        if (CppAbi.IsMicrosofts)
        {
            table[1] = (nint)(delegate* unmanaged[Cdecl]<nint, nint, nint>)&UnpackOnWindows;
            table[2] = (nint)(delegate* unmanaged[Cdecl]<nint, int, nint>)&DestructorOnWindows;
            table[3] = (nint)(delegate* unmanaged[Cdecl]<nint, nint, nint>)&RetrieveHooksForPythonOnWindows;
            return table;
        }
        table[1] = (nint)(delegate* unmanaged[Cdecl]<nint, nint, nint>)&UnpackOnLinux;
        table[2] = (nint)(delegate* unmanaged[Cdecl]<nint, void>)&CompleteDestructor;
        table[3] = (nint)(delegate* unmanaged[Cdecl]<nint, void>)&DeletingDestructor;
        table[4] = (nint)(delegate* unmanaged[Cdecl]<nint, nint, nint>)&RetrieveHooksForPythonOnLinux;
        return table;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint GetHooksOnLinux(nint result, nint engine) => GetHooks(result);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint GetHooksOnWindows(nint engine, nint result) => GetHooks(result);

    static nint GetHooks(nint result)
    {
        *(nint*)result = 0;
        var scope = SavedTensorsScope.Active;
        if (scope is null) return result;
        var hooks = (NativeHooks*)NativeMemory.Alloc((nuint)sizeof(NativeHooks));
        hooks->VirtualTable = hooksVirtualTable;
        hooks->Scope = GCHandle.ToIntPtr(GCHandle.Alloc(scope));
        hooks->Saved = 0;
        *(nint*)result = (nint)hooks;
        return result;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Pack(nint self, nint tensor)
    {
        var hooks = (NativeHooks*)self;
        var scope = (SavedTensorsScope)GCHandle.FromIntPtr(hooks->Scope).Target!;
        try
        {
            var saved = scope.Pack(tensor);
            hooks->Saved = GCHandle.ToIntPtr(GCHandle.Alloc(saved));
        }
        catch (Exception failure) { scope.Record(failure, whilePacking: true); }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint UnpackOnLinux(nint result, nint self) => Unpack(self, result);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint UnpackOnWindows(nint self, nint result) => Unpack(self, result);

    static nint Unpack(nint self, nint result)
    {
        var hooks = (NativeHooks*)self;
        var scope = (SavedTensorsScope)GCHandle.FromIntPtr(hooks->Scope).Target!;
        var saved = hooks->Saved == 0 ? null : (SavedTensor)GCHandle.FromIntPtr(hooks->Saved).Target!;
        try
        {
            if (saved is null) throw new InvalidOperationException("Nothing was kept of this tensor: packing it had failed.");
            scope.Unpack(saved, result);
        }
        catch (Exception failure)
        {
            scope.Record(failure, whilePacking: false);
            UnpackFailures.Tell(failure);
            LibTorch.ReturnLost(saved?.Saved?.Shape, saved?.Saved?.Type ?? torch.ScalarType.Float32, result);
        }
        return result;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void CompleteDestructor(nint self) => Release((NativeHooks*)self);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void DeletingDestructor(nint self)
    {
        Release((NativeHooks*)self);
        NativeMemory.Free((void*)self);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint DestructorOnWindows(nint self, int flags)
    {
        Release((NativeHooks*)self);
        if ((flags & 1) != 0) NativeMemory.Free((void*)self);
        return self;
    }

    static void Release(NativeHooks* hooks)
    {
        var scopeHandle = GCHandle.FromIntPtr(hooks->Scope);
        if (hooks->Saved != 0)
        {
            var handle = GCHandle.FromIntPtr(hooks->Saved);
            hooks->Saved = 0;
            try { ((SavedTensor)handle.Target!).Dispose(); }
            catch (Exception failure) { ((SavedTensorsScope)scopeHandle.Target!).Record(failure, whilePacking: false); }
            handle.Free();
        }
        scopeHandle.Free();
    }

    // Asked for by Python's bindings alone: "no Python hooks" is an empty optional.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint RetrieveHooksForPythonOnLinux(nint result, nint self) => RetrieveHooksForPython(result);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static nint RetrieveHooksForPythonOnWindows(nint self, nint result) => RetrieveHooksForPython(result);

    static nint RetrieveHooksForPython(nint result)
    {
        new Span<byte>((void*)result, 40).Clear();
        return result;
    }
}
