# Runs the tests as a Windows program under Wine. Sourced by ./dev; expects $root and build.sh.

need_wine() {
    command -v wine >/dev/null && return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "dev test --windows: installing Debian's wine and wine64 with apt-get." >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends wine wine64 >&2 && command -v wine >/dev/null && return 0
    fi
    cat >&2 <<'TEXT'
dev test --windows: Wine is missing.
  found:   no wine on the PATH
  wanted:  Wine 8 or newer, 64 bits
  way out: on Debian, as root: apt-get install --no-install-recommends wine wine64
TEXT
    exit 2
}

# Wine keeps its files in a folder of this project. KMP_AFFINITY: Intel's OpenMP ends the process for a call that Wine lacks;
# EnableWriteXorExecute: the runtime maps its code twice, which Wine does not bear.
under_wine() {
    exec env WINEPREFIX="$root/artifacts/windows/wine" WINEDEBUG=-all KMP_AFFINITY=disabled DOTNET_EnableWriteXorExecute=0 \
        ACTIPRESS_UNDER_WINE=1 wine "$@"
}

# What is chosen where nothing is: hooks, checkpoints, the operation observer, kernels of our own, transforms. The rest of the suite runs if
# it is asked for, but a part of it starts Linux programs.
windows_choice=(-namespace Actipress.Tests.Autograd -namespace Actipress.Tests.Transforms -class- '*AbortTests')

# Runs until nothing is left. A test that ends the process (see UnderWine.cs), or after which nothing is heard for two minutes, is counted
# and left out of the next run, as is every class that was through.
windows_tests() {
    need_wine
    echo "dev test --windows: building for win-x64 (the first time also downloads .NET for it, 30 MB)" >&2
    logged "$root" dotnet build tests/Actipress.Tests -c Release -v q -m:1 -p:NuGetAudit=false \
        -p:ProgramRuntime=win-x64 -p:ProgramSelfContained=true \
        --artifacts-path "$root/artifacts/windows" || exit 2
    (under_wine wineboot -i) >/dev/null 2>&1
    local program=$root/artifacts/windows/bin/Actipress.Tests/release_win-x64/Actipress.Tests.exe
    local folder=$root/artifacts/windows/results chosen=("$@") without=() name class run=0
    [ ${#chosen[@]} -gt 0 ] || chosen=("${windows_choice[@]}")
    rm -rf "$folder" && mkdir -p "$folder"
    : >"$folder/passed" >"$folder/skipped" >"$folder/failed"
    while :; do
        run=$((run + 1))
        one_run "$folder/run$run.txt" "$program" "${chosen[@]}" "${without[@]}"
        sed -n 's/^ *\(.*\) \[FINISHED\].*/\1/p' "$folder/run$run.txt" >>"$folder/passed"
        grep -q '=== TEST EXECUTION SUMMARY ===' "$folder/run$run.txt" && break
        name=$(ended_by "$folder/run$run.txt" "$folder") ||
            { echo "dev test --windows: the program ended before its first test; see $folder/run$run.txt" >&2; exit 2; }
        without+=(-method- "$name")
        while read -r class; do without+=(-class- "$class"); done < <(classes_through "$folder/run$run.txt" "${name%.*}")
    done
    WINEPREFIX=$root/artifacts/windows/wine "$(command -v wineserver || echo /usr/lib/wine/wineserver64)" -k || true
    local passed skipped failed
    passed=$(sort -u "$folder/passed" | wc -l) skipped=$(wc -l <"$folder/skipped") failed=$(wc -l <"$folder/failed")
    cat "$folder/failed" "$folder/skipped"
    echo "windows: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

one_run() {
    local log=$1 silent=0 size=0 now; shift
    under_wine "$@" -noColor -reporter verbose >"$log" 2>&1 &
    while kill -0 $! 2>/dev/null; do
        sleep 1
        now=$(stat -c %s "$log")
        [ "$now" = "$size" ] && silent=$((silent + 1)) || silent=0
        size=$now
        [ $silent -lt 120 ] || kill $! 2>/dev/null || true
    done
    wait $! 2>/dev/null || true
}

# The classes of which a run has finished tests, but for the one that it ended in: the runner takes one class after the other.
classes_through() {
    sed -n 's/^ *\([A-Za-z0-9_.+]*\)\.[A-Za-z0-9_]*\((.*\)\? \[FINISHED\].*/\1/p' "$1" | sort -u | grep -vxF "$2"
}

# The method during which a run ended, noted among the failed or the skipped ones.
ended_by() {
    local told method
    told=$(grep -aoE '(SKIPPED|FAILED) UNDER WINE [A-Za-z0-9_.+]+' "$1" | tail -n 1)
    if [ -n "$told" ]; then
        method=${told##* }
        grep -aA1 -F "$told" "$1" | tail -n 1 | sed "s/^ */${told%% *}: windows: /" >>"$2/$(tr A-Z a-z <<<"${told%% *}")"
    else
        method=$(sed -n 's/^ *\(.*\) \[\(STARTING\|FINISHED\)\].*/\1/p' "$1" | tail -n 1)
        [ -n "$method" ] || return 1
        echo "FAILED: windows: $method: nothing more was heard after it" >>"$2/failed"
        method=${method%%(*}
    fi
    echo "$method"
}
