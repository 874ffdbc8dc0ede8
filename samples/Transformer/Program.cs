// This program teaches a transformer to tell which of its tokens came first most often. It uses TorchSharp's own encoder layers, whose
// inside Actipress knows by the operations that libtorch runs. A transform gathers little of tokens, so most of them stay at 8 bits a
// value.
using Actipress;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

const int Tokens = 64, Kinds = 16, Width = 64;
using var model = new Reader(Kinds, Width);
using var optimizer = optim.AdamW(model.parameters(), 1e-3);
using var compression = model.CompressActivations(options => options.KeepFidelity(0.98, batches: 2));

for (var step = 1; step <= 20; step++)
{
    using var scope = NewDisposeScope();
    var texts = randint(0, Kinds, [32, Tokens]);
    var most = functional.one_hot(texts, Kinds).sum(1).argmax(1);
    optimizer.zero_grad();
    var loss = functional.cross_entropy(model.call(texts), most);
    compression.Backward(loss);    // the first steps are measured; then each map gets the coarsest codec that suffices
    optimizer.step();
    if (step % 5 == 0) Console.WriteLine($"step {step}: loss {loss.item<float>():F3}");
}
Console.WriteLine(compression.Report());

sealed class Reader : Module<Tensor, Tensor>
{
    readonly Module<Tensor, Tensor> embedding, head;
    readonly Module<Tensor, Tensor, Tensor, Tensor> encoder;

    public Reader(int kinds, int width) : base(nameof(Reader))
    {
        embedding = Embedding(kinds, width);
        encoder = TransformerEncoder(TransformerEncoderLayer(width, nhead: 4, dim_feedforward: 4 * width, dropout: 0), 2);
        head = Linear(width, kinds);
        RegisterComponents();
    }

    public override Tensor forward(Tensor texts)
    {
        using var scope = NewDisposeScope();
        var tokens = embedding.call(texts).transpose(0, 1);    // (tokens, n, width), as TorchSharp's encoder takes them
        return head.call(encoder.call(tokens, null!, null!).mean([0])).MoveToOuterDisposeScope();
    }
}
