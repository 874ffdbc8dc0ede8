using Actipress.Experiments;

namespace Actipress.Tests.Experiments;

public sealed class HtmlPageTests
{
    [Fact]
    public void A_page_is_this_html()
    {
        var page = new HtmlPage("A & B");
        page.Paragraph("Before <all> sections.");
        page.Section("First");
        page.Heading("Within");
        page.Legend([("#102030", "one"), ("#405060", "two")]);
        page.BeginBeside();
        page.Part("Left", ["x"], [["1"]], "below it");
        page.Part("Right", ["y"], [["2"]], "below that");
        page.EndBeside();
        page.Section("Second");
        page.TableBehind("more", ["a", "b\nc"], [["1\n2", $"{HtmlPage.Doubtful}3"], ["<", ""]]);
        page.Image([1, 2, 3], "\"picture\"");
        var html = page.ToString();
        Assert.Contains("<title>A &amp; B</title>", html, StringComparison.Ordinal);
        var body = html[(html.IndexOf("<body>", StringComparison.Ordinal) + "<body>".Length)..];
        Assert.Equal("""

            <h1>A &amp; B</h1>
            <p>Before &lt;all&gt; sections.</p>
            <nav><ul>
            <li><a href="#s1">First</a></li>
            <li><a href="#s2">Second</a></li>
            </ul></nav>
            <h2 id="s1">First</h2>
            <h3>Within</h3>
            <p class="legend"><span><i style="background:#102030"></i>one</span><span><i style="background:#405060"></i>two</span></p>
            <div class="beside">
            <div>
            <h3>Left</h3>
            <div class="wide"><table><thead><tr>
            <th>x</th></tr></thead><tbody>
            <tr><td>1</td></tr>
            </tbody></table></div>
            <figcaption>below it</figcaption></div>
            <div>
            <h3>Right</h3>
            <div class="wide"><table><thead><tr>
            <th>y</th></tr></thead><tbody>
            <tr><td>2</td></tr>
            </tbody></table></div>
            <figcaption>below that</figcaption></div>
            </div>
            <h2 id="s2">Second</h2>
            <details><summary>more</summary>
            <div class="wide"><table><thead><tr>
            <th>a</th><th>b<br>c</th></tr></thead><tbody>
            <tr><td>1<br>2</td><td class="doubtful">3</td></tr>
            <tr><td>&lt;</td><td></td></tr>
            </tbody></table></div>
            </details>
            <figure><img alt="&quot;picture&quot;" src="data:image/png;base64,AQID"><figcaption>&quot;picture&quot;</figcaption></figure>
            </body></html>

            """, body.ReplaceLineEndings("\n"));
    }
}
