using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>The state on which a block's run depends beside its inputs and parameters: the random states and autocast.</summary>
sealed class Surroundings : IDisposable
{
    readonly (Device Device, Tensor State)[] randomAtFirst;
    readonly Autocast autocast = Autocast.Here();
    (Device Device, Tensor State)[] random;

    Surroundings(IEnumerable<Device> devices)
    {
        randomAtFirst = [.. devices.Append(CPU).DistinctBy(device => (device.type, device.index)).Where(RandomState.IsKnown)
            .Select(device => (device, RandomState.Get(device)))];
        random = randomAtFirst;
    }

    /// <summary>The current state of this thread, with the random states of <paramref name="devices"/> and the CPU.</summary>
    public static Surroundings Here(IEnumerable<Device> devices) => new(devices);

    /// <summary>Drops the states of generators that were not used since.</summary>
    public void ForgetUnused()
    {
        random = [.. randomAtFirst.Where(kept =>
        {
            using var now = RandomState.Get(kept.Device);
            if (!now.Equals(kept.State)) return true;
            kept.State.Dispose();
            return false;
        })];
    }

    /// <summary>Restores the state until the result is disposed.</summary>
    public IDisposable Again() => new Back(this);

    public void Dispose()
    {
        foreach (var (_, state) in random) state.Dispose();
    }

    sealed class Back : IDisposable
    {
        readonly (Device Device, Tensor State)[] now;
        readonly IDisposable autocast;

        public Back(Surroundings then)
        {
            now = Array.ConvertAll(then.random, kept => (kept.Device, RandomState.Get(kept.Device)));
            foreach (var (device, state) in then.random) RandomState.Set(device, state);
            autocast = then.autocast.Again();
        }

        public void Dispose()
        {
            autocast.Dispose();
            foreach (var (device, state) in now)
            {
                RandomState.Set(device, state);
                state.Dispose();
            }
        }
    }
}
