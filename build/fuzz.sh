# Coverage-guided fuzzing of the readers of foreign bytes, by AFL++ and SharpFuzz. Sourced by ./dev; expects $root and build.sh.

sharpfuzz_version=2.3.0

fuzz_usage() {
    cat <<'TEXT'
./dev fuzz --list                    the readers
./dev fuzz TARGET [MINUTES]          fuzz one of them (10 minutes): 0 where nothing was found, 1 where a file breaks the reader's contract
./dev fuzz TARGET --replay FILE...   read files and say what came of them: 0 where the reader kept its contract, 1 where it did not
TEXT
}

need_afl() {
    command -v afl-fuzz >/dev/null && return 0
    cat >&2 <<'TEXT'
dev fuzz: AFL++ is missing.
  found:   no afl-fuzz on the PATH
  wanted:  AFL++ 4 or newer
  way out: on Debian and Ubuntu, as root: apt-get install afl++. Elsewhere: https://aflplus.plus/docs/install
TEXT
    exit 2
}

# A copy of the program whose assemblies tell the fuzzer where they run.
instrument() {
    local from=$1 to=$2 tools=$root/artifacts/fuzz/tools assembly
    [ -x "$tools/sharpfuzz" ] || dotnet tool install --tool-path "$tools" SharpFuzz.CommandLine --version "$sharpfuzz_version" >&2
    rm -rf "$to"
    mkdir -p "$to"
    cp -a "$from/." "$to"
    for assembly in Actipress Actipress.Data Actipress.Experiments; do
        rm "$to/$assembly.dll"
        cp -L "$from/$assembly.dll" "$to/$assembly.dll"
        "$tools/sharpfuzz" "$to/$assembly.dll" >&2
    done
}

fuzz() {
    local target=${1:-} program folder largest seconds found scratch code=0
    case $target in
        '' | help | --help | -h) fuzz_usage; return 0 ;;
    esac
    build fuzz/Actipress.Fuzz
    program=$(output_of Actipress.Fuzz)
    if [ "$target" = --list ]; then
        dotnet "$program/Actipress.Fuzz.dll" --list | cut -d ' ' -f 1
        return 0
    fi
    largest=$(dotnet "$program/Actipress.Fuzz.dll" --list | awk -v name="$target" '$1 == name { print $2 }')
    [ -n "$largest" ] || { echo "dev fuzz: no target '$target'; ./dev fuzz --list lists them." >&2; return 2; }
    if [ "${2:-}" = --replay ]; then
        shift 2
        dotnet "$program/Actipress.Fuzz.dll" "$target" --replay "$@" || return 1
        return 0
    fi
    [[ ${2:-10} =~ ^[0-9]+$ ]] || { echo "dev fuzz: '$2' minutes: wanted a whole number." >&2; fuzz_usage >&2; return 2; }
    seconds=$((${2:-10} * 60))
    need_afl

    folder=$root/artifacts/fuzz/$target
    instrument "$program" "$folder/program"
    rm -rf "$folder/in" "$folder/out"
    mkdir -p "$folder/in"
    dotnet "$program/Actipress.Fuzz.dll" "$target" --seeds "$folder/in"
    [ -d "$root/fuzz/seeds/$target" ] && cp "$root/fuzz/seeds/$target"/* "$folder/in"

    scratch=$(mktemp -d /dev/shm/actipress-fuzz.XXXXXX)
    # A reader that takes memory out of proportion is found by its own bound first, and by these where it takes all at once: 1 GiB for the
    # collector, 8 GiB of addresses (libtorch and the runtime have 4 of them). AFL's own messages go to a file.
    (
        ulimit -v $((8 << 20)) -c 0
        export DOTNET_GCHeapHardLimit=0x40000000 DOTNET_gcConcurrent=0 OMP_NUM_THREADS=1 TMPDIR=$scratch
        export AFL_SKIP_BIN_CHECK=1 AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_NO_AFFINITY=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1
        exec nice -n 19 afl-fuzz -i "$folder/in" -o "$folder/out" -G "$largest" -x "$root/fuzz/json.dict" \
            -t 5000 -m none -V "$seconds" -- dotnet "$folder/program/Actipress.Fuzz.dll" "$target"
    ) >"$folder/afl.log" 2>&1 || code=$?
    rm -rf "$scratch"
    if [ $code -ne 0 ]; then
        tail -n 30 "$folder/afl.log" >&2
        echo "dev fuzz: AFL++ ended with $code; $folder/afl.log has all that it said." >&2
        return 2
    fi
    grep -E '^(execs_done|execs_per_sec|corpus_count|bitmap_cvg|saved_crashes|saved_hangs) ' "$folder/out/default/fuzzer_stats"
    found=$(find "$folder/out/default/crashes" -name 'id:*'; find "$folder/out/default/hangs" -name 'id:*' | while read -r hang; do
        # On a busy machine anything may take five seconds: a hang is what takes a minute when nothing else is read.
        timeout 60 dotnet "$program/Actipress.Fuzz.dll" "$target" --replay "$hang" >/dev/null 2>&1 || echo "$hang"
    done)
    [ -z "$found" ] && return 0
    echo "dev fuzz: '$target' broke its contract. Replay by"
    sed "s|^|  ./dev fuzz $target --replay |" <<<"$found"
    return 1
}
