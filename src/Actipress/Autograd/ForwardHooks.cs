using System.Reflection;
using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// Registers TorchSharp's forward pre-hooks and hooks on a module of unknown type. The hooks that fit every module are members of the
/// generic HookableModule&lt;,&gt;, which has no common base with them.
/// </summary>
static class ForwardHooks
{
    /// <summary>Calls <paramref name="action"/> before each forward pass by <c>call</c>.</summary>
    /// <returns>What removes the hook; null where the module, such as a ModuleList, has no forward of its own.</returns>
    public static Action? Before(nn.Module module, Action action) => Register(module, "register_forward_pre_hook", action);

    /// <summary>Calls <paramref name="action"/> after each forward pass by <c>call</c> that did not throw.</summary>
    /// <returns>What removes the hook; null where the module, such as a ModuleList, has no forward of its own.</returns>
    public static Action? After(nn.Module module, Action action) => Register(module, "register_forward_hook", action);

    static Action? Register(nn.Module module, string method, Action action)
    {
        var register = module.GetType().GetMethod(method, BindingFlags.Public | BindingFlags.Instance, [typeof(Action<nn.Module>)]);
        if (register?.Invoke(module, [(Action<nn.Module>)(_ => action())]) is not { } remover) return null;
        return () => remover.GetType().GetMethod("remove")!.Invoke(remover, null);
    }
}
