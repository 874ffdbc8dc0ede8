# Makes the NuGet package and tries it as a user would: in a project of its own, outside the repository. Sourced by ./dev; expects $root.

package_usage() {
    cat <<'TEXT'
./dev package                    the libraries' packages and their symbols into artifacts/package
./dev package --tool             the command line as a .NET tool into artifacts/package: 140 MB, since libtorch is in it
./dev package --check [WHAT...]  make them, and try them from a local feed: contents, run, publish, samples, tool (all where none is named);
                                 0 where everything is as it should be, 1 where something is not
TEXT
}

package() {
    case ${1:-} in
        '') make_package && ls -1 "$root"/artifacts/package/Actipress.{[0-9],Distributed.}*upkg ;;
        --tool) make_tool && ls -1 "$root"/artifacts/package/Actipress.Tool.*nupkg ;;
        --check) shift; check_package "$@" ;;
        *) package_usage; [[ $1 =~ ^(--help|-h|help)$ ]] || return 2 ;;
    esac
}

# Built apart from the other builds, whose files name this machine's folders; a package's name none.
make_package() {
    rm -f "$root"/artifacts/package/Actipress.{[0-9],Distributed.}*upkg
    local library
    for library in Actipress Actipress.Distributed; do
        logged "$root" dotnet pack "src/$library" -c Release -v q -m:1 -o "$root/artifacts/package" \
            --artifacts-path "$root/artifacts/package-build" -p:ContinuousIntegrationBuild=true || return
    done
}

make_tool() {
    rm -f "$root"/artifacts/package/Actipress.Tool.*nupkg
    logged "$root" dotnet pack src/Actipress.Cli -c Release -v q -m:1 -o "$root/artifacts/package" \
        --artifacts-path "$root/artifacts/package-build" -p:ContinuousIntegrationBuild=true -p:PackTool=true
}

check_package() {
    local what checks=(contents run publish samples tool)
    [ $# -eq 0 ] || checks=("$@")
    for what in "${checks[@]}"; do
        declare -F "check_$what" >/dev/null || { echo "dev package: no check '$what'." >&2; package_usage >&2; return 2; }
    done
    passed=0 failed=0
    make_package || { echo "FAILED: making the package"; return 1; }
    command -v unzip >/dev/null ||
        { echo "dev package: wanted unzip, to look into packages. On Debian: apt-get install unzip" >&2; return 2; }
    place=$(mktemp -d "${TMPDIR:-/tmp}/actipress-package.XXXXXX")
    trap 'rm -rf "$place"' EXIT
    fit_packages
    for what in "${checks[@]}"; do "check_$what"; done
    echo "package: $passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

# Where this system's libstdc++ is older than TorchSharp asks for, the projects get a copy of TorchSharp's package whose library takes it.
fit_packages() {
    libstdcxx_is_new && return
    local copy=$place/packages/torchsharp/0.107.0
    mkdir -p "$(dirname "$copy")"
    cp -r "$(user_packages)/torchsharp/0.107.0" "$copy"
    fit_to_libstdcxx "$copy/runtimes/linux-x64/native/libLibTorchSharp.so"
}

user_packages() { echo "${NUGET_PACKAGES:-$HOME/.nuget/packages}"; }

# check NAME COMMAND...: one line, and a failed check's own words.
check() {
    local name=$1 log=$place/log; shift
    if "$@" >"$log" 2>&1; then passed=$((passed + 1)); echo "ok: package: $name"; return 0; fi
    failed=$((failed + 1)); echo "FAILED: package: $name"; sed 's/^/    /' "$log" | tail -n 40
}

# --- contents ---

check_contents() {
    local file nuspec=$place/nuspec
    unzip -qo "$root"/artifacts/package/Actipress.[0-9]*.nupkg -d "$place/package"
    unzip -qo "$root"/artifacts/package/Actipress.[0-9]*.snupkg -d "$place/symbols"
    cp "$place"/package/Actipress.nuspec "$nuspec"
    check "depends on TorchSharp 0.107.0 alone" depends_on "$nuspec" '"TorchSharp" version="[0.107.0]"'
    unzip -qo "$root"/artifacts/package/Actipress.Distributed.*.nupkg -d "$place/distributed"
    check "Actipress.Distributed depends on the same version of Actipress alone" \
        depends_on "$place/distributed/Actipress.Distributed.nuspec" '"Actipress" version="[0.1.0]"'
    for file in README.md icon.png lib/net10.0/Actipress.dll lib/net10.0/Actipress.xml buildTransitive/net10.0/Actipress.targets; do
        check "has $file" test -s "$place/package/$file"
    done
    for file in '<license type="expression">MIT</license>' '<icon>icon.png</icon>' '<readme>README.md</readme>' '<tags>torchsharp '; do
        check "says $file" grep -qF "$file" "$nuspec"
    done
    check "symbols in a package of their own" test -s "$place/symbols/lib/net10.0/Actipress.pdb"
    check "names no folder of this machine" names_no_folder
    check "a clone's origin is its URL, in links and in sources too" leads_to_origin
}

# depends_on NUSPEC DEPENDENCY: on that alone.
depends_on() {
    local found; found=$(grep -oE '<dependency id="[^"]+" version="[^"]+"' "$1")
    echo "found: $found"
    [ "$found" = "<dependency id=$2" ]
}

names_no_folder() { ! grep -laF "$root" -r "$place/package" "$place/distributed" "$place/symbols"; }

# Packs a clone of this commit, with the working tree's project files, whose remote is somewhere public.
leads_to_origin() {
    local clone=$place/clone url=https://github.com/somebody/actipress commit
    git clone -q "$root" "$clone" && git -C "$clone" remote set-url origin "$url.git" && commit=$(git -C "$clone" rev-parse HEAD)
    (cd "$clone" && dotnet pack src/Actipress -c Release -v q -m:1 -o "$clone/out" -p:ContinuousIntegrationBuild=true) || return 1
    unzip -qo "$clone"/out/*.nupkg -d "$clone/out" && unzip -qo "$clone"/out/*.snupkg -d "$clone/out"
    grep -F "<projectUrl>$url</projectUrl>" "$clone/out/Actipress.nuspec" &&
        grep -F "url=\"$url.git\"" "$clone/out/Actipress.nuspec" &&
        diff <(sed "s|]($url/blob/$commit/|](|g" "$clone/out/README.md") "$clone/README.md" &&
        ! grep -oE '\]\([a-z]+/[^)]*\)' "$clone/out/README.md" &&
        grep -qaF "\"/_/*\":\"https://raw.githubusercontent.com/somebody/actipress/$commit/*\"" "$clone/out/lib/net10.0/Actipress.pdb"
}

# --- run and publish ---

# local_feed PROJECT [PACKAGES]: the package comes from a local feed into a package folder of its own, since the version number does not
# change from one try to the next; everything else comes from the user's folder.
local_feed() {
    cat >"$1/nuget.config" <<TEXT
<configuration>
  <config><add key="globalPackagesFolder" value="${2:-$place/packages}" /></config>
  <fallbackPackageFolders><add key="user" value="$(user_packages)" /></fallbackPackageFolders>
  <packageSources><add key="feed" value="$root/artifacts/package" /></packageSources>
</configuration>
TEXT
}

# consumer PROJECT [PACKAGES]: an empty project with the README's example.
consumer() {
    mkdir -p "$1"
    local_feed "$@"
    cat >"$1/consumer.csproj" <<'TEXT'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net10.0</TargetFramework>
    <ImplicitUsings>enable</ImplicitUsings>
    <Nullable>enable</Nullable>
  </PropertyGroup>
  <ItemGroup>
    <PackageReference Include="Actipress" Version="*" />
    <PackageReference Include="TorchSharp-cpu" Version="0.107.0" />
  </ItemGroup>
</Project>
TEXT
    {
        echo 'using Actipress; using TorchSharp; using static TorchSharp.torch; using static TorchSharp.torch.nn;'
        awk '/^```csharp/ { inside = 1; next } /^```/ && inside { exit } inside' "$root/README.md"
    } >"$1/Program.cs"
}

# The README's example prints its report: a line of its layer and one of the sum.
prints_report() {
    "$@" | tee "$place/report"
    grep -qE '^1 \(BatchNorm2d\) .*dct:' "$place/report" && grep -qE '^all .* %' "$place/report"
}

builds_without_warning() { dotnet build "$1" -v q -m:1 -warnaserror; }

check_run() {
    consumer "$place/run"
    check "an empty project builds with it, without a warning" builds_without_warning "$place/run"
    check "the README's example runs there" prints_report dotnet "$place/run/bin/Debug/net10.0/consumer.dll"
    check "says in one sentence that libstdc++ is too old" says_what_is_missing
}

# TorchSharp's own library with this system's libstdc++ without the version that it asks for, and without that version's one function.
says_what_is_missing() {
    consumer "$place/old" "$place/own-packages"
    cat >"$place/old/Program.cs" <<'TEXT'
try { Actipress.SavedTensors.SelfCheck(); } catch (PlatformNotSupportedException refusal) { Console.WriteLine(refusal.Message); }
TEXT
    (cd "$place/old" && dotnet build -v q -m:1) || return 1
    LC_ALL=C sed \
        's/GLIBCXX_3\.4\.32\x00/GLIBCXX_3.4.xx\x00/g; s/ios_base_library_initv\x00/ios_base_library_initx\x00/g' \
        "$(libstdcxx)" >"$place/old/libstdc++.so.6"
    local said; said=$(LD_LIBRARY_PATH=$place/old dotnet "$place/old/bin/Debug/net10.0/consumer.dll" 2>&1)
    echo "$said"
    grep -qx 'TorchSharp 0.107.0 cannot run here: found a libstdc++.so.6 without GLIBCXX_3.4.32, wanted .*' <<<"$said" &&
        [ "$(wc -l <<<"$said")" = 1 ]
}

publishes() {
    local folder=$place/out
    rm -rf "$folder"
    (cd "$place/run" && dotnet publish -c Release -v q -m:1 -r linux-x64 -o "$folder" "$@") || return 1
    prints_report "$folder/consumer" || return 1
    rm -rf "$folder"
}

refuses_to_publish() {
    local words
    words=$(cd "$place/run" && dotnet publish -c Release -v q -m:1 -r linux-x64 -o "$place/out" "$@" 2>&1) &&
        { echo "it was published"; return 1; }
    echo "$words"
    [ ! -e "$place/out/consumer" ] && grep -q 'error ACTIPRESS001: Found .*=true, wanted' <<<"$words"
}

check_publish() {
    consumer "$place/run"
    check "published framework-dependent" publishes --no-self-contained
    check "published self-contained" publishes --self-contained
    check "published as a single file" publishes --self-contained -p:PublishSingleFile=true
    check "published as a single file with the native libraries in it" \
        publishes --self-contained -p:PublishSingleFile=true -p:IncludeNativeLibrariesForSelfExtract=true
    check "published with .NET's own libraries trimmed" publishes --self-contained -p:PublishTrimmed=true -p:TrimMode=partial
    check "refuses to be trimmed itself" refuses_to_publish --self-contained -p:PublishTrimmed=true
    check "refuses ahead-of-time compilation" refuses_to_publish -p:PublishAot=true
}

# --- samples ---

# Each sample as somebody who has copied its folder.
check_samples() {
    local project name
    mkdir -p "$place/samples"
    local_feed "$place/samples"
    for project in "$root"/samples/*/*.csproj; do
        name=$(basename "$project" .csproj)
        mkdir -p "$place/samples/$name" && cp "$project" "$root/samples/$name"/*.cs "$place/samples/$name"
        check "sample $name builds without a warning" builds_without_warning "$place/samples/$name"
        check "sample $name runs" dotnet "$place/samples/$name/bin/Debug/net10.0/$name.dll"
        rm -rf "${place:?}/samples/$name"
    done
}

# --- tool ---

check_tool() {
    local libraries
    mkdir -p "$place/tool"
    local_feed "$place/tool"
    check "the command line packs as a tool" make_tool
    check "the tool installs" dotnet tool install Actipress.Tool --tool-path "$place/tool/bin" --configfile "$place/tool/nuget.config"
    mapfile -d '' -t libraries < <(find "$place/tool/bin" -name libLibTorchSharp.so -print0)
    fit_to_libstdcxx "${libraries[@]}"
    check "the tool finds its hooks" tool_has_hooks
    check "the tool trains" "$place/tool/bin/actipress" train --epochs 1 --train-examples 256 --test-examples 100 --out "$place/tool/runs"
}

tool_has_hooks() { "$place/tool/bin/actipress" status | tee "$place/status"; grep -qx 'hooks *work' "$place/status"; }
