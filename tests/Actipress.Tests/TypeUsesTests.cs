using Actipress.Tests.Uses;

namespace Actipress.Tests;

public sealed class TypeUsesTests
{
    static readonly Lazy<IReadOnlySet<TypeUse>> uses = new(() => TypeUses.Of(typeof(TypeUsesTests).Assembly.Location).Uses);

    static IEnumerable<string> Users(string of) => (
        from use in uses.Value
        where use.To == $"{typeof(Used).Namespace}.{of}"
        select use.From.Split('.')[^1]).Distinct();

    [Fact]
    public void A_use_is_seen_wherever_the_compiler_leaves_a_trace_of_it() => Assert.Equal(
        [
            nameof(ArgumentOfGeneric), nameof(Base), nameof(BodyOfLambda), nameof(CallOfGeneric), nameof(CaseOfSwitch),
            nameof(ConstraintOfGeneric), nameof(Field), nameof(Inner), nameof(Local), nameof(Parameter), nameof(Pointer), nameof(Result),
            nameof(StaticCall), nameof(TypeTest),
        ], Users(nameof(Used)).Except([nameof(TypeUsesTests), nameof(NoUse)]).Order(StringComparer.Ordinal));

    [Fact]
    public void Attributes_interfaces_and_caught_exceptions_are_seen()
    {
        Assert.Equal([nameof(WithAttribute)], Users(nameof(UsedAttribute)));
        Assert.Equal([nameof(WithInterface)], Users(nameof(IUsed)));
        Assert.Equal([nameof(Catching)], Users(nameof(UsedException)));
    }

    [Fact]
    public void A_type_that_uses_nothing_has_no_uses_and_none_uses_itself()
    {
        Assert.DoesNotContain(uses.Value, use => use.From.EndsWith(nameof(NoUse), StringComparison.Ordinal));
        Assert.DoesNotContain(uses.Value, use => use.From == use.To);
    }

    [Fact]
    public void The_member_that_uses_is_told() =>
        Assert.Equal(["member Call"],
            from use in uses.Value where use.From.EndsWith(nameof(StaticCall), StringComparison.Ordinal) select use.Where);
}
