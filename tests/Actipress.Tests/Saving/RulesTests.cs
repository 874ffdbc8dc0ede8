using System.Reflection;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Actipress.Tests.Saving;

/// <summary>
/// Options are chained, rules stand in the order in which they are written, and each rule that decided nothing is reported.
/// </summary>
public sealed class RulesTests : IDisposable
{
    static readonly ActivationCodec Four = ActivationCodec.Dct(4), Eight = ActivationCodec.Quantized(8);

    readonly DisposeScope scope = NewDisposeScope();

    public void Dispose() => scope.Dispose();

    // Returns how the inputs of two convolutions are kept, and the notes about rules in the report and from the event.
    static (string Second, string Third, string[] Told) Kept(Action<CompressionOptions> rules)
    {
        var model = Sequential(("conv1", Conv2d(1, 4, 3)), ("conv2", Conv2d(4, 4, 3)), ("conv3", Conv2d(4, 1, 3)));
        var told = new List<string>();
        using var compression = model.CompressActivations(options => rules(options.AdaptToLayers(false)));
        compression.Noted += told.Add;
        var x = randn(2, 1, 40, 40);
        for (var step = 0; step < 2; step++)
            using (var loss = model.call(x).sum()) compression.Backward(loss);
        var report = compression.Report();
        string[] ofRules = [.. report.Notes.Where(note => note.StartsWith("Rule ", StringComparison.Ordinal))];
        Assert.Equal(ofRules, told.Where(note => note.StartsWith("Rule ", StringComparison.Ordinal)));
        return (Of("conv2"), Of("conv3"), ofRules);

        string Of(string layer) => Assert.Single(report.Layers, line => line.Name == layer).KeptAs;
    }

    [Fact]
    public void Of_several_rules_for_a_layer_the_last_one_decides_and_a_rule_that_is_left_some_layers_is_not_told()
    {
        var (second, third, told) = Kept(options => options.Where("conv*", Four).Where("conv3", Eight));
        Assert.Equal(("dct:4", "quant:8"), (second, third));
        Assert.Empty(told);
    }

    [Fact]
    public void A_rule_that_later_ones_overrule_on_every_layer_is_told_with_the_one_that_decides()
    {
        var (second, third, told) = Kept(options => options
            .Where("conv3", Eight).Where(layer => layer.Name != "conv2", Eight).Where("conv*", Four));
        Assert.Equal(("dct:4", "dct:4"), (second, third));
        Assert.Equal(2, told.Length);
        Assert.StartsWith("Rule 1 ('quant:8' for 'conv3') was overruled in the first step on every layer that it met: " +
            "the first of them goes by rule 3 ('dct:4' for 'conv*'),", told[0], StringComparison.Ordinal);
        Assert.StartsWith("Rule 2 ('quant:8' for layers that meet a condition) was overruled", told[1], StringComparison.Ordinal);
    }

    [Fact]
    public void A_rule_that_different_rules_overrule_is_told_with_that_of_its_first_layer()
    {
        var (second, third, told) = Kept(options => options
            .Where(layer => layer.Name is "conv2" or "conv3", Eight).Where("conv2", Four).Where("conv3", Four));
        Assert.Equal(("dct:4", "dct:4"), (second, third));
        Assert.Contains("the first of them goes by rule 2 ('dct:4' for 'conv2'),", Assert.Single(told), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_two_rules_with_one_pattern_the_later_one_decides_and_the_earlier_one_is_told()
    {
        var (second, third, told) = Kept(options => options.Where("conv2", Four).Except("conv2").Where("conv2", Eight));
        Assert.Equal(("quant:8", "dct:10"), (second, third));
        Assert.Equal(["Rule 1 ('dct:4' for 'conv2')", "Rule 2 ('none' for 'conv2')"], told.Select(note => note.Split(" was")[0]));
    }

    [Fact]
    public void A_rule_that_meets_no_layer_is_told_as_that()
    {
        var (second, third, told) = Kept(options => options.Where(layer => layer.Name.Length > 100, Four).Where("conv2", Eight));
        Assert.Equal(("quant:8", "dct:10"), (second, third));
        Assert.Contains("Rule 1 ('dct:4' for layers that meet a condition) met nothing", Assert.Single(told), StringComparison.Ordinal);
    }

    [Fact]
    public void Every_option_is_a_method_that_gives_the_options_back()
    {
        const BindingFlags Own = BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly;
        Assert.Empty(typeof(CompressionOptions).GetProperties(Own));
        var methods = typeof(CompressionOptions).GetMethods(Own);
        Assert.True(methods.Length > 10);
        Assert.All(methods, method =>
        {
            var options = new CompressionOptions();
            Assert.Same(options, method.Invoke(options, [.. method.GetParameters().Select(Argument)]));
        });

        static object? Argument(ParameterInfo parameter) =>
            parameter is { DefaultValue: { } value, ParameterType: { IsEnum: true } kind } && parameter.HasDefaultValue
                ? Enum.ToObject(kind, value) :
                    parameter.HasDefaultValue ? parameter.DefaultValue :
                    parameter.ParameterType == typeof(ActivationCodec) ? Four :
                    parameter.Member.Name == nameof(CompressionOptions.Operation) && parameter.ParameterType == typeof(string)
                    ? "aten::celu" :
                    parameter.ParameterType == typeof(string) ? "conv1" :
                    parameter.ParameterType == typeof(string[]) ? Array.Empty<string>() :
                    parameter.ParameterType == typeof(Func<Layer, bool>) ? (Func<Layer, bool>)(_ => true) :
                    parameter.ParameterType == typeof(SavedNeed) ? SavedNeed.Smooth :
                    parameter.ParameterType == typeof(double) ? 0.9 : Convert.ChangeType(1, parameter.ParameterType, null);
    }

    [Fact]
    public void A_switch_is_on_where_it_is_called_and_off_where_it_is_told_so()
    {
        var before = new CompressionOptions();
        Assert.Equal((true, true, true, false, false, 4096), State(before));
        var options = new CompressionOptions()
            .AdaptToLayers(false).DeriveMaps(false).ReadInPieces(false).OffloadToHost().DisposeIntermediates().SmallestBytes(0);
        Assert.Equal((false, false, false, true, true, 0), State(options));
        options.AdaptToLayers().DeriveMaps().ReadInPieces().OffloadToHost(false).DisposeIntermediates(false).SmallestBytes(4096);
        Assert.Equal((true, true, true, false, false, 4096), State(options));

        static (bool, bool, bool, bool, bool, int) State(CompressionOptions options) =>
            (options.AdaptsToLayers, options.DerivesMaps, options.ReadsInPieces, options.OffloadsToHost, options.DisposesIntermediates,
                options.LeastBytes);
    }
}
