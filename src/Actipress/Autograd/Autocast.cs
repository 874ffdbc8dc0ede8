using static TorchSharp.torch;

namespace Actipress.Autograd;

/// <summary>
/// The settings of libtorch's automatic mixed precision on a thread: for each kind of device whether autocast is on, and its type.
/// TorchSharp does not offer them.
/// </summary>
sealed unsafe class Autocast
{
    static readonly DeviceType[] devices = [DeviceType.CPU, DeviceType.CUDA];

    static readonly delegate* unmanaged[Cdecl]<sbyte, byte> isEnabled =
        (delegate* unmanaged[Cdecl]<sbyte, byte>)LibTorch.Symbol("_ZN2at8autocast19is_autocast_enabledEN3c1010DeviceTypeE");
    static readonly delegate* unmanaged[Cdecl]<sbyte, byte, void> setEnabled =
        (delegate* unmanaged[Cdecl]<sbyte, byte, void>)LibTorch.Symbol("_ZN2at8autocast20set_autocast_enabledEN3c1010DeviceTypeEb");
    static readonly delegate* unmanaged[Cdecl]<sbyte, sbyte> getType =
        (delegate* unmanaged[Cdecl]<sbyte, sbyte>)LibTorch.Symbol("_ZN2at8autocast18get_autocast_dtypeEN3c1010DeviceTypeE");
    static readonly delegate* unmanaged[Cdecl]<sbyte, sbyte, void> setType =
        (delegate* unmanaged[Cdecl]<sbyte, sbyte, void>)LibTorch.Symbol(
            "_ZN2at8autocast18set_autocast_dtypeEN3c1010DeviceTypeENS1_10ScalarTypeE");
    static readonly delegate* unmanaged[Cdecl]<int> incrementNesting =
        (delegate* unmanaged[Cdecl]<int>)LibTorch.Symbol("_ZN2at8autocast17increment_nestingEv");
    static readonly delegate* unmanaged[Cdecl]<int> decrementNesting =
        (delegate* unmanaged[Cdecl]<int>)LibTorch.Symbol("_ZN2at8autocast17decrement_nestingEv");
    static readonly delegate* unmanaged[Cdecl]<void> clearCache =
        (delegate* unmanaged[Cdecl]<void>)LibTorch.Symbol("_ZN2at8autocast11clear_cacheEv");

    readonly (bool On, ScalarType Type)[] settings;

    Autocast((bool On, ScalarType Type)[] settings) => this.settings = settings;

    /// <summary>The current settings of this thread.</summary>
    public static Autocast Here() =>
        new(Array.ConvertAll(devices, device => (isEnabled((sbyte)device) != 0, (ScalarType)getType((sbyte)device))));

    /// <summary>The settings within torch's <c>autocast(device, type)</c>.</summary>
    public static Autocast On(DeviceType device, ScalarType type)
    {
        var autocast = Here();
        autocast.settings[Array.IndexOf(devices, device)] = (true, type);
        return autocast;
    }

    /// <summary>Restores these settings on this thread until the result is disposed.</summary>
    public IDisposable Again() => new Back(this);

    void Set()
    {
        for (var i = 0; i < devices.Length; i++)
        {
            setEnabled((sbyte)devices[i], settings[i].On ? (byte)1 : (byte)0);
            setType((sbyte)devices[i], (sbyte)settings[i].Type);
        }
    }

    sealed class Back : IDisposable
    {
        readonly Autocast now = Here();

        public Back(Autocast then)
        {
            incrementNesting();
            then.Set();
        }

        public void Dispose()
        {
            // The outermost scope of autocast frees the cast weights at its end.
            if (decrementNesting() == 0) clearCache();
            now.Set();
        }
    }
}
