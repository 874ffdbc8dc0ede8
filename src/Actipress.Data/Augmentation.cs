namespace Actipress.Data;

/// <summary>
/// The random changes of an example in training: mirror, rotation, scale and shift, in one interpolation (images linearly, labels at the
/// nearest voxel), so that image and labels stay aligned. Voxels from outside are air: each channel's smallest value, class 0. Pictures are
/// rotated in their plane; volumes about all three axes, in mm where their spacing is known.
/// </summary>
public sealed record Augmentation
{
    /// <summary>Whether an example is mirrored left to right (along the width), with probability 1/2.</summary>
    public bool Flip { get; init; }

    /// <summary>The largest angle of rotation in either direction, in degrees.</summary>
    public double Rotation { get; init; }

    /// <summary>The smallest and the largest factor of scale.</summary>
    public (double Least, double Most) Scale { get; init; } = (1, 1);

    /// <summary>The largest shift along each axis in either direction, as a share of its extent.</summary>
    public double Shift { get; init; }

    /// <summary>The paper's augmentation for CIFAR-100: mirroring alone.</summary>
    public static Augmentation Flips { get; } = new() { Flip = true };

    /// <summary>
    /// The paper's augmentation for SPLEEN: a rotation by up to 1 degree, a scale of 0.9 to 1.1, and a shift by up to 5 %.
    /// </summary>
    public static Augmentation Spleen { get; } = new() { Rotation = 1, Scale = (0.9, 1.1), Shift = 0.05 };

    /// <summary>The paper's augmentation for BRATS: that of SPLEEN, and mirroring.</summary>
    public static Augmentation Brats { get; } = Spleen with { Flip = true };

    /// <summary>Draws and applies a change; give it to <see cref="BatchLoader.Vary"/>.</summary>
    /// <param name="example">Stays as it is.</param>
    /// <param name="random">The same state gives the same change.</param>
    public Example Apply(Example example, Random random)
    {
        ArgumentNullException.ThrowIfNull(example);
        ArgumentNullException.ThrowIfNull(random);
        var is3D = example.Extents.Count == 3;
        var mirror = random.Next(2) == 1 && Flip;
        var (aboutX, aboutY, aboutZ) = (Angle(), Angle(), Angle());
        var size = Scale.Least + (Scale.Most - Scale.Least) * random.NextDouble();
        var (depth, height, width) = Warp.ThreeOf(example.Extents);
        var (right, down, deep) = (Between(Shift) * width, Between(Shift) * height, Between(Shift) * depth);
        var (mmZ, mmY, mmX) = example.Affine?.Spacing is { Depth: > 0, Height: > 0, Width: > 0 } known ? known : (1, 1, 1);
        var (middleX, middleY, middleZ) = ((width - 1) / 2.0, (height - 1) / 2.0, (depth - 1) / 2.0);

        // The map from the result's voxels to the example's: to mm about the centre, mirrored, rotated, scaled, back to voxels, and
        // shifted.
        var places = new Affine([mmX, 0, 0, -middleX * mmX, 0, mmY, 0, -middleY * mmY, 0, 0, mmZ, -middleZ * mmZ]);
        if (mirror) places = Affine.Of(-1, 1, 1).After(places);
        places = Turn(2, aboutZ).After(places);
        if (is3D) places = Turn(0, aboutX).After(Turn(1, aboutY)).After(places);
        places = Affine.Of(1 / size, 1 / size, is3D ? 1 / size : 1).After(places);
        places = new Affine([1 / mmX, 0, 0, middleX + right, 0, 1 / mmY, 0, middleY + down, 0, 0, 1 / mmZ, middleZ + (is3D ? deep : 0)])
            .After(places);
        return Warp.To(example, example.Extents, places, extend: false);

        double Between(double most) => most * (2 * random.NextDouble() - 1);
        double Angle() => Between(Rotation) * Math.PI / 180;
    }

    static Affine Turn(int axis, double angle)
    {
        var (cos, sin) = Math.SinCos(angle) is var both ? (both.Cos, both.Sin) : default;
        var rows = new double[12];
        var (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
        (rows[5 * axis], rows[5 * a], rows[5 * b], rows[4 * a + b], rows[4 * b + a]) = (1, cos, cos, -sin, sin);
        return new(rows);
    }
}
