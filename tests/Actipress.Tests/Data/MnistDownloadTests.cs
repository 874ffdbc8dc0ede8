using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using Actipress.Data;

namespace Actipress.Tests.Data;

public sealed class MnistDownloadTests : IDisposable
{
    static readonly string[] names =
    [
        "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
    ];

    readonly string folder = Directory.CreateTempSubdirectory("actipress-test").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    // A server of the test on this machine. It answers each request for a file with the given bytes, and then closes the connection.
    sealed class Server : IDisposable
    {
        readonly TcpListener listener = new(IPAddress.Loopback, 0);
        readonly Func<string, byte[]> answer;

        public Server(Func<string, byte[]> answer)
        {
            this.answer = answer;
            listener.Start();
            _ = Serve();
        }

        public List<string> Asked { get; } = [];

        public Uri Address => new($"http://{listener.LocalEndpoint}/mnist/");

        async Task Serve()
        {
            try
            {
                while (true)
                {
                    using var client = await listener.AcceptTcpClientAsync();
                    using var reader = new StreamReader(client.GetStream(), System.Text.Encoding.ASCII);
                    var path = (await reader.ReadLineAsync())!.Split(' ')[1];
                    while (await reader.ReadLineAsync() is { Length: > 0 }) { }
                    Asked.Add(path);
                    await client.GetStream().WriteAsync(answer(Path.GetFileName(path)));
                }
            }
            catch (Exception ended) when (ended is SocketException or ObjectDisposedException) { }
        }

        public void Dispose() => listener.Dispose();
    }

    static byte[] Ok(byte[] body, int? length = null) =>
    [
        .. System.Text.Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Length: {length ?? body.Length}\r\nConnection: close\r\n\r\n"),
        .. body,
    ];

    Task Download(Server server, IProgress<string>? progress = null) =>
        Mnist.DownloadAsync(folder, progress, TestContext.Current.CancellationToken, server.Address);

    sealed class Told(List<string> told) : IProgress<string>
    {
        public void Report(string value) => told.Add(value);
    }

    [Fact]
    public async Task What_is_missing_is_downloaded()
    {
        var real = TestData.Real("mnist");
        File.WriteAllText(Path.Combine(folder, names[1]), "is there already");
        using var server = new Server(name => Ok(File.ReadAllBytes(Path.Combine(real, name))));
        var told = new List<string>();
        await Download(server, new Told(told));
        string[] missing = [names[0], names[2], names[3]];
        Assert.Equal(missing.Select(name => $"/mnist/{name}"), server.Asked);
        Assert.Equal(missing.Select(name => $"downloading {name}"), told);
        Assert.Equal(names.Order(), Directory.GetFiles(folder).Select(Path.GetFileName).Order());
        Assert.All(
            missing, name => Assert.Equal(File.ReadAllBytes(Path.Combine(real, name)), File.ReadAllBytes(Path.Combine(folder, name))));
        Assert.Equal("is there already", File.ReadAllText(Path.Combine(folder, names[1])));
    }

    [Theory]
    [InlineData("refused", "404")]
    [InlineData("cut short", "Get MNIST's four files otherwise")]
    [InlineData("a page to log in", "magic number")]
    [InlineData("another gzip", "cut short")]
    public async Task What_does_not_come_whole_leaves_nothing_behind(string kind, string says)
    {
        using var server = new Server(name => kind switch
        {
            "refused" => System.Text.Encoding.ASCII.GetBytes("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            "cut short" => Ok([0x1F, 0x8B, 8], length: 10_000),
            "another gzip" => Ok(Gzip([0, 0, 8, 3, 0, 0, 0, 0])),
            _ => Ok(System.Text.Encoding.ASCII.GetBytes("<html>Welcome to the hotel</html>")),
        });
        var failure = await Assert.ThrowsAnyAsync<Exception>(() => Download(server));
        Assert.True(
            kind is "refused" or "cut short" ? failure is HttpRequestException : failure is InvalidDataException, failure.ToString());
        Assert.Contains(says, failure.Message, StringComparison.Ordinal);
        Assert.Contains($"{server.Address}{names[0]}", failure.Message, StringComparison.Ordinal);
        Assert.Equal(["/mnist/" + names[0]], server.Asked);
        Assert.Empty(Directory.GetFileSystemEntries(folder));

        static byte[] Gzip(byte[] bytes)
        {
            using var packed = new MemoryStream();
            using (var gzip = new GZipStream(packed, CompressionLevel.Fastest)) gzip.Write(bytes);
            return packed.ToArray();
        }
    }

    // The test's own proxy refuses the request, so that nothing leaves this machine.
    [Fact]
    public void A_download_that_fails_is_one_message_of_the_command_line()
    {
        using var proxy = new Server(_ =>
            System.Text.Encoding.ASCII.GetBytes("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        var ended = ChildProcess.Run(
            [.. ChildProcess.Cli, "train", "--download", "--data-dir", folder, "--out", Path.Combine(folder, "runs")], null,
            ("HTTPS_PROXY", $"http://{proxy.Address.Authority}"), ("https_proxy", $"http://{proxy.Address.Authority}"));
        Assert.True(ended.ExitCode == 2, ended.All);
        Assert.Contains($"downloading {names[0]}", ended.Error, StringComparison.Ordinal);
        Assert.Contains("give their folder with --data-dir", ended.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", ended.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder, "*", SearchOption.AllDirectories));
    }
}
