using Actipress.Data;

namespace Actipress.Tests.Data;

[MeasuresMemory]
public sealed class DataSetTests
{
    static CancellationToken Now => TestContext.Current.CancellationToken;

    static readonly IDataSet digits = GeneratedDigits.Make(23, 1).Train;

    [Fact]
    public void A_batch_stacks_images_and_labels()
    {
        using var batch = Batch.Of(digits, [3, 5]);
        Assert.Equal([2, 1, 28, 28], batch.Images.shape);
        Assert.Equal([(long)digits.Read(3).Labels[0], digits.Read(5).Labels[0]], batch.Labels.data<long>().ToArray());
        Assert.Equal(digits.Read(5).Image, batch.Images.data<float>().ToArray()[784..]);
        var volumes = GeneratedVolumes.Make(3, (4, 5, 6));
        using var dense = Batch.Of(volumes, [2, 0]);
        Assert.Equal([2, 1, 4, 5, 6], dense.Images.shape);
        Assert.Equal([2, 4, 5, 6], dense.Labels.shape);
        Assert.Equal(volumes.Labels[0].Select(label => (long)label), dense.Labels.data<long>().ToArray()[120..]);
    }

    [Fact]
    public void A_batch_of_two_sizes_names_both()
    {
        var (small, large) = (GeneratedVolumes.Make(1, (4, 4, 4)).Read(0), GeneratedVolumes.Make(1, (4, 4, 6)).Read(0));
        var message = Assert.Throws<InvalidDataException>(() => Batch.Of([small, large])).Message;
        Assert.Contains("1 x 4 x 4 x 4", message, StringComparison.Ordinal);
        Assert.Contains("1 x 4 x 4 x 6", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(260)]
    public void A_split_has_every_case_once_whatever_their_order(int cases)
    {
        var data = new Named([.. Enumerable.Range(0, cases).SelectMany(i => new[] { $"case{i}", $"case{i}" })]);
        var split = Split.ByCase(data, seed: 7);
        string[] Cases(IDataSet part) => [.. Enumerable.Range(0, part.Count).Select(part.Case)];
        string[][] parts = [Cases(split.Train), Cases(split.Validation), Cases(split.Test)];
        Assert.Equal(2 * cases, parts.Sum(part => part.Length));
        Assert.Equal(cases, parts.Sum(part => part.Distinct().Count()));     // no case is in two parts
        Assert.Equal((int)Math.Round(0.7 * cases), parts[0].Length / 2);
        Assert.InRange(parts[2].Length / 2, (int)(0.1 * cases), (int)(0.1 * cases) + 1);
        var other = Split.ByCase(new Named([.. data.Names.Reverse()]), seed: 7);
        Assert.Equal(parts[0], Cases(other.Train));
        if (cases > 10) Assert.NotEqual(parts[0], Cases(Split.ByCase(data, seed: 8).Train));
    }

    [Theory]
    [InlineData(5, 5)]
    [InlineData(23, 4)]
    [InlineData(260, 5)]
    public void Each_case_tests_in_one_fold_and_trains_in_all_others(int cases, int folds)
    {
        var data = new Named([.. Enumerable.Range(0, cases).SelectMany(i => new[] { $"case{i}", $"case{i}" })]);
        var splits = Enumerable.Range(1, folds).Select(number => Split.ByFold(data, seed: 1, new(number, folds))).ToArray();
        Assert.Equal(data.Names.Order(), splits.SelectMany(split => Cases(split.Test)).Order());
        foreach (var split in splits)
        {
            Assert.Empty(Cases(split.Test).Intersect(Cases(split.Train)));
            Assert.Equal(2 * cases, split.Test.Count + split.Train.Count);
            Assert.InRange(split.Test.Count / 2, cases / folds, (cases + folds - 1) / folds);
        }
        var other = Split.ByFold(new Named([.. data.Names.Reverse()]), seed: 1, new(1, folds));
        Assert.Equal(Cases(splits[0].Test), Cases(other.Test));

        var message = Assert.Throws<InvalidDataException>(() => Split.ByFold(data, seed: 1, new(1, cases + 1))).Message;
        Assert.Contains($"{cases} cases: wanted one at least for each of {cases + 1} folds", message, StringComparison.Ordinal);

        static string[] Cases(IDataSet part) => [.. Enumerable.Range(0, part.Count).Select(part.Case)];
    }

    [Theory]
    [InlineData("1/5", true), InlineData("5/5", true), InlineData("2/2", true)]
    [InlineData("0/5", false), InlineData("6/5", false), InlineData("1/1", false), InlineData("-1/5", false), InlineData("1", false)]
    [InlineData("1/5/2", false), InlineData("a/b", false), InlineData("", false), InlineData("99999999999/5", false)]
    public void A_fold_is_written_as_its_number_of_so_many(string text, bool isOne)
    {
        if (isOne) Assert.Equal(text, $"{Fold.Parse(text)}");
        else Assert.Contains("1/5", Assert.Throws<FormatException>(() => Fold.Parse(text)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Batches_are_the_same_however_many_workers_prepare_them()
    {
        float[][] Epoch(int workers, int epoch, int seed = 3)
        {
            var loader = new BatchLoader { Data = digits, Batch = 4, Seed = seed, Workers = workers, Ahead = workers + 1, Vary = Noise };
            return [.. loader.Epoch(epoch, Now).Select(batch =>
            {
                using (batch) return batch.Images.data<float>().ToArray();
            })];
        }

        var once = Epoch(1, 1);
        Assert.Equal([4, 4, 4, 4, 4, 3], once.Select(batch => batch.Length / 784));
        foreach (var workers in (int[])[2, 5, 16]) Assert.Equal(once, Epoch(workers, 1));
        Assert.NotEqual(once[0], Epoch(1, 2)[0]);
        Assert.NotEqual(once[0], Epoch(1, 1, seed: 4)[0]);
        var shuffled = new BatchLoader { Data = digits, Seed = 3 };
        Assert.Equal(Enumerable.Range(0, 23), shuffled.Order(5).Order());
        Assert.Equal(shuffled.Order(5), shuffled.Order(5));
        Assert.NotEqual(shuffled.Order(5), shuffled.Order(6));
        Assert.NotEqual(shuffled.Order(5), (shuffled with { Seed = 4 }).Order(5));
        Assert.Equal(Enumerable.Range(0, 23), (shuffled with { Shuffle = false }).Order(5));

        static Example Noise(Example example, Random random)
        {
            Thread.SpinWait(random.Next(100_000));    // the delay makes batches end in another order than they began
            return example with { Image = Array.ConvertAll(example.Image, value => value + random.NextSingle()) };
        }
    }

    [Fact]
    public void Kept_examples_have_extents_where_they_agree()
    {
        var (small, large) = (GeneratedVolumes.Make(2, (4, 4, 4)), GeneratedVolumes.Make(1, (4, 4, 6)));
        Assert.Equal([4, 4, 4], small.InMemory(Now).Extents);
        Assert.Null(small.Select(one => one.Case.EndsWith("[1]", StringComparison.Ordinal) ? large.Read(0) : one).InMemory(Now).Extents);
        Assert.Null(small.Subset([]).InMemory(Now).Extents);
    }

    [Fact]
    public void A_failing_case_is_named_after_the_batches_before_it()
    {
        var loader = new BatchLoader
        {
            Data = new Named([.. Enumerable.Range(0, 9).Select(i => i == 6 ? "broken" : $"case{i}")]),
            Batch = 2,
            Shuffle = false,
        };
        var taken = 0;
        var message = Assert.Throws<InvalidDataException>(() =>
        {
            foreach (var batch in loader.Epoch(1, Now)) using (batch) taken++;
        }).Message;
        Assert.Equal(3, taken);
        Assert.Contains("Case broken of named", message, StringComparison.Ordinal);
        Assert.Contains("in sector 7", message, StringComparison.Ordinal);
        var readable = loader.Data.Readable(out var refused, Now);
        Assert.Equal(8, readable.Count);
        Assert.Equal(("broken", "damaged in sector 7"), Assert.Single(refused));
    }

    [Fact]
    public void Every_example_of_every_epoch_has_a_chance_of_its_own()
    {
        var loader = new BatchLoader
        {
            Data = digits,
            Batch = 4,
            Workers = 2,
            Vary = (example, random) => example with { Image = [.. Enumerable.Range(0, 784).Select(_ => (float)random.Next(1 << 24))] },
        };
        var drawn = new HashSet<float>();
        foreach (var epoch in (int[])[1, 2])
            foreach (var batch in loader.Epoch(epoch, Now))
                using (batch) drawn.UnionWith(batch.Images.data<float>().ToArray().Where((_, i) => i % 784 == 0));
        Assert.Equal(2 * 23, drawn.Count);
    }

    [Theory]
    [InlineData("Batch")]
    [InlineData("Workers")]
    [InlineData("Ahead")]
    public void A_loader_with_nothing_to_do_is_refused(string which)
    {
        var loader = new BatchLoader
        {
            Data = digits,
            Batch = which == "Batch" ? 0 : 1,
            Workers = which == "Workers" ? 0 : 1,
            Ahead = which == "Ahead" ? 0 : 1,
        };
        Assert.Equal(which, Assert.Throws<ArgumentOutOfRangeException>(() => loader.Epoch(1, Now)).ParamName);
    }

    [Fact]
    public void Leaving_or_cancelling_an_epoch_leaves_no_tensor_behind()
    {
        var loader = new BatchLoader { Data = digits, Workers = 4, Ahead = 6 };
        var before = Tensor.TotalCount;
        foreach (var batch in loader.Epoch(1, Now)) using (batch) break;
        Assert.Equal(before, Tensor.TotalCount);
        using var cancellation = new CancellationTokenSource();
        var taken = 0;
        Assert.ThrowsAny<OperationCanceledException>(() =>
        {
            foreach (var batch in loader.Epoch(3, cancellation.Token))
                using (batch)
                    if (++taken == 3) cancellation.Cancel();
        });
        Assert.InRange(taken, 3, 3 + loader.Ahead);
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void A_cancelled_epoch_ends_between_two_examples_of_a_batch()
    {
        using var cancellation = new CancellationTokenSource();
        var read = 0;
        var loader = new BatchLoader { Data = digits, Batch = 23, Workers = 1, Ahead = 1, Vary = Count };
        Assert.ThrowsAny<OperationCanceledException>(() => loader.Epoch(1, cancellation.Token).Count());
        Assert.Equal(5, read);

        Example Count(Example example, Random random)
        {
            if (++read == 5) cancellation.Cancel();
            return example;
        }
    }

    [Fact]
    public void No_more_batches_are_made_or_held_than_allowed()
    {
        var (begun, taken, mostAhead) = (0, 0, 0);
        var one = new Lock();
        var loader = new BatchLoader { Data = digits, Workers = 4, Ahead = 3, Shuffle = false, Vary = Begin };
        var before = Tensor.TotalCount;
        foreach (var batch in loader.Epoch(1, Now))
            using (batch)
            {
                lock (one) taken++;
                // The training loop is slow, so all batches that may be prepared meanwhile are prepared, two tensors a batch.
                var ready = Math.Min(23, taken + loader.Ahead - 1);
                Assert.True(
                    SpinWait.SpinUntil(() => Tensor.TotalCount - before == 2 * (ready - taken + 1), TimeSpan.FromSeconds(20)),
                    $"{Tensor.TotalCount - before} tensors beside batch {taken}");
                Assert.Equal(ready, Volatile.Read(ref begun));
            }
        Assert.Equal(23, begun);
        Assert.InRange(mostAhead, 1, loader.Ahead);
        Assert.Equal(before, Tensor.TotalCount);

        Example Begin(Example example, Random random)
        {
            lock (one) mostAhead = Math.Max(mostAhead, ++begun - taken);
            return example;
        }
    }

    [Fact]
    public void What_fails_while_an_example_is_varied_names_its_case()
    {
        var loader = new BatchLoader { Data = digits, Vary = (example, random) => new Patches([4, 4, 4]).Take(example, random) };
        var message = Assert.Throws<InvalidDataException>(() =>
        {
            foreach (var batch in loader.Epoch(1, Now)) batch.Dispose();
        }).Message;
        Assert.Contains("Case generated digits[", message, StringComparison.Ordinal);
    }

    sealed record Named(string[] Names) : IDataSet
    {
        public string Name => "named";
        public int Count => Names.Length;
        public int Channels => 1;
        public int Classes => 2;
        public bool IsSegmentation => false;
        public IReadOnlyList<int> Extents => [1, 1];
        public string Case(int index) => Names[index];
        public Example Read(int index) =>
            Names[index] == "broken" ? throw new InvalidDataException("damaged in sector 7") : new(Names[index], [index], [0], [1, 1]);
    }
}
