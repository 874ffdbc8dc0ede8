using TorchSharp.Modules;

namespace Actipress.Experiments;

#pragma warning disable RS0030    // The step that makes scalars is replaced.
/// <summary>
/// TorchSharp's Adam with the same steps to the bit, without weight decay and AMSGrad. Its scalars live until the native functions have
/// returned.
/// </summary>
/// <remarks>
/// It has the name of TorchSharp's class, which optimizers write into their states, so that each reads the other's state.
/// </remarks>
/// <param name="parameters">The parameters to train.</param>
/// <param name="lr">The learning rate.</param>
public sealed class Adam(IEnumerable<Parameter> parameters, double lr = 1e-3) : TorchSharp.Modules.Adam(parameters, lr)
#pragma warning restore RS0030
{
    /// <inheritdoc/>
    public override Tensor step(Func<Tensor>? closure = null) => _step<ParamGroup>(Step, closure);

    /// <summary>Writes the number of steps and the moments of each parameter.</summary>
    public void SaveMoments(BinaryWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        foreach (var state in States)
        {
            writer.Write(state.step);
            state.exp_avg.Save(writer);
            state.exp_avg_sq.Save(writer);
        }
    }

    /// <summary>
    /// Reads what <see cref="SaveMoments"/> wrote, for the same parameters. Each moment is read into the present one, because TorchSharp's
    /// own reader of an optimizer would allocate any size that the bytes name.
    /// </summary>
    public void LoadMoments(BinaryReader reader)
    {
        ArgumentNullException.ThrowIfNull(reader);
        foreach (var state in States)
        {
            state.step = reader.ReadInt64();
            state.exp_avg.Load(reader);
            state.exp_avg_sq.Load(reader);
        }
    }

    IEnumerable<State> States => parameters().Select(parameter => (State)_state[parameter.Handle]);

    void Step(ParamGroup group)
    {
        var options = (Options)group.Options;
        double beta1 = options.beta1!.Value, beta2 = options.beta2!.Value;
        foreach (var parameter in group.Parameters)
        {
            if (parameter.grad is not { } gradient) continue;
            var state = (State)_state[parameter.Handle];
            state.step++;
            state.exp_avg.Mul_(beta1).Add_(gradient, 1 - beta1);
            state.exp_avg_sq.Mul_(beta2).Addcmul_(gradient, gradient, 1 - beta2);
            using var deviation = state.exp_avg_sq.sqrt().Div_(Math.Sqrt(1 - Math.Pow(beta2, state.step))).Add_(options.eps!.Value);
            parameter.Addcdiv_(state.exp_avg, deviation, -(options.LearningRate!.Value / (1 - Math.Pow(beta1, state.step))));
        }
    }
}
