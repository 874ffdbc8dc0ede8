using System.Collections;
using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// Finds the tensors that a value holds. The value is a tensor, a tuple, an array or collection, or an object with fields of these. Tensors
/// of a module are not found, because they belong to the module.
/// </summary>
sealed class TensorsIn
{
    const BindingFlags OwnFields = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    static readonly ConcurrentDictionary<Type, FieldInfo[]> fieldsOf = [];
    static readonly Assembly torchSharp = typeof(nn.Module).Assembly;

    readonly HashSet<object> seen = new(ReferenceEqualityComparer.Instance);
    readonly List<IDisposable> found = [];

    TensorsIn()
    {
    }

    /// <summary>The tensors, and all other disposable objects of TorchSharp.</summary>
    public IReadOnlyList<IDisposable> Found => found;

    /// <summary>
    /// Whether a part of the value may hold or make tensors that cannot be found: a sequence that runs when it is read, a delegate, a task.
    /// </summary>
    public bool IsOpaque { get; private set; }

    public static TensorsIn Value(object? value)
    {
        var tensors = new TensorsIn();
        tensors.Visit(value);
        return tensors;
    }

    /// <summary>
    /// The instance fields of a module's class, and of the classes that it extends up to TorchSharp's own, that may hold tensors.
    /// </summary>
    public static IEnumerable<FieldInfo> FieldsOf(nn.Module module)
    {
        for (var type = module.GetType(); type is not null && type.Assembly != torchSharp; type = type.BaseType)
            foreach (var field in type.GetFields(OwnFields))
                if (MayHold(field.FieldType)) yield return field;
    }

    void Visit(object? value)
    {
        switch (value)
        {
            case null or string or nn.Module or MemberInfo:
                return;
            case Tensor tensor:
                found.Add(tensor);
                return;
            case Delegate or Task:
                IsOpaque = true;
                return;
        }
        var type = value.GetType();
        if (!MayHold(type) || (!type.IsValueType && !seen.Add(value))) return;
        if (value is IDisposable other && type.Assembly == torchSharp) found.Add(other);
        if (value is IEnumerable items && IsCollection(type))
            foreach (var item in items) Visit(item);
        else if (IsOfSystem(type) && value is not ITuple && !type.IsValueType)
            IsOpaque = true;
        else if (value is IEnumerable)
            IsOpaque = true;
        else
            foreach (var field in fieldsOf.GetOrAdd(type, AllFields)) Visit(field.GetValue(value));
    }

    static FieldInfo[] AllFields(Type type)
    {
        var fields = new List<FieldInfo>();
        for (var part = type; part is not null && part != typeof(object); part = part.BaseType)
            fields.AddRange(part.GetFields(OwnFields).Where(field => MayHold(field.FieldType)));
        return [.. fields];
    }

    // Only types that certainly hold no tensor are left out.
    static bool MayHold(Type type) =>
        type.IsArray ? MayHold(type.GetElementType()!) :
        !type.IsPrimitive && !type.IsEnum && !type.IsPointer && !type.IsByRefLike && type != typeof(string)
            && !typeof(nn.Module).IsAssignableFrom(type)
            && (!IsOfSystem(type) || (type.IsGenericType ? type.GenericTypeArguments.Any(MayHold) : !type.IsValueType));

    static bool IsCollection(Type type) =>
        typeof(ICollection).IsAssignableFrom(type) ||
        type.GetInterfaces().Any(face => face.IsGenericType && (face.GetGenericTypeDefinition() == typeof(ICollection<>)
            || face.GetGenericTypeDefinition() == typeof(IReadOnlyCollection<>)));

    static bool IsOfSystem(Type type) =>
        type.Assembly == typeof(object).Assembly || type.Assembly.GetName().Name!.StartsWith("System.", StringComparison.Ordinal);
}
