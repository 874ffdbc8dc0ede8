# Builds the documentation as a site, by docfx: README.md, docs/ and the library's XML comments. Sourced by ./dev; expects $root, build.sh.

docfx_version=2.81.0

site_usage() {
    cat <<'TEXT'
./dev site [FOLDER]   build the site into a folder (artifacts/site), by docfx, which is fetched from NuGet the first time: 0 where it was
                      built, 1 where docfx found a broken link or another fault in the pages, 2 where it could not begin
TEXT
}

# The pages as they lie in the repository, beside docfx's configuration and the page to start at.
site_sources() {
    local to=$1
    rm -rf "$to"
    mkdir -p "$to"
    (cd "$root" && cp --parents -t "$to" README.md CONTRIBUTING.md CHANGELOG.md docs/*.md docs/toc.yml samples/README.md experiments/*/*.md)
    cp -r "$root/docs/site/." "$root/build/icon.png" "$to"
    printf -- '---\nredirect_url: README.html\n---\n' >"$to/index.md"
}

# Silent where docfx finds no fault; otherwise its warnings, with the names that the files have in the repository.
run_docfx() {
    logged "$root" "$tools/docfx" "$@" --warningsAsErrors --logLevel warning 2>&1 | sed "s|^$sources/||; s|^$root/||" >&2
    return "${PIPESTATUS[0]}"
}

site() {
    local folder elsewhere tools=$root/artifacts/docfx/tools sources=$root/artifacts/docfx/sources
    case ${1:-} in
        help | --help | -h) site_usage; return 0 ;;
        -*) echo "dev site: no option '$1'." >&2; site_usage >&2; return 2 ;;
    esac
    folder=$(realpath -m -- "${1:-$root/artifacts/site}")
    # docfx leaves the files of an earlier site, which may have other pages; only its own site is removed.
    if [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ] && ! [ -f "$folder/xrefmap.yml" ]; then
        echo "dev site: found files in $folder that are no earlier site, wanted an empty or a new folder." >&2
        return 2
    fi
    [ -x "$tools/docfx" ] && "$tools/docfx" --version | grep -q "^$docfx_version" ||
        logged "$root" dotnet tool update --tool-path "$tools" docfx --version "$docfx_version" --allow-downgrade ||
        { echo "dev site: docfx $docfx_version could not be fetched from NuGet; see the lines above." >&2; return 2; }

    site_sources "$sources"
    run_docfx metadata "$sources/docfx.json" && run_docfx build "$sources/docfx.json" --output "$sources/built" || {
        echo "dev site: docfx found faults in the pages or in the library's XML comments; see the lines above." >&2
        return 1
    }
    elsewhere=$(grep -rloE --include='*.html' '<(script|link|img|iframe)[^>]* (src|href)="(https?:)?//' "$sources/built" || true)
    [ -z "$elsewhere" ] || {
        echo "dev site: these pages load a script, a style or a picture from elsewhere; put it into docs/:" >&2
        sed "s|^$sources/built/|  |" <<<"$elsewhere" >&2
        return 1
    }
    # The maps of minified scripts are two thirds of the bytes, and serve nobody who reads the pages.
    find "$sources/built/public" -name '*.map' -delete
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    mv "$sources/built" "$folder"
    echo "$folder: $(find "$folder" -name '*.html' | wc -l) pages, $(du -sm "$folder" | cut -f 1) MB."
    # Opened as a file, a page has no table of contents: browsers let no script read another file.
    echo "To read it here: $tools/docfx serve $folder"
}
