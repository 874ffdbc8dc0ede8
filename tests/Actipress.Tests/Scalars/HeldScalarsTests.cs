using static TorchSharp.torch;

namespace Actipress.Tests.Scalars;

public sealed class HeldScalarsTests
{
    static readonly double[] reals = [-2.5, -1, -0.0, 0, 0.5, 1, 3, 254.75];
    static readonly long[] wholes = [-7, -1, 0, 1, 2, 5, 255, 256];

    static readonly Dictionary<string, (Func<Tensor, Tensor> Held, Func<Tensor, Tensor> Torch)> onReals = new()
    {
        ["add a tensor"] = (x => x.Add(x), x => x.add(x)),
        ["add a number"] = (x => x.Add(0.3), x => x.add(0.3)),
        ["add in place a tensor"] = (x => x.Add_(x), x => x.add_(x)),
        ["add in place a multiple"] = (x => x.Add_(x, 0.3), x => x.add_(x, alpha: 0.3)),
        ["add in place a number"] = (x => x.Add_(-3), x => x.add_(-3)),
        ["mul"] = (x => x.Mul(0.3), x => x.mul(0.3)),
        ["mul in place"] = (x => x.Mul_(0.3), x => x.mul_(0.3)),
        ["mul in place by a whole number"] = (x => x.Mul_(3), x => x.mul_(3)),
        ["div"] = (x => x.Div(0.3), x => x.div(0.3)),
        ["div, floor"] = (x => x.Div(2, RoundingMode.floor), x => x.div(2, RoundingMode.floor)),
        ["div in place"] = (x => x.Div_(0.3), x => x.div_(0.3)),
        ["remainder"] = (x => x.Remainder(2), x => x.remainder(2)),
        ["remainder in place"] = (x => x.Remainder_(2), x => x.remainder_(2)),
        ["addcmul in place"] = (x => x.Addcmul_(x, x.abs(), 0.3), x => x.addcmul_(x, x.abs(), 0.3)),
        ["addcdiv in place"] = (x => x.Addcdiv_(x.abs(), x.exp(), 0.3), x => x.addcdiv_(x.abs(), x.exp(), 0.3)),
        ["clamp"] = (x => x.Clamp(-1, 0.5), x => x.clamp(-1, 0.5)),
        ["clamp in place"] = (x => x.Clamp_(-1, 0.5), x => x.clamp_(-1, 0.5)),
        ["clamp_min in place"] = (x => x.ClampMin_(0.5), x => x.clamp_min_(0.5)),
        ["hardtanh"] = (x => x.Hardtanh(-1, 0.5), x => x.hardtanh(-1, 0.5)),
        ["eq"] = (x => x.Eq(0), x => x.eq(0)),
        ["ne"] = (x => x.Ne(0), x => x.ne(0)),
        ["lt"] = (x => x.Lt(1), x => x.lt(1)),
        ["le"] = (x => x.Le(0.5), x => x.le(0.5)),
        ["ge"] = (x => x.Ge(0.5), x => x.ge(0.5)),
        ["gt"] = (x => x.Gt(0.5), x => x.gt(0.5)),
        ["masked_fill"] = (x => x.MaskedFill(x.isfinite(), 0.3), x => x.masked_fill(x.isfinite(), 0.3)),
        ["masked_fill in place"] = (x => x.MaskedFill_(x.isfinite(), 0.3), x => x.masked_fill_(x.isfinite(), 0.3)),
        ["index_add in place"] = (x => x.IndexAdd_(0, Places(1, 1), x.exp()[..2]), x => x.index_add_(0, Places(1, 1), x.exp()[..2], 1)),
    };

    static readonly Dictionary<string, (Func<Tensor, Tensor> Held, Func<Tensor, Tensor> Torch)> onWholes = new()
    {
        ["add a tensor"] = (x => x.Add(x), x => x.add(x)),
        ["add in place a tensor"] = (x => x.Add_(x), x => x.add_(x)),
        ["mul"] = (x => x.Mul(0.3), x => x.mul(0.3)),
        ["mul in place"] = (x => x.Mul_(0x846ca68b), x => x.mul_(0x846ca68b)),
        ["div, floor"] = (x => x.Div(2, RoundingMode.floor), x => x.div(2, RoundingMode.floor)),
        ["remainder"] = (x => x.Remainder(5), x => x.remainder(5)),
        ["remainder in place"] = (x => x.Remainder_(5), x => x.remainder_(5)),
        ["eq"] = (x => x.Eq(0), x => x.eq(0)),
        ["ne"] = (x => x.Ne(0), x => x.ne(0)),
        ["lt"] = (x => x.Lt(1), x => x.lt(1)),
        ["index_fill in place"] = (x => x.ne(0).IndexFill_(0, Places(2), true), x => x.ne(0).index_fill_(0, Places(2), true)),
        ["arange"] = (x => HeldScalars.Arange(x.NumberOfElements, x.dtype), x => arange(x.NumberOfElements, x.dtype)),
    };

    static Tensor Places(params long[] places) => tensor(places);

    public static TheoryData<string> OnReals => [.. onReals.Keys];

    public static TheoryData<string> OnWholes => [.. onWholes.Keys];

    [Theory, MemberData(nameof(OnReals))]
    public void An_operation_with_a_held_number_is_torch_s_own_on_reals(string name)
    {
        foreach (var type in (ScalarType[])[ScalarType.Float32, ScalarType.Float64, ScalarType.BFloat16])
            Same(onReals[name], () => tensor(reals, type));
    }

    [Theory, MemberData(nameof(OnWholes))]
    public void An_operation_with_a_held_number_is_torch_s_own_on_whole_numbers(string name)
    {
        foreach (var type in (ScalarType[])[ScalarType.Int64, ScalarType.Int32])
            Same(onWholes[name], () => tensor(wholes, type));
    }

    static void Same((Func<Tensor, Tensor> Held, Func<Tensor, Tensor> Torch) operation, Func<Tensor> x)
    {
        using var scope = NewDisposeScope();
        var (found, wanted) = (operation.Held(x()), operation.Torch(x()));
        Assert.Equal(wanted.dtype, found.dtype);
        Assert.Equal(wanted.shape, found.shape);
        Assert.True(found.Equals(wanted), $"found {found.str()}, wanted {wanted.str()}");
    }
}
