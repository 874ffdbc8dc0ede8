namespace Actipress;

/// <summary>
/// Something that Actipress could not do while a model is trained: what all exceptions of the library's own have in common. A wrong argument
/// or a wrong call throws what .NET has for it, such as <see cref="ArgumentException"/>, and so do damaged bytes and unsupported platforms.
/// </summary>
/// <seealso cref="CompressionException"/>
/// <seealso cref="CheckpointException"/>
/// <seealso cref="BudgetException"/>
public abstract class ActipressException : Exception
{
    private protected ActipressException(string message, Exception? cause = null) : base(message, cause) { }
}
