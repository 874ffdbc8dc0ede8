Console.WriteLine(TorchSharp.torch.zeros(2).sum().item<float>());
