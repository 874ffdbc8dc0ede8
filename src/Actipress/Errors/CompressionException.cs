namespace Actipress;

/// <summary>
/// A saved activation map could not be compressed or rebuilt. The message names the layer, and the inner exception is the cause.
/// </summary>
public sealed class CompressionException(string message, Exception cause) : ActipressException(message, cause);
