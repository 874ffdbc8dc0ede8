using System.Reflection;
using Xunit.v3;

namespace Actipress.Tests;

/// <summary>
/// Marks classes whose tests read the allocator's level. Tensors that earlier tests left to finalizers are freed before each test, and not
/// within it.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class MeasuresMemoryAttribute : BeforeAfterTestAttribute
{
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => AllocatorMeter.Settle();
}
