using System.Reflection;
using Xunit.v3;

namespace Actipress.Tests;

/// <summary>Each test draws the same numbers from torch, whatever ran before it.</summary>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class SameSeedAttribute : BeforeAfterTestAttribute
{
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => torch.manual_seed(20240301);
}
