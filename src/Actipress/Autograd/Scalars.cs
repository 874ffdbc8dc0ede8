using System.Collections.Concurrent;

namespace Actipress.Autograd;

/// <summary>
/// Numbers for torch's operations that nothing frees. TorchSharp 0.107.0 hands an operation a scalar's pointer and forgets the scalar: one
/// that was made for the call alone may be finalized while the operation runs, which then computes with another number or fails.
/// </summary>
/// <remarks>For the few numbers that the code itself names; others are <c>using Scalar</c>, which lives until its scope ends.</remarks>
static class Scalars
{
    static readonly ConcurrentDictionary<long, Scalar> integers = [];
    static readonly ConcurrentDictionary<double, Scalar> reals = [];

    public static Scalar Of(long value) => integers.GetOrAdd(value, value => value);

    public static Scalar Of(double value) => reals.GetOrAdd(value, value => value);
}
