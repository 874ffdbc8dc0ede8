using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Actipress.Autograd;

/// <summary>
/// Adds the cause to the exception of a plain <c>loss.backward()</c>. The exception of a callback cannot pass through libtorch, which
/// raises an error of its own. When TorchSharp throws this error on the same thread, the cause is added to its text and set as its inner
/// exception.
/// </summary>
static class CauseOfFailure
{
    static readonly Lock gate = new();
    static int waiting;

    [ThreadStatic] static Exception? cause;

    /// <summary>Records that <paramref name="failure"/> is the cause of libtorch's next error on this thread.</summary>
    public static void Of(Exception failure)
    {
        if (cause is not null) return;    // the first failure is the cause of later ones
        cause = failure;
        lock (gate)
            if (waiting++ == 0) AppDomain.CurrentDomain.FirstChanceException += Thrown;
    }

    /// <summary>Forgets earlier failures, because a new backward pass begins on this thread.</summary>
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
