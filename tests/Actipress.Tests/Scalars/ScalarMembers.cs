using System.Reflection;
using System.Reflection.Emit;

namespace Actipress.Tests.Scalars;

/// <summary>
/// The members of TorchSharp that take or make a scalar, or make the default generator. A native function may read it after the finalizer
/// has freed it.
/// </summary>
/// <remarks>
/// The members are found in TorchSharp's own instructions. A member is affected if its signature names a scalar, if it calls an affected
/// member, or if it creates an object with an affected virtual member, whichever code calls that member later. Other members of such an
/// object need no line, since creating the object has one. Identifiers are those of the compiler's documentation files, which the analyzer
/// reads.
/// </remarks>
static class ScalarMembers
{
    const BindingFlags All =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly;
    static readonly Dictionary<ushort, OpCode> codes =
        typeof(OpCodes).GetFields().Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => (ushort)code.Value);

    /// <summary>The identifiers in alphabetical order.</summary>
    public static string[] Find()
    {
        var uses = Uses(typeof(torch).Assembly);
        var found = uses.Keys.Where(Names).ToHashSet();
        HashSet<Type?> types;
        int before;
        do
        {
            before = found.Count;
            types = found.Where(method => method.IsVirtual).Select(method => method.DeclaringType).ToHashSet();
            found.UnionWith(from use in uses
                            where use.Value.Any(used => found.Contains(used) || used.IsConstructor && types.Contains(used.DeclaringType))
                            select use.Key);
        }
        while (found.Count > before);
        return [.. found.Where(IsVisible).Where(method => method.IsStatic || method.IsConstructor || !types.Contains(method.DeclaringType))
            .Select(Identifier).Append("T:TorchSharp.Scalar").Distinct().Order(StringComparer.Ordinal)];
    }

    /// <summary>The methods of an assembly, and for each the methods that it calls, creates objects with, or makes delegates of.</summary>
    public static Dictionary<MethodBase, HashSet<MethodBase>> Uses(Assembly assembly) =>
        assembly.GetTypes().SelectMany(type => type.GetMethods(All).Concat<MethodBase>(type.GetConstructors(All)))
            .ToDictionary(method => method, UsedBy);

    static bool Names(MethodBase method) =>
        method.DeclaringType == typeof(torch.Generator) && method.Name == "get_Default" ||
        method.GetParameters().Any(parameter => Names(parameter.ParameterType)) ||
        method is MethodInfo { ReturnType: var type } && Names(type);

    static bool Names(Type type) =>
        type == typeof(Scalar) || type.HasElementType && Names(type.GetElementType()!) ||
        type.IsGenericType && type.GetGenericArguments().Any(Names);

    static HashSet<MethodBase> UsedBy(MethodBase method)
    {
        var used = new HashSet<MethodBase>();
        if (method.GetMethodBody()?.GetILAsByteArray() is not { } body) return used;
        var ofType = method.DeclaringType!.IsGenericType ? method.DeclaringType.GetGenericArguments() : null;
        var ofMethod = method.IsGenericMethod ? method.GetGenericArguments() : null;
        for (var at = 0; at < body.Length;)
        {
            ushort value = body[at++];
            if (value == 0xFE) value = (ushort)(value << 8 | body[at++]);
            var code = codes[value];
            if (code.OperandType == OperandType.InlineMethod)
                used.Add(Definition(method.Module.ResolveMethod(BitConverter.ToInt32(body, at), ofType, ofMethod)!));
            at += code.OperandType switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 + 4 * BitConverter.ToInt32(body, at),
                _ => 4,
            };
        }
        return used;
    }

    static MethodBase Definition(MethodBase method)
    {
        if (method.DeclaringType is { IsConstructedGenericType: true } type)
            method = MethodBase.GetMethodFromHandle(method.MethodHandle, type.GetGenericTypeDefinition().TypeHandle)!;
        return method is MethodInfo { IsGenericMethod: true } generic ? generic.GetGenericMethodDefinition() : method;
    }

    static bool IsVisible(MethodBase method) =>
        method.DeclaringType!.IsVisible && (method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly) &&
        !(method.IsStatic && method.IsConstructor);

    /// <summary>The identifier of the method, or of its property, in the compiler's documentation files.</summary>
    public static string Identifier(MethodBase method)
    {
        var type = Identifier(method.DeclaringType!);
        var properties = method.IsSpecialName ? method.DeclaringType!.GetProperties(All) : [];
        if (properties.FirstOrDefault(property => property.GetAccessors(true).Contains(method)) is { } property)
            return $"P:{type}.{property.Name}{Identifiers(property.GetIndexParameters())}";
        var name = method.IsConstructor ? "#ctor" : method.Name;
        if (method.IsGenericMethod) name += $"``{method.GetGenericArguments().Length}";
        var result = method is MethodInfo { Name: "op_Implicit" or "op_Explicit", ReturnType: var to } ? "~" + Identifier(to) : "";
        return $"M:{type}.{name}{Identifiers(method.GetParameters())}{result}";
    }

    static string Identifiers(ParameterInfo[] parameters) =>
        parameters is [] ? "" : $"({string.Join(",", parameters.Select(parameter => Identifier(parameter.ParameterType)))})";

    static string Identifier(Type type)
    {
        if (type.IsByRef) return Identifier(type.GetElementType()!) + "@";
        if (type.IsPointer) return Identifier(type.GetElementType()!) + "*";
        if (type.IsSZArray) return Identifier(type.GetElementType()!) + "[]";
        if (type.IsArray) return Identifier(type.GetElementType()!) + $"[{string.Join(",", Enumerable.Repeat("0:", type.GetArrayRank()))}]";
        if (type.IsGenericMethodParameter) return $"``{type.GenericParameterPosition}";
        if (type.IsGenericParameter) return $"`{type.GenericParameterPosition}";
        if (!type.IsConstructedGenericType) return (type.FullName ?? type.ToString()).Replace('+', '.');
        var definition = type.GetGenericTypeDefinition().FullName!.Replace('+', '.');
        var arguments = string.Join(",", type.GetGenericArguments().Select(Identifier));
        return $"{definition[..definition.IndexOf('`', StringComparison.Ordinal)]}{{{arguments}}}";
    }
}
