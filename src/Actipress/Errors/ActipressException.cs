namespace Actipress;

/// <summary>
/// The base of all exceptions of the library's own, for failures while a model is trained. A wrong argument or a wrong call throws an
/// exception of .NET, such as <see cref="ArgumentException"/>, and so do damaged bytes and unsupported platforms.
/// </summary>
/// <seealso cref="CompressionException"/>
/// <seealso cref="CheckpointException"/>
/// <seealso cref="BudgetException"/>
public abstract class ActipressException : Exception
{
    private protected ActipressException(string message, Exception? cause = null) : base(message, cause) { }
}
