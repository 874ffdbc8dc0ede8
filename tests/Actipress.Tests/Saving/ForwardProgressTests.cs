using Actipress.Saving;
using static TorchSharp.torch;

namespace Actipress.Tests.Saving;

/// <summary>Tells whether a tensor that is saved under <c>forward</c> belongs to the model's end or to a loss.</summary>
public class ForwardProgressTests
{
    static readonly Layer a = Named("a"), b = Named("b"), c = Named("c"), frozen = Named("frozen");

    static Layer Named(string name) => new(name, nn.Identity());

    readonly ForwardProgress progress = new();

    void Pass(int number, params Layer[] layers)
    {
        progress.Begin(number);
        foreach (var layer in layers) progress.Uses(layer, learns: layer != frozen, layersInAll: 3);
    }

    bool IsOver(Layer? registeredLast = null) => progress.IsPastTheLastLayer(3, registeredLast);

    [Fact]
    public void In_the_first_pass_each_layer_runs_once_or_the_one_that_was_registered_last()
    {
        Pass(1, a, b);
        Assert.False(IsOver());
        Assert.False(IsOver(registeredLast: c));
        Assert.True(IsOver(registeredLast: b));
        Pass(1, frozen);
        Assert.False(IsOver(registeredLast: b));    // another layer has run since
        Pass(1, c);
        Assert.True(IsOver());
        Assert.Same(c, progress.Last);
    }

    [Fact]
    public void A_model_without_layers_that_learn_is_never_past_the_last_of_them()
    {
        progress.Begin(1);
        Assert.False(progress.IsPastTheLastLayer(0, null));
    }

    [Fact]
    public void In_a_first_pass_that_goes_around_again_the_second_time_counts()
    {
        Pass(1, a, b, c);
        Assert.True(IsOver());
        Pass(1, c);    // the weight and the bias of the last layer are two uses
        Assert.True(IsOver());
        Pass(1, a);
        Assert.False(IsOver());
        Pass(1, b, c);
        Assert.True(IsOver());
    }

    [Fact]
    public void From_the_second_pass_on_as_many_uses_as_in_the_last_one_count()
    {
        Pass(1, a, b, c, frozen, b);
        Pass(2, a, b, c, frozen);
        Assert.False(IsOver(registeredLast: frozen));
        Pass(2, b);
        Assert.True(IsOver());
        Pass(3, a, b);
        Assert.False(IsOver());
    }

    [Fact]
    public void A_pass_in_which_nothing_ran_is_forgotten()
    {
        Pass(1, a, b, c);
        Pass(2);
        Assert.False(IsOver());
        Pass(3, a, b);
        Assert.False(IsOver());
        Pass(3, c);
        Assert.True(IsOver());
    }

    [Fact]
    public void A_model_runs_from_its_first_parameter_to_that_of_another_model()
    {
        progress.Begin(1);
        Assert.False(progress.ModelRuns);
        Pass(1, a);
        Assert.True(progress.ModelRuns);
        progress.LeavesModel();
        Assert.False(progress.ModelRuns);
        Assert.Same(a, progress.Last);
        Pass(1, b);
        Assert.True(progress.ModelRuns);
        progress.Begin(2);
        Assert.False(progress.ModelRuns);
        Assert.Null(progress.Last);
    }
}
