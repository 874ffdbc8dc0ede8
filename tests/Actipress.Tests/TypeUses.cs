using System.Collections.Immutable;
using System.Reflection.Emit;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace Actipress.Tests;

/// <summary>The use of one type by another type of the same assembly, both by the names of the outermost types around them.</summary>
/// <param name="From">The type that uses the other, such as <c>Actipress.Saving.SavedMap</c>.</param>
/// <param name="To">The type that it uses.</param>
/// <param name="Where">The member with the use, or the part of the type itself.</param>
sealed record TypeUse(string From, string To, string Where);

/// <summary>
/// The uses of types by other types of an assembly, from its metadata and instructions: base types and interfaces, attributes, fields,
/// signatures, local variables, and the types in method bodies, generic arguments included.
/// </summary>
/// <remarks>A use without a trace in the assembly is not found: a constant of another type, <c>nameof</c>, and documentation.</remarks>
sealed class TypeUses
{
    static readonly OpCode?[] oneByte = new OpCode?[256], twoBytes = new OpCode?[256];

    readonly PEReader file;
    readonly MetadataReader metadata;
    readonly HashSet<TypeUse> uses = [];
    string from = "", where = "";

    static TypeUses()
    {
        foreach (var field in typeof(OpCodes).GetFields())
        {
            var code = (OpCode)field.GetValue(null)!;
            (code.Size == 1 ? oneByte : twoBytes)[code.Value & 0xFF] = code;
        }
    }

    TypeUses(PEReader file) => (this.file, metadata) = (file, file.GetMetadataReader());

    /// <summary>Reads an assembly.</summary>
    /// <param name="path">The path of the assembly.</param>
    /// <returns>
    /// The types that lie in no other type, and the uses between any two of them. Types that the compiler generated are left out.
    /// </returns>
    public static (IReadOnlySet<string> Types, IReadOnlySet<TypeUse> Uses) Of(string path)
    {
        using var file = new PEReader(File.OpenRead(path));
        var reading = new TypeUses(file);
        var types = reading.Read();
        return (types, reading.uses);
    }

    HashSet<string> Read()
    {
        var types = new HashSet<string>();
        foreach (var handle in metadata.TypeDefinitions)
        {
            from = Name(handle);
            if (IsMadeUp(from)) continue;
            types.Add(from);
            where = "the type itself";
            var type = metadata.GetTypeDefinition(handle);
            See(type.BaseType);
            foreach (var face in type.GetInterfaceImplementations()) See(metadata.GetInterfaceImplementation(face).Interface);
            See(type.GetCustomAttributes());
            See(type.GetGenericParameters());
            foreach (var field in type.GetFields()) See(metadata.GetFieldDefinition(field));
            foreach (var method in type.GetMethods()) See(metadata.GetMethodDefinition(method));
            foreach (var property in type.GetProperties()) See(metadata.GetPropertyDefinition(property).GetCustomAttributes());
        }
        return types;
    }

    static bool IsMadeUp(string name) =>
        name.Contains('<', StringComparison.Ordinal) || name.StartsWith("Microsoft.", StringComparison.Ordinal)
        || name.StartsWith("System.", StringComparison.Ordinal);

    // The outermost type around a type, with its namespace.
    string Name(TypeDefinitionHandle handle)
    {
        var type = metadata.GetTypeDefinition(handle);
        for (; !type.GetDeclaringType().IsNil; type = metadata.GetTypeDefinition(type.GetDeclaringType())) { }
        return $"{metadata.GetString(type.Namespace)}.{metadata.GetString(type.Name)}";
    }

    void See(FieldDefinition field)
    {
        where = $"field {metadata.GetString(field.Name)}";
        See(field.GetCustomAttributes());
        field.DecodeSignature(new Signatures(this), null);
    }

    void See(MethodDefinition method)
    {
        where = $"member {metadata.GetString(method.Name)}";
        See(method.GetCustomAttributes());
        See(method.GetGenericParameters());
        method.DecodeSignature(new Signatures(this), null);
        foreach (var parameter in method.GetParameters()) See(metadata.GetParameter(parameter).GetCustomAttributes());
        if (method.RelativeVirtualAddress == 0) return;
        var body = file.GetMethodBody(method.RelativeVirtualAddress);
        if (!body.LocalSignature.IsNil)
            metadata.GetStandaloneSignature(body.LocalSignature).DecodeLocalSignature(new Signatures(this), null);
        foreach (var region in body.ExceptionRegions) See(region.CatchType);
        SeeInstructions(body.GetILReader());
    }

    void SeeInstructions(BlobReader body)
    {
        while (body.RemainingBytes > 0)
        {
            var first = body.ReadByte();
            var code = (first == 0xFE ? twoBytes[body.ReadByte()] : oneByte[first])
                ?? throw new BadImageFormatException($"No instruction {first:X2} in {from}, {where}.");
            switch (code.OperandType)
            {
                case OperandType.InlineField or OperandType.InlineMethod or OperandType.InlineType or OperandType.InlineTok
                    or OperandType.InlineSig:
                    See(MetadataTokens.EntityHandle(body.ReadInt32()));
                    break;
                case OperandType.InlineSwitch:
                    var targets = body.ReadInt32();
                    body.Offset += targets * sizeof(int);
                    break;
                case OperandType.InlineNone:
                    break;
                case OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar:
                    body.Offset += 1;
                    break;
                case OperandType.InlineVar:
                    body.Offset += 2;
                    break;
                case OperandType.InlineI8 or OperandType.InlineR:
                    body.Offset += 8;
                    break;
                default:
                    body.Offset += 4;
                    break;
            }
        }
    }

    void See(CustomAttributeHandleCollection attributes)
    {
        foreach (var attribute in attributes) See(metadata.GetCustomAttribute(attribute).Constructor);
    }

    void See(GenericParameterHandleCollection parameters)
    {
        foreach (var parameter in parameters)
            foreach (var constraint in metadata.GetGenericParameter(parameter).GetConstraints())
                See(metadata.GetGenericParameterConstraint(constraint).Type);
    }

    void See(EntityHandle handle)
    {
        if (handle.IsNil) return;
        switch (handle.Kind)
        {
            case HandleKind.TypeDefinition:
                Add((TypeDefinitionHandle)handle);
                break;
            case HandleKind.TypeSpecification:
                metadata.GetTypeSpecification((TypeSpecificationHandle)handle).DecodeSignature(new Signatures(this), null);
                break;
            case HandleKind.FieldDefinition:
                Add(metadata.GetFieldDefinition((FieldDefinitionHandle)handle).GetDeclaringType());
                break;
            case HandleKind.MethodDefinition:
                Add(metadata.GetMethodDefinition((MethodDefinitionHandle)handle).GetDeclaringType());
                break;
            case HandleKind.MethodSpecification:
                var method = metadata.GetMethodSpecification((MethodSpecificationHandle)handle);
                method.DecodeSignature(new Signatures(this), null);
                See(method.Method);
                break;
            case HandleKind.MemberReference:
                var member = metadata.GetMemberReference((MemberReferenceHandle)handle);
                See(member.Parent);
                if (member.GetKind() == MemberReferenceKind.Method) member.DecodeMethodSignature(new Signatures(this), null);
                else member.DecodeFieldSignature(new Signatures(this), null);
                break;
            case HandleKind.StandaloneSignature:
                metadata.GetStandaloneSignature((StandaloneSignatureHandle)handle).DecodeMethodSignature(new Signatures(this), null);
                break;
            default:    // the type is of another assembly
                break;
        }
    }

    void Add(TypeDefinitionHandle handle)
    {
        var to = Name(handle);
        if (to != from && !IsMadeUp(to)) uses.Add(new(from, to, where));
    }

    /// <summary>Adds each type of the assembly that a signature names.</summary>
    sealed class Signatures(TypeUses reading) : ISignatureTypeProvider<object?, object?>
    {
        public object? GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind)
        {
            reading.Add(handle);
            return null;
        }

        public object? GetTypeFromSpecification(
            MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind)
        {
            reading.See((EntityHandle)handle);
            return null;
        }

        public object? GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind) => null;
        public object? GetPrimitiveType(PrimitiveTypeCode typeCode) => null;
        public object? GetArrayType(object? elementType, ArrayShape shape) => null;
        public object? GetSZArrayType(object? elementType) => null;
        public object? GetByReferenceType(object? elementType) => null;
        public object? GetPointerType(object? elementType) => null;
        public object? GetPinnedType(object? elementType) => null;
        public object? GetFunctionPointerType(MethodSignature<object?> signature) => null;
        public object? GetGenericInstantiation(object? genericType, ImmutableArray<object?> typeArguments) => null;
        public object? GetGenericMethodParameter(object? genericContext, int index) => null;
        public object? GetGenericTypeParameter(object? genericContext, int index) => null;
        public object? GetModifiedType(object? modifier, object? unmodifiedType, bool isRequired) => null;
    }
}
