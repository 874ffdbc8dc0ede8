using TorchSharp.Modules;

namespace Actipress.Autograd;

/// <summary>
/// Steps an optimizer within the backward pass: for each parameter as soon as its gradient is whole. The gradient is freed after the step,
/// so that few gradients exist at the same time.
/// </summary>
sealed class StepInBackward : IDisposable
{
    readonly Lock gate = new();
    readonly torch.optim.Optimizer optimizer;
    readonly List<Parameter> hooked = [];

    /// <param name="optimizer">The optimizer; not disposed. Gradients that its parameters have are freed.</param>
    /// <exception cref="ArgumentException">
    /// The optimizer cannot step one parameter without the others, or has a parameter more than once.
    /// </exception>
    /// <exception cref="InvalidOperationException">A parameter has another hook already.</exception>
    /// <exception cref="PlatformNotSupportedException">libtorch does not tell here when a gradient is whole.</exception>
    public StepInBackward(torch.optim.Optimizer optimizer)
    {
        this.optimizer = optimizer;
        if (optimizer is LBFGS || Groups is [])
            throw new ArgumentException(
                $"{optimizer.GetType().Name} cannot step within the backward pass: found a step that needs the gradients of all parameters "
                + "at the same time, wanted an optimizer that steps each parameter by itself, such as SGD or Adam.", nameof(optimizer));
        if (Groups.SelectMany(group => group.Parameters).CountBy(parameter => parameter.Handle).Any(times => times.Value > 1))
            throw new ArgumentException(
                "A parameter is in the optimizer more than once: found it twice or more, wanted it once, because its gradient is freed "
                + "after one step.", nameof(optimizer));
        try
        {
            foreach (var group in Groups)
                foreach (var parameter in group.Parameters)
                {
                    GradientHook.Set(parameter, () => Step(parameter, group));
                    hooked.Add(parameter);
                    Free(parameter);
                }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>While it is off, gradients are left to the caller, as those of a measurement.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>Whether <see cref="Dispose"/> was called.</summary>
    public bool HasEnded { get; private set; }

    // The optimizer may get more groups later.
    ParamGroup[] Groups => [.. optimizer.ParamGroups.OfType<ParamGroup>()];

    // libtorch calls this within a backward pass, on the thread that runs this part of it. It must not throw.
    void Step(Parameter parameter, ParamGroup group)
    {
        if (!Enabled) return;
        lock (gate)
        {
            var groups = Groups;
            var all = Array.ConvertAll(groups, each => each.Parameters);
            try
            {
                using var paused = SavedTensorsScope.Pause();
                using var untracked = torch.no_grad();
                foreach (var each in groups) each.Parameters = each == group ? [parameter] : [];
                optimizer.step()?.Dispose();
                Free(parameter);
            }
            catch (Exception failure) { UnpackFailures.FailBackward(failure); }
            finally
            {
                for (var i = 0; i < groups.Length; i++) groups[i].Parameters = all[i];
            }
        }
    }

    static void Free(Parameter parameter)
    {
        using (parameter.grad) parameter.grad = null;
    }

    /// <summary>Leaves gradients and steps to the caller again.</summary>
    public void Dispose()
    {
        foreach (var parameter in hooked)
            if (!parameter.IsInvalid) GradientHook.Set(parameter, null);
        hooked.Clear();
        HasEnded = true;
    }
}
