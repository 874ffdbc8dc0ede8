using System.Collections;
using System.Linq.Expressions;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace Actipress.Tests;

public sealed class NullArgumentsTests
{
    const BindingFlags Own = BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    static readonly NullabilityInfoContext nullability = new();

    [Theory]
    [InlineData("Actipress")]
    [InlineData("Actipress.Distributed")]
    public void Every_public_function_refuses_null_by_the_name_of_the_parameter(string assembly)
    {
        var tried = 0;
        var wrong = new List<string>();
        foreach (var function in Assembly.Load(assembly).GetExportedTypes().SelectMany(Functions))
        {
            var parameters = function.GetParameters();
            foreach (var parameter in parameters.Where(RefusesNull))
            {
                tried++;
                if (Difference(function, parameters, parameter) is { } what)
                    wrong.Add($"{function.DeclaringType!.FullName}.{function.Name}({parameter.Name}): {what}");
            }
        }
        Assert.True(tried > 5, $"Only {tried} were tried.");
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {tried}:\n{string.Join('\n', wrong)}");
    }

    // Delegates aside, and the members that the compiler writes. Constructors are left out: most are of results, which hold what they get.
    static IEnumerable<MethodInfo> Functions(Type type) =>
        typeof(Delegate).IsAssignableFrom(type) ? [] :
        type.GetMethods(Own).Select(Closed).Where(function => !function.IsAbstract && (function.IsStatic || !type.IsAbstract)
            && !function.IsDefined(typeof(CompilerGeneratedAttribute))
            && !function.GetParameters().Any(parameter => parameter.ParameterType.IsByRefLike));    // reflection cannot pass a span

    static MethodInfo Closed(MethodInfo method) =>
        method.IsGenericMethodDefinition ? method.MakeGenericMethod(Array.ConvertAll(method.GetGenericArguments(), Argument)) : method;

    static Type Argument(Type parameter) => parameter.GetGenericParameterConstraints().FirstOrDefault(typeof(string));

    static bool RefusesNull(ParameterInfo parameter) =>
        parameter.ParameterType is { IsValueType: false, IsByRef: false, IsPointer: false }
        && nullability.Create(parameter).WriteState == NullabilityState.NotNull;

    // How the function answers a null for one parameter and something for the others; null where it refuses as it should.
    static string? Difference(MethodInfo function, ParameterInfo[] parameters, ParameterInfo wanted)
    {
        var arguments = Array.ConvertAll(parameters, parameter => parameter == wanted ? null : Something(parameter.ParameterType));
        try
        {
            function.Invoke(function.IsStatic ? null : RuntimeHelpers.GetUninitializedObject(function.DeclaringType!), arguments);
            return "nothing was thrown";
        }
        catch (TargetInvocationException thrown) when (thrown.InnerException is ArgumentNullException refused)
        {
            return refused.ParamName == wanted.Name ? null : $"it names {refused.ParamName}";
        }
        catch (TargetInvocationException thrown) { return $"{thrown.InnerException!.GetType().Name}: {thrown.InnerException.Message}"; }
    }

    static object? Something(Type type) =>
        type == typeof(string) ? "something" :
        type.IsArray ? Array.CreateInstance(type.GetElementType()!, 0) :
        typeof(IEnumerable).IsAssignableFrom(type) && type.IsInterface ? Array.CreateInstance(type.GetGenericArguments()[0], 0) :
        type == typeof(torch.nn.Module<torch.Tensor, torch.Tensor>) ? torch.nn.Identity() :
        typeof(Delegate).IsAssignableFrom(type) ? Function(type) :
        type.IsAbstract || type.IsByRef ? null :
        RuntimeHelpers.GetUninitializedObject(type);

    static Delegate Function(Type type)
    {
        var invoke = type.GetMethod("Invoke")!;
        var parameters = invoke.GetParameters().Select(parameter => Expression.Parameter(parameter.ParameterType));
        return Expression.Lambda(type, Expression.Default(invoke.ReturnType), parameters).Compile();
    }
}
