# What Actipress needs beneath it: .NET 10 and a libstdc++ of GCC 12 or newer. Sourced by ./actipress and ./dev; expects $root.
# Nothing of the system is changed. What is missing goes into the folder artifacts, announced, and where it is downloaded asked for; else
# this says exactly what is missing and how to get it, and exits with 2.

# .NET reads it at its start, and without it ends with "Failed to create CoreCLR".
proc() { echo /proc; }

need_proc() {
    [ "$(uname -s)" != Linux ] || [ -r "$(proc)/self/maps" ] && return 0
    cat >&2 <<TEXT
actipress: /proc is not there, and .NET does not start without it.
  found:  no $(proc)/self/maps
  wanted: the system's /proc
  way out: mount -t proc proc /proc; in a container, start it with its own /proc.
TEXT
    exit 2
}

# --- .NET ---

need_dotnet() {
    local own=$root/artifacts/dotnet found
    use_own_dotnet "$own"
    has_sdk && return 0
    found=$(command -v dotnet >/dev/null && dotnet --list-sdks 2>/dev/null | tr '\n' ';' || true)
    if agreed "the .NET 10 SDK is missing; Microsoft's install script can put it into $own (250 MB), for this folder alone." &&
        install_dotnet "$own"; then
        use_own_dotnet "$own"
        has_sdk && return 0
    fi
    cat >&2 <<TEXT
actipress: the .NET 10 SDK is missing.
  found:  ${found:-no dotnet on the PATH}
  wanted: a 10.x SDK
  way out: install it as https://learn.microsoft.com/dotnet/core/install/linux says for your system (Ubuntu: apt-get install
           dotnet-sdk-10.0), or start again in a terminal, or with CI=true, and it is put into this folder.
TEXT
    exit 2
}

has_sdk() { dotnet --list-sdks 2>/dev/null | grep -qE '^10\.'; }

# The SDK's own messages need ICU, which small systems lack; our programs do not.
use_own_dotnet() {
    if [ -x "$1/dotnet" ]; then export DOTNET_ROOT=$1 PATH=$1:$PATH; fi
    ls /usr/lib/*/libicuuc.so.* /usr/lib*/libicuuc.so.* >/dev/null 2>&1 || export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
}

install_dotnet() {
    local script code=0; script=$(mktemp)
    download https://dot.net/v1/dotnet-install.sh "$script" && bash "$script" --channel 10.0 --install-dir "$1" --no-path >&2 || code=1
    rm -f "$script"
    [ $code = 0 ] || echo "actipress: that did not work; see the lines above." >&2
    return $code
}

download() {
    if command -v curl >/dev/null; then curl -fsSL "$1" -o "$2"
    elif command -v wget >/dev/null; then wget -nv -O "$2" "$1"
    else echo "actipress: cannot download $1: found neither curl nor wget on the PATH, wanted one of them." >&2; return 1; fi
}

# In CI there is nobody to ask; elsewhere a person at a terminal answers, and without one nothing is done.
agreed() {
    local answer
    echo "actipress: $1" >&2
    [ -z "${CI:-}" ] || return 0
    at_terminal || return 1
    read -r -p "actipress: do that now? [y/N] " answer
    [[ $answer =~ ^[yY] ]]
}

at_terminal() { [ -t 0 ]; }

# --- oneDNN ---

# Where an AMD processor does not report its caches, as in some virtual machines, libtorch's oneDNN 3.7.1 computes wrong convolutions, with
# or without Actipress. Its kernels for SSE4.1 are right. Linux then has no folder of the processor's caches.
need_right_convolutions() {
    [ -z "${ONEDNN_MAX_CPU_ISA:-}" ] && hides_caches || return 0
    export ONEDNN_MAX_CPU_ISA=SSE41
    echo "actipress: this AMD processor does not report its caches, for which libtorch computes wrong convolutions with its fastest" >&2
    echo "actipress: kernels; ONEDNN_MAX_CPU_ISA=SSE41 chooses slower ones that are right." >&2
}

hides_caches() { grep -qs '^vendor_id.*AuthenticAMD' /proc/cpuinfo && [ ! -d /sys/devices/system/cpu/cpu0/cache ]; }

# --- libstdc++ ---

# TorchSharp 0.107.0 is built with GCC 13 and asks for GLIBCXX_3.4.32, of which it uses nothing; what it uses is in GCC 12's library.
# Debian 12 and Ubuntu 22.04 have that. There the programs get a copy of TorchSharp's library that does not insist: fit_to_libstdcxx.
need_libstdcxx() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || return 0   # other platforms: the library itself says what it supports
    ! libstdcxx_has GLIBCXX_3.4.30 || return 0
    local found system; found=$(libstdcxx)
    system=$(. /etc/os-release 2>/dev/null; echo "${ID:-unknown} ${VERSION_ID:-}")
    ! ls /lib/ld-musl-* >/dev/null 2>&1 || system="$system, whose C library is musl"
    cat >&2 <<TEXT
actipress: libstdc++ is too old for TorchSharp.
  found:  ${found:-no libstdc++.so.6}${found:+ without GLIBCXX_3.4.30}, on $system
  wanted: libstdc++ of GCC 12 or newer on glibc (Debian 12, Ubuntu 22.04, Fedora 36 and later have it)
  way out: a newer system, or a container of one; where the library is missing, Debian's package is libstdc++6.
TEXT
    exit 2
}

# An ordinary user of Debian has no /sbin on the PATH.
libstdcxx() { PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | awk '/libstdc\+\+\.so\.6 .*x86-64/ { print $NF; exit }'; }
libstdcxx_has() {
    local file; file=$(libstdcxx)
    [ -n "$file" ] && grep -qF "$1" "$file"
}

# Whether TorchSharp's library is content as it is.
libstdcxx_is_new() { [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ] || libstdcxx_has GLIBCXX_3.4.32; }

# fit_to_libstdcxx FILE...: each place of TorchSharp's library gets its own copy, in which the version GLIBCXX_3.4.32 is marked as weak
# (ELF's VER_FLG_WEAK: a missing one is no error). The entry is found by the hash of the version's name; its flags are the two bytes behind.
fit_to_libstdcxx() {
    ! libstdcxx_is_new || return 0
    local file at flags
    for file; do
        [ -e "$file" ] || continue
        at=$(LC_ALL=C grep -obUaP '\x42\xf8\x97\x02' "$file" | cut -d: -f1)
        flags=$(od -An -tx1 -j $((${at:-0} + 4)) -N 2 "$file" | tr -d ' ')
        [[ $at =~ ^[0-9]+$ ]] && [ "$flags" = 0200 ] && continue
        if ! [[ $at =~ ^[0-9]+$ ]] || [ "$flags" != 0000 ]; then
            echo "actipress: $file does not ask for GLIBCXX_3.4.32 as TorchSharp 0.107.0 does; it is left as it is." >&2
            continue
        fi
        cp -Lp "$file" "$file.fit"
        printf '\002' | dd of="$file.fit" bs=1 seek=$((at + 4)) conv=notrunc status=none
        mv -f "$file.fit" "$file"
        echo "actipress: this system's libstdc++ is older than GCC 13's: $file is now a copy of TorchSharp's that takes it." >&2
    done
}
