using Actipress.Data;
using Actipress.Models;
using static TorchSharp.torch;

namespace Actipress.Tests.Data;

/// <summary>The steps of a user, from files to a prediction in a file.</summary>
public sealed class RealVolumesTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    static CancellationToken Now => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Patients_of_brats_train_an_epoch_and_are_predicted()
    {
        var files = Brats.Open(TestData.Real("brats2015"));
        TrainAndPredict(files, one => one.CropToForeground().ToSpacing(4, 4, 4).ZScore(amongNonZero: true), Augmentation.Brats);
    }

    [Fact]
    public void Ct_with_organs_trains_an_epoch_and_is_predicted()
    {
        var real = TestData.Real("ct_mr_totalsegmentator");
        var files = new VolumeFiles("ct", [
            new(
                "aorta", [Path.Combine(real, "aorta__ct_cropped.nii.gz")],
                [Path.Combine(real, "aorta__aorta.nii.gz"), Path.Combine(real, "aorta__vertebrae_T12.nii.gz")]),
            new(
                "pulmonary", [Path.Combine(real, "pulmonary__ct_cropped.nii.gz")],
                [Path.Combine(real, "pulmonary__pulmonary_artery.nii.gz")]),
        ], channels: 1, classes: 3);
        TrainAndPredict(files, one => one.ToSpacing(4, 4, 4).Window(-160, 240), Augmentation.Spleen);
    }

    void TrainAndPredict(VolumeFiles files, Func<Example, Example> prepare, Augmentation augmentation)
    {
        int[] extents = [32, 32, 32];
        var patches = new Patches(extents) { Foreground = 1 };
        var data = files.Select(prepare).InMemory(Now);
        var loader = new BatchLoader
        {
            Data = data,
            Batch = 2,
            Workers = 2,
            Vary = (example, random) => augmentation.Apply(patches.Take(example, random), random),
        };
        random.manual_seed(1);
        using var model = new UNet3D(data.Channels, data.Classes, features: 4);
        using var optimizer = optim.Adam(model.parameters());
        var steps = 0;
        foreach (var batch in loader.Epoch(1, Now))
            using (batch)
            {
                Assert.Equal([2, data.Channels, 32, 32, 32], batch.Images.shape);
                Assert.InRange(batch.Labels.max().item<long>(), 1, data.Classes - 1);
                optimizer.zero_grad();
                using var output = model.call(batch.Images);
                using var loss = nn.functional.cross_entropy(output, batch.Labels);
                loss.backward();
                optimizer.step();
                Assert.True(float.IsFinite(loss.item<float>()));
                steps++;
            }
        Assert.Equal(loader.Batches, steps);

        model.eval();
        var prepared = data.Read(0);
        var labels = new SlidingWindow(extents) { Overlap = 0.25 }.Predict(prepared, data.Classes, model.call, Now);
        var scan = Nifti.Read(files.Files(0).Images[0]);
        var back = (prepared with { Image = [], Labels = labels }).Onto([scan.Extents[2], scan.Extents[1], scan.Extents[0]], scan.Affine);
        var path = Path.Combine(folder, "prediction.nii.gz");
        Nifti.Write(path, Volume.OfLabels(back.Labels, back.Extents, scan.Affine), NiftiType.UInt8);
        var written = Nifti.Read(path);
        Assert.Equal(scan.Extents, written.Extents);
        // On the scan's own grid the prediction keeps its position: each class has the same volume in mm³, except for the coarseness of the
        // grid.
        var last = labels.Max();
        var predicted = labels.Count(label => label == last) * VoxelOf(prepared.Affine!);
        Assert.InRange(written.Values.Count(value => value == last) * VoxelOf(scan.Affine), 0.9 * predicted, 1.1 * predicted);

        // The volumes are in mm³.
        static double VoxelOf(Affine affine) => affine.Spacing.Depth * affine.Spacing.Height * affine.Spacing.Width;
    }
}
