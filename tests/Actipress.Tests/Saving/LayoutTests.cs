using Actipress.Autograd;
using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>Saved tensors that are not the whole of their storage, or that lie in it with gaps.</summary>
public class LayoutTests
{
    static LayoutTests() => SavedTensors.SelfCheck();

    /// <summary>Every way to hold saved tensors, exactly or nearly so.</summary>
    static readonly Dictionary<string, (Func<ActivationStore> Make, double Tolerance)> stores = new()
    {
        ["offload"] = (() => new(new OffloadingPolicy(CPU, evenIfThere: true), run: null) { HandsOutOriginals = false }, 1e-6),
        ["lossless"] = (() => Compressing(ThroughStore.Lossless), 1e-5),
        ["none"] = (() => Compressing(ActivationCodec.None), 1e-6),
        ["half"] = (() => Compressing(ActivationCodec.Parse("half")), 0.02),
        ["dct:10"] = (() => Compressing(ActivationCodec.Dct(10)), 0.5),
    };

    static ActivationStore Compressing(ActivationCodec codec) =>
        new(new CompressingPolicy(new CompressionOptions().SmallestBytes(0).Default(codec)), run: null) { HandsOutOriginals = false };

    static readonly Dictionary<string, Func<Tensor, Tensor>> complexCases = new()
    {
        ["product with the conjugate"] = x => { var q = view_as_complex(x.mul(1.5).view(-1, 2)); return (q * q.conj()).real.sum(); },
        ["power spectrum"] = x => { var f = fft.rfft2(x.mul(1.5)); return (f * f.conj()).real.square().sum(); },
        ["power spectrum by parts"] = x => { var f = fft.rfft2(x.mul(1.5)); return (f.real.square() + f.imag.square()).log1p().sum(); },
        ["imaginary part of the conjugate"] =
            x => { var q = view_as_complex(x.mul(1.5).view(-1, 2)); return (q.conj().imag * q.real).sum(); },
        ["square of a negated view"] =
            x => { var q = view_as_complex(x.mul(1.5).view(-1, 2)); var part = q.conj().imag; return (part * part * part).sum(); },
        ["views of those"] = x =>
        {
            var q = view_as_complex(x.mul(1.5).view(4, -1, 2));
            return (q.conj().transpose(0, 1)[3] * q.t()[3]).real.sum()
                + (q.conj().imag.t().narrow(0, 2, 5) * x.view(4, -1).t().narrow(0, 2, 5)).sum();
        },
        ["absolute value of a conjugate"] =
            x => { var q = view_as_complex(x.mul(1.5).view(-1, 2)); return (q.conj().abs() * q.abs()).sum(); },
        ["matrix product with the adjoint"] =
            x => { var q = view_as_complex(x.mul(1.5).view(16, -1, 2)); return q.matmul(q.conj().t()).abs().sum(); },
        ["solved conjugates"] = x =>
        {
            var q = view_as_complex(x.mul(0.1).view(-1, 16, 2)).narrow(0, 0, 16) + eye(16, dtype: ScalarType.ComplexFloat32);
            return q.conj().inverse().real.square().sum();
        },
    };

    static readonly Dictionary<string, Func<Tensor, Tensor>> matrixCases = Matrices();

    static Dictionary<string, Func<Tensor, Tensor>> Matrices()
    {
        var cases = new Dictionary<string, Func<Tensor, Tensor>>();
        foreach (var (layout, of) in new Dictionary<string, Func<Tensor, Tensor>>
        {
            ["plain"] = m => m,
            ["transposed"] = m => m.t(),
            ["narrowed rows"] = m => m.narrow(0, 3, 12),
            ["narrowed"] = m => m.narrow(0, 3, 12).narrow(1, 2, 12),
            ["narrowed columns"] = m => m.narrow(1, 2, 12),
            ["narrowed and transposed"] = m => m.narrow(0, 3, 12).narrow(1, 2, 12).t(),
            ["every second column"] = m => m.slice(1, 0, 24, 2).narrow(0, 0, 12),
            ["every second of both"] = m => m.slice(1, 0, 24, 2).slice(0, 0, 24, 2),
            ["a batch of narrowed"] = m => m.view(2, 12, 24).narrow(2, 2, 12),
            ["an expanded batch"] = m => m.narrow(0, 0, 12).narrow(1, 0, 12).expand(3, 12, 12),
            ["windows that overlap"] = m => m.as_strided([12, 12], [25, 1], 0),
        })
            foreach (var (name, operation) in new Dictionary<string, Func<Tensor, Tensor>>
            {
                ["det"] = linalg.det,
                ["slogdet"] = m => linalg.slogdet(m).Item2,
                ["inverse"] = m => linalg.inv(m),
                ["solve"] = m => linalg.solve(m, ones([.. m.shape[..^1], 3])),
                ["solve a vector"] = m => m.dim() == 2 ? linalg.solve(m, m[0]) : linalg.solve(m, m.narrow(1, 0, 1).transpose(1, 2)),
                ["norms and products"] = m => m.matmul(m.transpose(-1, -2)).sin() + linalg.norm(m),
            })
                cases[$"{name} of {layout}"] = m => operation(Square(of(m))).sum();
        return cases;
    }

    static Tensor Square(Tensor matrix) => matrix.shape[^1] == matrix.shape[^2] ? matrix : matrix.narrow(-1, 0, 12).narrow(-2, 0, 12);

    public static IEnumerable<ITheoryDataRow> Complex =>
        from store in stores.Keys
        from name in complexCases.Keys
        select new TheoryDataRow<string, string>(store, name);

    public static IEnumerable<ITheoryDataRow> OfMatrices =>
        from store in (string[])["offload", "half", "dct:10"]
        select new TheoryDataRow<string>(store);

    [Theory, MemberData(nameof(Complex))]
    public void Conjugate_and_negated_views_are_not_taken_for_their_tensors(string store, string name)
    {
        var (make, tolerance) = stores[store];
        using var everything = NewDisposeScope();
        random.manual_seed(9);
        var x = randn(32, 32);
        Check(complexCases[name], x, make, tolerance, name);
    }

    [Theory, MemberData(nameof(OfMatrices))]
    public void Formulas_that_read_the_layout_see_the_saved_one(string store)
    {
        using var everything = NewDisposeScope();
        random.manual_seed(9);
        var x = randn(24, 24) * 0.3;
        // In each window of the matrix the diagonal dominates.
        foreach (var offset in (int[])[-1, 0, 1]) x += diag(ones(24 - Math.Abs(offset)), offset) * 1.5;
        var wrong = new List<string>();
        foreach (var (name, loss) in matrixCases)
            try { Check(loss, x, stores[store].Make, name.StartsWith("norms", StringComparison.Ordinal) ? 0.5 : 1e-4, name); }
            catch (Xunit.Sdk.TrueException failure) { wrong.Add(failure.Message); }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
    }

    static void Check(Func<Tensor, Tensor> loss, Tensor x, Func<ActivationStore> make, double tolerance, string name)
    {
        var store = make();
        var (plain, held) = (Gradient(null), Gradient(store));
        var norm = Math.Sqrt(plain.Sum(value => (double)value * value));
        var difference = Math.Sqrt(plain.Zip(held).Sum(pair => Math.Pow(pair.First - (double)pair.Second, 2)));
        Assert.True(norm > 0 && difference <= tolerance * norm, $"{name}: relative difference {difference / norm:0.#####}");
        Assert.Empty(store.Failures);
        Assert.Equal(0, store.LiveBytes);

        float[] Gradient(ActivationStore? store)
        {
            using var everything = NewDisposeScope();
            var leaf = x.clone().requires_grad_();
            Tensor value;
            // The tensors that the function makes are disposed before the backward pass begins.
            using (store is null ? null : SavedTensorsScope.Enter(store))
            using (var inner = NewDisposeScope())
                value = loss(leaf.mul(1)).MoveToOuterDisposeScope();
            value.backward();
            return leaf.grad!.data<float>().ToArray();
        }
    }

    [Fact]
    public void A_layout_with_gaps_comes_back_with_gaps_and_little_more_memory()
    {
        using var everything = NewDisposeScope();
        var whole = randn(64, 1000);
        foreach (var view in (Tensor[])[
            whole.narrow(1, 5, 7), whole.narrow(1, 5, 7).t(), whole.slice(1, 0, 1000, 250), whole[0].as_strided([10, 4], [2, 1], 0),
            whole.narrow(1, 5, 7).narrow(0, 0, 1), whole.narrow(1, 5, 7).unsqueeze(1).expand(64, 3, 7),
        ])
        {
            var (layout, ofMap) = (Geometry.Of(view), Geometry.OfMap(view));
            using var map = view.as_strided(ofMap.Sizes, ofMap.Strides, ofMap.Offset).contiguous();
            var values = map.clone();
            using var shown = ofMap.Show(values, layout, withGaps: true);
            Assert.True(shown.shape.SequenceEqual(view.shape) && shown.eq(view).all().item<bool>());
            Assert.Equal(view.is_contiguous(), shown.is_contiguous());
            Assert.Equal(Order(view), Order(shown));
            Assert.InRange(StorageReference.BytesOf(shown), 0, 4 * (3 * map.numel() + 3));
        }
    }

    [Fact]
    public void Rows_are_unfolded_to_the_map_of_which_they_are_tokens_and_to_no_other()
    {
        using var everything = NewDisposeScope();
        var map = randn(2, 3, 4, 5);
        long[] Of(params long[] shape) => Geometry.OfMap(map.view(shape)).Sizes;
        Assert.Equal([2, 3, 4, 5], Of(24, 5));    // several tokens of an example
        Assert.Equal([6, 20], Of(6, 20));         // rows of another length
        Assert.Equal([2, 60], Of(2, 60));         // flattened examples
        Assert.Equal([2, 12, 5], Of(2, 12, 5));
    }

    // Returns the axes of more than one element, from the innermost by stride.
    static string Order(Tensor tensor) => string.Join(
        ',', Enumerable.Range(0, tensor.shape.Length).Where(axis => tensor.shape[axis] > 1).OrderBy(axis => tensor.stride()[axis]));
}
