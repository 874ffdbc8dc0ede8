namespace Actipress.Autograd;

/// <summary>
/// The names of libtorch's functions under Microsoft's compiler, by their names under the compilers of Linux. C functions have the same
/// name under both.
/// </summary>
static class WindowsSymbols
{
    /// <summary>The name on this platform; null where the function is not known here.</summary>
    public static string? Here(string name) =>
        CppAbi.IsMicrosofts && name.StartsWith("_Z", StringComparison.Ordinal) ? names.GetValueOrDefault(name) : name;

    /// <summary>All known names.</summary>
    public static IEnumerable<string> All => names.Values;

    static readonly Dictionary<string, string> names = new()
    {
        ["_ZNK2at10TensorBase8_versionEv"] = "?_version@TensorBase@at@@QEBA_JXZ",
        ["_ZN2at6native12is_inferenceERKNS_6TensorE"] = "?is_inference@native@at@@YA_NAEBVTensor@2@@Z",
        ["_ZNK2at10TensorBase7is_viewEv"] = "?is_view@TensorBase@at@@QEBA_NXZ",
        ["_ZNK2at10TensorBase5_baseEv"] = "?_base@TensorBase@at@@QEBAAEBV12@XZ",
        ["_ZNK2at10TensorBase13variable_dataEv"] = "?variable_data@TensorBase@at@@QEBA?AV12@XZ",
        ["_ZNK2at10TensorBase7is_leafEv"] = "?is_leaf@TensorBase@at@@QEBA_NXZ",
        ["_ZN2at25compositeimplicitautograd7is_conjERKNS_6TensorE"] = "?is_conj@compositeimplicitautograd@at@@YA_NAEBVTensor@2@@Z",
        ["_ZN2at25compositeimplicitautograd6is_negERKNS_6TensorE"] = "?is_neg@compositeimplicitautograd@at@@YA_NAEBVTensor@2@@Z",
        ["_ZN5torch8autograd6Engine18get_default_engineEv"] = "?get_default_engine@Engine@autograd@torch@@SAAEAU123@XZ",
        ["_ZTVN5torch8autograd6EngineE"] = "??_7Engine@autograd@torch@@6B@",
        ["_ZN5torch8autograd6Engine32get_default_saved_variable_hooksEv"] =
            "?get_default_saved_variable_hooks@Engine@autograd@torch@@UEAA?AV?$unique_ptr@USavedVariableHooks@autograd@torch@@" +
            "U?$default_delete@USavedVariableHooks@autograd@torch@@@std@@@std@@XZ",
        ["_ZN5torch8autograd6Engine14queue_callbackESt8functionIFvvEE"] =
            "?queue_callback@Engine@autograd@torch@@QEAAXV?$function@$$A6AXXZ@std@@@Z",
        ["_ZN5torch8autograd25get_current_graph_task_idEv"] = "?get_current_graph_task_id@autograd@torch@@YAHXZ",
        ["_ZN2at22addThreadLocalCallbackENS_22RecordFunctionCallbackE"] = "?addThreadLocalCallback@at@@YA_KVRecordFunctionCallback@1@@Z",
        ["_ZN2at14removeCallbackEm"] = "?removeCallback@at@@YAX_K@Z",
        ["_ZNK2at14RecordFunction4nameEv"] = "?name@RecordFunction@at@@QEBAPEBDXZ",
        ["_ZN2at23hasThreadLocalCallbacksEv"] = "?hasThreadLocalCallbacks@at@@YA_NXZ",
        ["_ZN3c1010Dispatcher13realSingletonEv"] = "?realSingleton@Dispatcher@c10@@SAAEAV12@XZ",
        ["_ZN3c1010Dispatcher13getAllOpNamesEv"] =
            "?getAllOpNames@Dispatcher@c10@@QEAA?BV?$vector@UOperatorName@c10@@V?$allocator@UOperatorName@c10@@@std@@@std@@XZ",
        ["_ZN2at8autocast19is_autocast_enabledEN3c1010DeviceTypeE"] = "?is_autocast_enabled@autocast@at@@YA_NW4DeviceType@c10@@@Z",
        ["_ZN2at8autocast20set_autocast_enabledEN3c1010DeviceTypeEb"] = "?set_autocast_enabled@autocast@at@@YAXW4DeviceType@c10@@_N@Z",
        ["_ZN2at8autocast18get_autocast_dtypeEN3c1010DeviceTypeE"] =
            "?get_autocast_dtype@autocast@at@@YA?AW4ScalarType@c10@@W4DeviceType@4@@Z",
        ["_ZN2at8autocast18set_autocast_dtypeEN3c1010DeviceTypeENS1_10ScalarTypeE"] =
            "?set_autocast_dtype@autocast@at@@YAXW4DeviceType@c10@@W4ScalarType@4@@Z",
        ["_ZN2at8autocast17increment_nestingEv"] = "?increment_nesting@autocast@at@@YAHXZ",
        ["_ZN2at8autocast17decrement_nestingEv"] = "?decrement_nesting@autocast@at@@YAHXZ",
        ["_ZN2at8autocast11clear_cacheEv"] = "?clear_cache@autocast@at@@YAXXZ",
        ["_ZNK2at9Generator9get_stateEv"] = "?get_state@Generator@at@@QEBA?AVTensor@2@XZ",
        ["_ZN2at9Generator9set_stateERKNS_6TensorE"] = "?set_state@Generator@at@@QEAAXAEBVTensor@2@@Z",
        ["_ZN2at25compositeexplicitautograd20convolution_backwardERKNS_6TensorES3_S3_" +
         "N3c1016OptionalArrayRefIlEENS4_8ArrayRefIlEES8_S8_bS8_lSt5arrayIbLm3EE"] =
            "?convolution_backward@compositeexplicitautograd@at@@YA?AV?$tuple@VTensor@at@@V12@V12@@std@@AEBVTensor@2@00" +
            "V?$OptionalArrayRef@_J@c10@@V?$ArrayRef@_J@7@22_N2_JV?$array@_N$02@4@@Z",
        ["_ZN3c1015GetCPUAllocatorEv"] = "?GetCPUAllocator@c10@@YAPEAUAllocator@1@XZ",
    };

    /// <summary>The file name of a library of torch's on this platform: <c>libc10.so</c> is <c>c10.dll</c>.</summary>
    public static string File(string file) => CppAbi.IsMicrosofts ? Path.ChangeExtension(file["lib".Length..], ".dll") : file;
}
