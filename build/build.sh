# Builds a project in the release configuration. Sourced by ./actipress and ./dev; expects $root.

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

# Where a program lies once it is built.
output_of() { echo "$root/artifacts/bin/$1/release_linux-x64"; }

has_newer_source() {
    [ -n "$(cd "$root" && find src benchmarks tests Directory.*.props global.json -newer "$1" \
        \( -name '*.cs' -o -name '*.csproj' -o -name '*.props' -o -name '*.json' \) -print -quit)" ]
}

# Builds a program where a source is newer than it, or where it was built for another libtorch (TORCH_BACKEND); says so, since the first
# time takes a minute.
build_when_changed() {
    local project=$1 program
    program=$(output_of "$(basename "$project")")/$(basename "$project").dll
    if [ -f "$program" ] && [ "$(cat "$program.backend" 2>/dev/null)" = "${TORCH_BACKEND:-}" ] && ! has_newer_source "$program"; then
        return 0
    fi
    echo "actipress: building (the first time also downloads TorchSharp, 0.5 GB)" >&2
    build "$project" && touch "$program" && echo "${TORCH_BACKEND:-}" >"$program.backend"
}

# The seconds since a process began, on a terminal, until it ends.
show_seconds() {
    local begun=$SECONDS
    [ -t 2 ] && [ "${TERM:-dumb}" != dumb ] || return 0
    while kill -0 "$1" 2>/dev/null; do
        [ $((SECONDS - begun)) -lt 2 ] || printf '\r\e[Kactipress: building, %s s (the first time takes a minute)' $((SECONDS - begun)) >&2
        sleep 1
    done
    printf '\r\e[K' >&2
}

# Silent but for the seconds where it works; the compiler's own words where it does not.
build() {
    if ! mkdir -p "$root/artifacts" 2>/dev/null || ! [ -w "$root/artifacts" ]; then
        echo "actipress: cannot build: found that $root/artifacts cannot be written, wanted a folder for what is built." >&2
        echo "  way out: copy this folder to where you may write." >&2
        exit 2
    fi
    local log building; log=$(mktemp)
    (
        cd "$root" && exec dotnet build "$1" -c Release -v q -m:1 -p:NuGetAudit=false ${TORCH_BACKEND:+-p:TorchBackend=$TORCH_BACKEND}
    ) >"$log" 2>&1 &
    building=$!
    # What runs in the background does not hear Ctrl-C.
    trap 'kill $building; rm -f "$log"; exit 130' INT TERM
    show_seconds $building
    if ! wait $building; then
        cat "$log" >&2
        rm -f "$log"
        echo "actipress: building $1 failed; see the lines above." >&2
        exit 2
    fi
    trap - INT TERM
    rm -f "$log"
    fit_to_libstdcxx "$root"/artifacts/bin/*/*/libLibTorchSharp.so
}

# Silent where it works: the command's own words where it does not.
logged() {
    local folder=$1 log code=0; shift
    log=$(mktemp)
    (cd "$folder" && "$@") >"$log" 2>&1 || { code=1; cat "$log" >&2; }
    rm -f "$log"
    return $code
}
