using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// Calls an action when a backward pass has added a parameter's whole gradient to <c>grad</c>. It is libtorch's hook after accumulation,
/// which libtorch calls once in a pass for each parameter with a gradient, on the thread that runs this part of the pass.
/// </summary>
/// <remarks>
/// libtorch takes an object of the class <c>PostAccumulateGradHook</c>. Here the object is a few words whose virtual table consists of C#
/// functions: complete destructor, deleting destructor, call, and two that only torch's compiler uses. A tensor has one such hook; libtorch
/// lets a second one replace the first, which is refused here.
/// </remarks>
static unsafe class GradientHook
{
    const string SetHook =
        "_ZN5torch8autograd4impl23set_post_acc_grad_hooksERKN2at10TensorBaseESt10unique_ptrINS0_22PostAccumulateGradHookESt14default_deleteIS7_EE";

    struct NativeHook
    {
        public nint* VirtualTable;
        public nint Completed;    // GCHandle of an Action
        public nint Parameter;
    }

    // The implementations of the parameters that have a hook.
    static readonly ConcurrentDictionary<nint, bool> parameters = new();
    static readonly nint* virtualTable = MakeVirtualTable();
    static readonly Lazy<PlatformNotSupportedException?> refusal = new(SelfCheck, LazyThreadSafetyMode.ExecutionAndPublication);

    /// <summary>From now on each backward pass calls <paramref name="completed"/> when the parameter's gradient is whole.</summary>
    /// <param name="parameter">A leaf.</param>
    /// <param name="completed">Called within the pass; it must not throw. Null removes the hook.</param>
    /// <exception cref="InvalidOperationException">The parameter has a hook.</exception>
    /// <exception cref="PlatformNotSupportedException">The loaded libtorch has no such hooks, or hooks of another layout.</exception>
    public static void Set(Tensor parameter, Action? completed)
    {
        if (refusal.Value is { } why) throw new PlatformNotSupportedException(why.Message, why);
        if (completed is not null && parameters.ContainsKey(OperationObserver.Implementation(parameter)))
            throw new InvalidOperationException("A gradient can have one user within the backward pass: found another one, wanted none. "
                + "Gradients are averaged over ranks there, or an optimizer steps there: end one of the two first.");
        Place(parameter, completed);
    }

    static void Place(Tensor parameter, Action? completed)
    {
        NativeHook* hook = null;
        if (completed is not null)
        {
            hook = (NativeHook*)NativeMemory.Alloc((nuint)sizeof(NativeHook));
            hook->VirtualTable = virtualTable;
            hook->Completed = GCHandle.ToIntPtr(GCHandle.Alloc(completed));
            hook->Parameter = OperationObserver.Implementation(parameter);
        }
        // A unique_ptr by value is passed by its address. The caller frees what is left in it.
        var pointer = (nint)hook;
        ((delegate* unmanaged[Cdecl]<nint, nint*, void>)LibTorch.Symbol(SetHook))(parameter.Handle, &pointer);
        if (pointer != 0) Delete(pointer);
        if (completed is not null) parameters[OperationObserver.Implementation(parameter)] = true;
    }

    // d/dx (x + x) has two parts, and the hook must be called once, with the sum of both. A sum saves nothing, so that the hooks of no
    // scope see the trial.
    static PlatformNotSupportedException? SelfCheck()
    {
        try
        {
            using var outer = torch.NewDisposeScope();
            using var normal = torch.inference_mode(false);
            using var tracked = torch.enable_grad();
            var leaf = torch.ones([], requires_grad: true);
            var seen = new List<float>();
            Place(leaf, () =>
            {
                using var gradient = leaf.grad;
                seen.Add(gradient is null ? float.NaN : *(float*)LibTorch.Data(gradient));
            });
            leaf.Add(leaf).backward();
            Place(leaf, null);
            leaf.Add(leaf).backward();
            return seen is [2f] ? null : LibTorch.Unsupported($"the gradients [{string.Join(", ", seen)}] at the hook of a trial", "2 " +
                "for x + x, once");
        }
        catch (PlatformNotSupportedException failure) { return failure; }
        catch (ExternalException failure) { return LibTorch.Unsupported(failure.Message, "a hook that is told of a gradient"); }
    }

    static nint* MakeVirtualTable()
    {
        var table = (nint*)NativeMemory.AllocZeroed(7, (nuint)sizeof(nint));
        table[2] = (nint)(delegate* unmanaged[Cdecl]<nint, void>)&CompleteDestructor;
        table[3] = (nint)(delegate* unmanaged[Cdecl]<nint, void>)&DeletingDestructor;
        table[4] = (nint)(delegate* unmanaged[Cdecl]<nint, nint, void>)&Call;
        table[5] = table[6] = (nint)(delegate* unmanaged[Cdecl]<nint, nint, void>)&CompilerOnly;
        return table + 2;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void Call(nint self, nint tensor)
    {
        try { ((Action)GCHandle.FromIntPtr(((NativeHook*)self)->Completed).Target!)(); }
        catch { }    // an exception here would end the process
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void CompilerOnly(nint self, nint arguments) { }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void CompleteDestructor(nint self) => Release(self);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    static void DeletingDestructor(nint self) => Delete(self);

    static void Delete(nint self)
    {
        Release(self);
        NativeMemory.Free((void*)self);
    }

    static void Release(nint self)
    {
        var hook = (NativeHook*)self;
        GCHandle.FromIntPtr(hook->Completed).Free();
        parameters.TryRemove(hook->Parameter, out _);
    }
}
