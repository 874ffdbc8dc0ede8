using Actipress;
using Actipress.Gpu;

// Writes the PTX of every kernel into a folder. The command is ./dev kernels.
if (args is not [var folder])
{
    Console.Error.WriteLine("Actipress.Kernels FOLDER: writes the PTX of every kernel into the folder.");
    return 2;
}
Directory.CreateDirectory(folder);
foreach (var kernel in Enum.GetValues<GridKernel>())
{
    var file = Path.Combine(folder, $"{kernel}.ptx");
    File.WriteAllText(file, KernelCompiler.Compile(kernel));
    Console.WriteLine(file);
}
return 0;
