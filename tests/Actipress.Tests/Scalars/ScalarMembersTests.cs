using System.Reflection;
using Actipress.Autograd;

namespace Actipress.Tests.Scalars;

public sealed class ScalarMembersTests
{
    const string Head =
        "// TorchSharp's members that take a scalar, or make one or the default generator inside: written by ./dev scalars.";
    const string Why =
        "The finalizer may free the scalar, or generator, while the native function reads it: use HeldScalars, or RandomState";

    static readonly Lazy<string[]> members = new(ScalarMembers.Find);

    // In training these layers count their batches by add_(1), whose scalar cannot be held from outside. Nothing reads the count, because
    // the layers have a momentum.
    static bool IsLeftOpen(string member) => member.StartsWith("M:TorchSharp.torch.nn.BatchNorm", StringComparison.Ordinal);

    [Fact]
    public void The_build_refuses_every_member_of_TorchSharp_that_takes_or_makes_a_scalar_or_makes_a_generator()
    {
        Assert.Equal(3, members.Value.Count(IsLeftOpen));    // the batch norms of one, two and three axes
        var wanted = members.Value.Where(member => !IsLeftOpen(member)).Select(member => $"{member};{Why}").Prepend(Head).ToArray();
        var file = Path.Combine(TestData.Repository, "src", "BannedSymbols.txt");
        if (Environment.GetEnvironmentVariable("ACTIPRESS_LIST_SCALARS") is not null) File.WriteAllLines(file, wanted);
        var found = File.ReadAllLines(file);
        string[] missing = [.. wanted.Except(found)], gone = [.. found.Except(wanted)];
        Assert.True(missing is [] && gone is [], $"{file} is of another TorchSharp; ./dev scalars writes it anew. " +
            $"Missing: {string.Join("; ", missing)}. No longer there: {string.Join("; ", gone)}.");
    }

    // This test reads the compiled instructions, so it also finds uses that the analyzer does not see, such as x += y.
    [Fact]
    public void No_method_of_ours_uses_such_a_member_where_no_scalar_is_held()
    {
        var refused = members.Value.Where(member => !IsLeftOpen(member)).ToHashSet();
        string[] ours = ["", ".Models", ".Data", ".Experiments", ".Cli", ".Benchmarks"];
        var uses = (from name in ours
                    from use in ScalarMembers.Uses(Assembly.Load($"Actipress{name}"))
                    from used in use.Value
                    select (By: use.Key, Of: ScalarMembers.Identifier(used))).ToArray();
        Assert.Contains(uses, use => use.By.DeclaringType == typeof(HeldScalars) && refused.Contains(use.Of));
        Type[] holders = [typeof(HeldScalars), typeof(RandomState), typeof(Actipress.Experiments.Adam), typeof(GuardedGrad)];
        var open = uses.Where(use => refused.Contains(use.Of) && !holders.Contains(use.By.DeclaringType));
        Assert.Empty(open.Select(use => $"{use.By.DeclaringType}.{use.By.Name}: {use.Of}"));
    }

    [Theory]
    [InlineData("M:TorchSharp.torch.Tensor.add(TorchSharp.torch.Tensor)")]    // the member makes an alpha
    // the member calls such a member
    [InlineData("M:TorchSharp.torch.Tensor.op_Addition(TorchSharp.torch.Tensor,TorchSharp.torch.Tensor)")]
    [InlineData("M:TorchSharp.torch.Tensor.op_Explicit(TorchSharp.torch.Tensor)~System.Single")]
    [InlineData("M:TorchSharp.Scalar.op_Implicit(System.ValueTuple{System.Single,System.Single})~TorchSharp.Scalar")]
    [InlineData("M:TorchSharp.torch.Tensor.full(System.ReadOnlySpan{System.Int64},TorchSharp.Scalar)")]
    [InlineData("M:TorchSharp.torch.nn.ELU(System.Double,System.Boolean)")]    // the member creates an object with such a member
    [InlineData("M:TorchSharp.torch.random.set_rng_state(TorchSharp.torch.Tensor)")]    // the member makes a generator
    [InlineData("M:TorchSharp.torch.jit.ScriptModule.invoke``2(System.String,``0[])")]
    public void Members_of_every_kind_are_found(string member) => Assert.Contains(member, members.Value);

    [Theory]
    [InlineData("M:TorchSharp.torch.Tensor.sub(TorchSharp.torch.Tensor)")]
    [InlineData("M:TorchSharp.torch.Tensor.mul(TorchSharp.torch.Tensor)")]
    [InlineData("M:TorchSharp.torch.nn.ReLU(System.Boolean)")]
    public void A_member_without_a_scalar_is_not_found(string member) => Assert.DoesNotContain(member, members.Value);
}
