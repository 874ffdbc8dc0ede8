using System.IO.MemoryMappedFiles;

// This file is compiled into every mutated assembly. It tells which mutant is active, and records which mutants run.
static unsafe class Mutants
{
    // The address is a number, because the compiler of GPU kernels refuses a pointer here.
    static readonly long reached = Open();
    static readonly int active = int.Parse(Variable("ACTIPRESS_MUTANT") ?? "-1", System.Globalization.CultureInfo.InvariantCulture);

    // The class is initialised before the first method is compiled, so that the compiler treats the fields as constants and the switches
    // cost nothing.
    [System.Runtime.CompilerServices.ModuleInitializer]
    internal static void Initialize() => System.Runtime.CompilerServices.RuntimeHelpers.RunClassConstructor(typeof(Mutants).TypeHandle);

    internal static bool Is(int mutant)
    {
        if (reached != 0) ((byte*)reached)[mutant] = 1;
        return mutant == active;
    }

    // The file has one byte for each mutant, and child processes map it too.
    static long Open()
    {
        if (Variable("ACTIPRESS_MUTANTS_REACHED") is not { } path) return 0;
        byte* first = null;
        var view = MemoryMappedFile.CreateFromFile(path, System.IO.FileMode.Open).CreateViewAccessor();
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref first);
        return (long)first;
    }

    static string? Variable(string name) => System.Environment.GetEnvironmentVariable(name);
}
