using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// Tells the cause under a plain <c>loss.backward()</c>. What failed in a callback cannot pass through libtorch, which raises an error of its
/// own; when TorchSharp throws that one on this thread, its text is given the cause, and its inner exception is it.
/// </summary>
static class CauseOfFailure
{
    static readonly Lock gate = new();
    static int waiting;

    [ThreadStatic] static Exception? cause;

    /// <summary>The next error of libtorch's on this thread was caused by <paramref name="failure"/>.</summary>
    public static void Of(Exception failure)
    {
        if (cause is not null) return;    // the first failure is the cause of later ones
        cause = failure;
        lock (gate)
            if (waiting++ == 0) AppDomain.CurrentDomain.FirstChanceException += Thrown;
    }

    /// <summary>A backward pass begins anew on this thread: what failed before does not concern it.</summary>
    public static void Forget()
    {
        if (cause is null) return;
        cause = null;
        lock (gate)
            if (--waiting == 0) AppDomain.CurrentDomain.FirstChanceException -= Thrown;
    }

    static void Thrown(object? sender, FirstChanceExceptionEventArgs thrown)
    {
        if (cause is not { } failure || thrown.Exception is not ExternalException error) return;
        Forget();
        try
        {
            Message(error) = $"{failure.Message}{Environment.NewLine}(libtorch's own error then: {error.Message.Split('\n')[0]})";
            Inner(error) = failure;
        }
        catch (MissingFieldException) { }    // another runtime: libtorch's text stays, and the report has the cause
    }

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_message")]
    static extern ref string? Message(Exception exception);

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_innerException")]
    static extern ref Exception? Inner(Exception exception);
}
