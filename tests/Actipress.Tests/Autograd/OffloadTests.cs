using Actipress.Saving;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Autograd;

/// <summary>
/// Offloading without a second device. Saved tensors are copied from the CPU to the CPU, which runs every step except the transfer. The
/// tests on a GPU skip where there is none.
/// </summary>
[MeasuresMemory]
public class OffloadTests
{
    // The tests enter scopes without the public methods, which install the hooks.
    static OffloadTests() => SavedTensors.SelfCheck();

    public static TheoryData<ForwardPass> Passes => [.. ForwardPass.All];

    static ActivationStore Copying() => new(new OffloadingPolicy(CPU, evenIfThere: true), run: null) { HandsOutOriginals = false };

    [Theory, MemberData(nameof(Passes))]
    public void Moved_and_brought_back_every_gradient_is_the_same_bit_for_bit(ForwardPass pass)
    {
        var store = Copying();
        Assert.Equal(pass.Gradients(), pass.Gradients(() => SavedTensorsScope.Enter(store)));
        Assert.Equal(0, store.LiveBytes);
        var report = store.Report();
        Assert.True(report.KeptBytes > 0 && report.KeptBytes == report.SavedBytes, report.ToString());
        Assert.Equal("on cpu", Assert.Single(report.Layers).KeptAs);
        Assert.Empty(report.Notes);
    }

    [Theory, MemberData(nameof(Passes))]
    public void What_is_there_already_stays(ForwardPass pass) =>
        Assert.Equal(pass.Gradients(), pass.Gradients(() => SavedTensors.Offload()));

    [Fact]
    public void Each_storage_is_moved_once_and_the_original_is_freed()
    {
        using var everything = NewDisposeScope();
        const long MiB = 1 << 20;
        var (store, w) = (Copying(), Parameter(zeros([4, 256, 256])));    // 1 MiB
        Assert.InRange(Allocated.Usually(Held), 1.9 * MiB, 2.1 * MiB);

        long Held()
        {
            Tensor loss;
            var before = AllocatorMeter.CurrentBytes;
            using (SavedTensorsScope.Enter(store))
            using (var map = w.tanh())    // tanh, square and sin save this map
            using (var square = map.square())
            using (var sine = map.sin())
            using (var product = square * w)
            using (var sum = product + sine)
                loss = sum.sum();
            Assert.Equal(2 * MiB, store.LiveBytes);    // the map and its square count, and the parameter does not
            var held = AllocatorMeter.CurrentBytes - before;
            w.grad = null;
            loss.backward();
            loss.Dispose();
            Assert.Equal(0, store.LiveBytes);
            return held;
        }
    }

    [Fact]
    public void A_checkpoint_inside_moves_its_input()
    {
        using var everything = NewDisposeScope();
        var (store, model, x) =
            (Copying(), Sequential(Conv2d(4, 4, 3, padding: 1), Tanh(), Tanh()), randn([2, 4, 32, 32], requires_grad: true));
        Tensor loss;
        using (SavedTensorsScope.Enter(store)) loss = Checkpoint.Run(model, x * 2).sum();
        Assert.Equal(2 * 4 * 32 * 32 * 4, store.LiveBytes);
        loss.backward();
        Assert.Equal(0, store.LiveBytes);
        var gradient = x.grad!.clone();
        x.grad.zero_();
        model.call(x * 2).sum().backward();
        Assert.True(gradient.Equals(x.grad));
    }

    [Fact]
    public void From_a_gpu_to_the_cpu_and_back()
    {
        Assert.SkipUnless(cuda.is_available(), "needs a GPU");
        using var everything = NewDisposeScope();
        var (model, x) = (Sequential(Conv2d(4, 4, 3, padding: 1), ReLU(), Dropout(0.3), MaxPool2d(2)).cuda(), randn(2, 4, 32, 32).cuda());
        List<float[]> Gradients(Func<Tensor> loss)
        {
            model.zero_grad();
            cuda.manual_seed_all(5);
            SavedTensors.Backward(loss());
            return [.. model.parameters().Select(parameter => parameter.grad!.cpu().contiguous().data<float>().ToArray())];
        }
        var plain = Gradients(() => model.call(x).square().mean());
        Assert.Equal(plain, Gradients(() => { using (SavedTensors.Offload()) return model.call(x).square().mean(); }));
        Assert.Equal(plain, Gradients(() => Checkpoint.Run(model, x).square().mean()));
    }
}
