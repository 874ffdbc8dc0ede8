using System.Reflection;
using Xunit.v3;

namespace Actipress.Tests;

/// <summary>
/// On classes whose tests read the allocator's level: what earlier tests left to finalizers is freed before each test, not within it.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class MeasuresMemoryAttribute : BeforeAfterTestAttribute
{
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => AllocatorMeter.Settle();
}
