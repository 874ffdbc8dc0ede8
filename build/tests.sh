# Runs the tests. Sourced by ./dev; expects $root and build.sh.

# The namespaces of the second process, whose tests take half of the time of all tests. Most train or start programs.
others=(Backward Cli Data Distributed Experiments Forward Scalars)

# Runs the tests that the runner's options choose, or all: in two processes, each on a core.
run_tests() {
    build tests/Actipress.Tests
    local runner; runner=$(output_of Actipress.Tests)/Actipress.Tests
    if [ $# -gt 0 ] && [ "$*" != -noColor ]; then
        "$runner" "$@"
        return
    fi
    # Threads that wait for work would otherwise spin on the other process's core.
    export OMP_WAIT_POLICY=passive
    # libtorch warns of each convolution that NNPACK, which some processors do not support, would have taken.
    export TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}
    local ours=() theirs=() name log other status=0
    for name in "${others[@]}"; do
        ours+=(-namespace- "Actipress.Tests.$name")
        theirs+=(-namespace "Actipress.Tests.$name")
    done
    log=$(mktemp -d)
    mkdir -p "$root/artifacts/tests"
    "$runner" "$@" "${theirs[@]}" -xml "$root/artifacts/tests/theirs.xml" >"$log/theirs" 2>&1 &
    other=$!
    # What runs in the background does not hear Ctrl-C.
    trap 'kill $other 2>/dev/null; rm -rf "$log"; exit 130' INT TERM
    "$runner" "$@" "${ours[@]}" -xml "$root/artifacts/tests/ours.xml" 2>&1 | tee "$log/ours" || status=1
    echo "dev test: waiting for the second process" >&2
    wait $other || status=1
    trap - INT TERM
    cat "$log/theirs"
    slowest "$root"/artifacts/tests/*.xml
    failures "$log/ours" "$log/theirs"
    summary "$log/ours" "$log/theirs" || status=1
    rm -rf "$log"
    return $status
}

# The ten tests that took the longest, in seconds.
slowest() {
    echo "dev test: the slowest tests; all are in artifacts/tests"
    grep -hoE '<test [^>]*>' "$@" | sed -E 's/.* name="([^"]*)".* time="([0-9.]*)".*/\2 s  \1/; s/\\&quot;/"/g' | sort -rn | sed -n 1,10p
}

# Repeats what failed, so that it stands at the end: the first 12 lines of each failure.
failures() { awk '/\[FAIL\]$/ { lines = 12 } lines > 0 { print "failed: " $0; lines-- }' "$@"; }

# Adds up the last lines of several runs: Total: N, Errors: N, Failed: N, Skipped: N. Fails where a run has none.
summary() {
    local file line t e f s total=0 errors=0 failed=0 skipped=0
    for file; do
        line=$(grep -oE 'Total: [0-9]+, Errors: [0-9]+, Failed: [0-9]+, Skipped: [0-9]+' "$file" | tail -n 1)
        [ -n "$line" ] || { echo "dev test: a process with tests ended before its last test." >&2; return 1; }
        read -r t e f s <<<"$(grep -oE '[0-9]+' <<<"$line" | tr '\n' ' ')"
        total=$((total + t)) errors=$((errors + e)) failed=$((failed + f)) skipped=$((skipped + s))
    done
    echo "all: Total: $total, Errors: $errors, Failed: $failed, Skipped: $skipped"
}
