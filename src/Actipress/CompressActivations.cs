using static TorchSharp.torch;

namespace Actipress;

/// <summary>The entry of the library: compresses the activation maps of a model that is trained as before.</summary>
public static class CompressActivationsExtensions
{
    /// <summary>
    /// From now on keeps the activation maps that autograd saves in <paramref name="model"/>'s forward passes compressed, and rebuilds each
    /// when the backward pass needs it. Outputs, parameters and state-dict keys stay as they are.
    /// </summary>
    /// <param name="model">
    /// Any TorchSharp model. Its layers are known where they are run by <c>call</c>; see <see cref="ActivationCompression"/>.
    /// </param>
    /// <param name="codec">The codec of the maps, such as <c>ActivationCodec.Dct(ratio: 10)</c>.</param>
    /// <returns>The compression. Disposing it ends it and removes every hook.</returns>
    /// <exception cref="PlatformNotSupportedException">TorchSharp's native library here has no place for the hooks.</exception>
    public static ActivationCompression CompressActivations(this nn.Module model, ActivationCodec codec) =>
        model.CompressActivations(options => options.Default(codec));

    /// <inheritdoc cref="CompressActivations(nn.Module, ActivationCodec)" path="/*[not(self::param)]"/>
    /// <param name="model">Any TorchSharp model.</param>
    /// <param name="configure">Chooses codecs by layer.</param>
    /// <exception cref="ArgumentException">A layer pattern matches nothing.</exception>
    public static ActivationCompression CompressActivations(this nn.Module model, Action<CompressionOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(configure);
        var options = new CompressionOptions();
        configure(options);
        return new ActivationCompression(model, options);
    }
}
