using System.Reflection;
using Xunit.v3;

namespace Actipress.Tests;

/// <summary>Gives each test the same random numbers of torch, whichever tests ran before.</summary>
[AttributeUsage(AttributeTargets.Assembly)]
public sealed class SameSeedAttribute : BeforeAfterTestAttribute
{
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => torch.manual_seed(20240301);
}
