namespace Actipress;

/// <summary>A saved activation map could not be compressed or rebuilt; the message names the layer, the inner exception the cause.</summary>
public sealed class CompressionException(string message, Exception cause) : ActipressException(message, cause);
