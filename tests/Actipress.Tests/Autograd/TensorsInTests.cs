using System.Collections;
using Actipress.Autograd;

namespace Actipress.Tests.Autograd;

public sealed class TensorsInTests
{
    [Fact]
    public void Collections_by_any_interface_are_read_and_sequences_that_run_are_not()
    {
        using Tensor a = torch.zeros(1), b = torch.zeros(2);
        object[] read =
        [
            new[] { a, b }, new List<Tensor> { a, b }, new ReadOnly([a, b]), new Writable([a, b]), (a, b), Tuple.Create(a, b), new { a, b },
        ];
        foreach (var value in read)
        {
            var tensors = TensorsIn.Value(value);
            Assert.Equal([a, b], tensors.Found);
            Assert.False(tensors.IsOpaque, $"{value.GetType()} is a collection.");
        }
        object[] opaque = [new Running([a, b]), new Tensor[] { a, b }.Where(_ => true), () => a, Task.FromResult(a)];
        foreach (var value in opaque) Assert.True(TensorsIn.Value(value).IsOpaque, $"What {value.GetType()} holds is not known.");
    }

    // Each type exposes its tensors by one interface only.
    sealed class Running(Tensor[] tensors) : IEnumerable<Tensor>
    {
        public IEnumerator<Tensor> GetEnumerator() => tensors.AsEnumerable().GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }

    sealed class ReadOnly(Tensor[] tensors) : IReadOnlyCollection<Tensor>
    {
        public int Count => tensors.Length;

        public IEnumerator<Tensor> GetEnumerator() => tensors.AsEnumerable().GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }

    sealed class Writable(Tensor[] tensors) : ICollection<Tensor>
    {
        public int Count => tensors.Length;

        public bool IsReadOnly => false;

        public void Add(Tensor item) => throw new NotSupportedException();

        public void Clear() => throw new NotSupportedException();

        public bool Contains(Tensor item) => tensors.Contains(item);

        public void CopyTo(Tensor[] array, int arrayIndex) => tensors.CopyTo(array, arrayIndex);

        public bool Remove(Tensor item) => throw new NotSupportedException();

        public IEnumerator<Tensor> GetEnumerator() => tensors.AsEnumerable().GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
