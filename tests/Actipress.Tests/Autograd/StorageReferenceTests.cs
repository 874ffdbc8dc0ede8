using Actipress.Autograd;
using static TorchSharp.torch;

namespace Actipress.Tests.Autograd;

public class StorageReferenceTests
{
    static StorageReferenceTests() => SavedTensors.SelfCheck();

    [Fact]
    public void A_reference_may_be_given_up_twice_and_the_storage_lives_as_long_as_its_tensors()
    {
        using var tensor = ones(8);
        using var other = StorageReference.Of(tensor);
        var reference = StorageReference.Of(tensor);
        reference.Dispose();
        reference.Dispose();
        Assert.Equal((0, true, 1L), (reference.Address, other.IsAlive, other.Users));
        using (var view = tensor.view(2, 4)) Assert.Equal(2, other.Users);
        Assert.Equal(8, tensor.sum().item<float>());
        Assert.Equal(StorageReference.AddressOf(tensor), other.Address);
    }

    [Fact]
    public void A_storage_that_is_held_lives_without_a_tensor_until_it_is_let_go()
    {
        var tensor = ones(8);
        using var reference = StorageReference.Of(tensor);
        Assert.True(reference.TryHold());
        Assert.Equal(2, reference.Users);
        reference.LetGo();
        tensor.Dispose();
        Assert.False(reference.IsAlive);
        Assert.False(reference.TryHold());
        Assert.Equal(0, reference.Data);
    }
}
