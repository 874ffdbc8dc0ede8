namespace Actipress.Autograd;

/// <summary>
/// The tags of libtorch's <c>c10::IValue</c>, which is a word of payload and a tag. A tensor's payload is its implementation.
/// </summary>
static class ValueTag
{
    public const int Tensor = 1, Double = 3, Integer = 5, Text = 12, List = 14;
}
