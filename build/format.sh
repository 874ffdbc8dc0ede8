# Formats the sources, and finds the lines that are too wide. Sourced by ./dev; expects $root.

most_columns=140

format() {
    local narrow=0
    cd "$root"
    case ${1:-} in
        '') dotnet format ;;
        --check) check_columns || narrow=$?; dotnet format --verify-no-changes && return $narrow ;;
        *) echo "dev format: no option '$1': wanted --check, or none." >&2; return 2 ;;
    esac
}

# 1 where a line of the sources or documents is too wide, and says which. A row of a table, a comment of HTML, and a line with a word of 100
# characters, such as a link, may be wider, since they cannot be broken.
check_columns() {
    local -x LC_ALL=C.UTF-8
    local file number line wide=0
    git -C "$root" rev-parse --git-dir >/dev/null || return 2
    while IFS=: read -r file number line; do
        [[ $file != *.md || ! $line =~ ^[[:space:]]*(\||'<!--') ]] || continue
        [[ ! $line =~ [^[:space:]]{100} ]] || continue
        echo "dev format: $file:$number: found ${#line} columns, wanted at most $most_columns." >&2
        wide=$((wide + 1))
    done < <(cd "$root" && git ls-files -z '*.cs' '*.sh' '*.py' '*.md' dev actipress |
        xargs -0 -r grep -HnE "^.{$((most_columns + 1)),}")
    [ $wide -eq 0 ] || { echo "dev format: break these lines by hand; lines wider than $most_columns columns: $wide." >&2; return 1; }
}
