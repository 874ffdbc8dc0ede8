namespace Actipress.Autograd;

/// <summary>
/// TorchSharp's error for a disposed tensor, "Tensor invalid -- empty handle", which names neither the tensor nor who disposed it.
/// </summary>
static class DisposedTensor
{
    /// <summary>Whether <paramref name="failure"/> is the use of a disposed tensor.</summary>
    public static bool Caused(Exception failure) =>
        failure is InvalidOperationException && failure.Message.Contains("empty handle", StringComparison.Ordinal);
}
