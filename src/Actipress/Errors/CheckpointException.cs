namespace Actipress;

/// <summary>
/// A checkpoint's block could not be run again for the backward pass, or its second run differed from the first. The message says what
/// differed.
/// </summary>
public sealed class CheckpointException(string message, Exception? cause = null) : ActipressException(message, cause);
