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
