# What Actipress needs beneath it: .NET 10 and a libstdc++ of GCC 13.2 or newer. Sourced by ./actipress and ./dev.
# Announces whatever it installs; where it may not install, says exactly what is missing and how to get it, and exits with 2.

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

need_dotnet() {
    local found
    found=$(dotnet --list-sdks 2>/dev/null | grep -E '^10\.' | tail -n 1)
    [ -n "$found" ] && return 0
    cat >&2 <<TEXT
actipress: the .NET 10 SDK is missing.
  found:  $(command -v dotnet >/dev/null && dotnet --list-sdks | tr '\n' ';' || echo 'no dotnet on the PATH')
  wanted: a 10.x SDK
  way out: install it as https://learn.microsoft.com/dotnet/core/install/linux says for your system, and start again.
TEXT
    exit 2
}

# TorchSharp 0.107.0 is built with GCC 13: its native library asks for GLIBCXX_3.4.32.
libstdcxx() { ldconfig -p 2>/dev/null | awk '/libstdc\+\+\.so\.6 .*x86-64/ { print $NF; exit }'; }
libstdcxx_is_new_enough() {
    local file; file=$(libstdcxx)
    [ -n "$file" ] && grep -q 'GLIBCXX_3\.4\.32' "$file"
}

need_libstdcxx() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || return 0   # other platforms: the library itself says what it supports
    libstdcxx_is_new_enough && return 0
    local id version
    id=$(. /etc/os-release 2>/dev/null; echo "${ID:-unknown}") version=$(. /etc/os-release 2>/dev/null; echo "${VERSION_ID:-}")
    if [ "$id-$version" = debian-12 ] && [ "$(id -u)" = 0 ]; then
        echo "actipress: libstdc++ is older than TorchSharp needs (GLIBCXX_3.4.32); installing Debian 13's libstdc++6 with apt-get." >&2
        install_libstdcxx_from_trixie && libstdcxx_is_new_enough && return 0
        echo "actipress: that did not work; see the lines above." >&2
    fi
    cat >&2 <<TEXT
actipress: libstdc++ is too old for TorchSharp.
  found:  $(libstdcxx || true) without GLIBCXX_3.4.32, on $id $version
  wanted: libstdc++ of GCC 13.2 or newer (Ubuntu 24.04, Debian 13, Fedora 39 and later have it)
  way out: on Debian 12, as root:
    echo 'deb http://deb.debian.org/debian trixie main' > /etc/apt/sources.list.d/trixie.list
    apt-get update && apt-get install -y -t trixie libstdc++6
    rm /etc/apt/sources.list.d/trixie.list && apt-get update
TEXT
    exit 2
}

install_libstdcxx_from_trixie() {
    local list=/etc/apt/sources.list.d/actipress-trixie.list done=1
    echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main' > "$list"
    apt-get update >&2 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -t trixie \
            -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef libstdc++6 >&2 && done=0
    rm -f "$list"                       # the newer suite served for this one package; nothing else should come from it
    apt-get update >/dev/null 2>&1
    return $done
}
