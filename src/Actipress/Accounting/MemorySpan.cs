namespace Actipress.Accounting;

/// <summary>The kinds of what takes memory within a step.</summary>
enum MemoryKind
{
    /// <summary>A map as the forward pass made it.</summary>
    Map,

    /// <summary>What is kept in place of a map.</summary>
    PackedMap,

    /// <summary>A map or a part of a map, rebuilt for the backward pass.</summary>
    RebuiltMap,

    /// <summary>The gradient of a parameter.</summary>
    Gradient,

    /// <summary>Other tensors of the forward pass.</summary>
    Forward,

    /// <summary>Other tensors of the backward pass: gradients on their way, and copies.</summary>
    Backward,
}

static class MemoryKinds
{
    /// <summary>The words of each kind, in order.</summary>
    public static IReadOnlyList<string> Words { get; } =
    [
        "maps as they were made", "packed maps", "rebuilt maps", "gradients of parameters", "other tensors of the forward pass",
        "gradients on their way, and copies",
    ];
}

/// <summary>Some memory, alive from one moment until before another.</summary>
readonly record struct MemorySpan(long Bytes, int Start, int End, MemoryKind Kind, string What);
