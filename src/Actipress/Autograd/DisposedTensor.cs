namespace Actipress.Autograd;

/// <summary>TorchSharp's error for a disposed tensor, "Tensor invalid -- empty handle", which tells neither which tensor it is nor who disposed it.</summary>
static class DisposedTensor
{
    /// <summary>Whether <paramref name="failure"/> comes of using a disposed tensor.</summary>
    public static bool Caused(Exception failure) => failure is InvalidOperationException && failure.Message.Contains("empty handle", StringComparison.Ordinal);
}
