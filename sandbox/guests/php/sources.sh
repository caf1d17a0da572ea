# Sourced by `build`: how to get the archives that `sources` lists: from Debian, by apt with a configuration of its own (the user's
# is left alone), or from npm.

sources_table=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/sources
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The suites that may name a pinned file; the archive keeps it as long as one of them does.
apt_configuration() {
    local home=$cache/apt trust="signed-by=$keyring" suite archive
    mkdir -p "$home/lists/partial" "$home/cache/archives/partial"
    # Without Debian's keyring (another distribution) the pins alone vouch for the files.
    [ -e "$keyring" ] || trust=trusted=yes
    for suite in bookworm bookworm-updates bookworm-security trixie trixie-updates trixie-security; do
        archive=debian
        [ "${suite%-security}" = "$suite" ] || archive=debian-security
        echo "deb-src [$trust] http://deb.debian.org/$archive $suite main"
    done >"$home/sources.list"
    cat >"$home/apt.conf" <<CONFIGURATION
Dir::Etc::sourcelist "$home/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$home/lists";
Dir::Cache "$home/cache";
APT::Sandbox::User "root";
CONFIGURATION
    printf '%s\n' "$home/apt.conf"
}

is_pinned() { [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status; }

# download PACKAGE=VERSION|npm:PACKAGE@VERSION FILE SHA256 TARGET
download() {
    local parts
    parts=$(mktemp -d "$cache/downloads/.fetch-XXXXXX")
    case $1 in
    npm:*) from_npm "${1#npm:}" ;;
    *) from_debian "$@" ;;
    esac
    if is_pinned "$parts/$2" "$3"; then
        mv "$parts/$2" "$4"
    fi
    rm -rf "$parts"
    [ -f "$4" ]
}

from_debian() {
    local configuration attempt
    configuration=$(apt_configuration)
    say "fetching $1 from Debian"
    # apt refuses to fetch its lists twice at once.
    exec 6>"$cache/apt/lock"
    flock 6
    for attempt in 1 2; do
        # apt's exit status covers every file of the package; only the pinned one is wanted.
        (cd "$parts" && APT_CONFIG=$configuration apt-get source --download-only -qq "$1" >/dev/null 2>&1) || true
        is_pinned "$parts/$2" "$3" && break
        [ "$attempt" = 1 ] && APT_CONFIG=$configuration apt-get update -qq >&2 || true
    done
    exec 6>&-
}

from_npm() {
    command -v npm >/dev/null || die "missing npm, which the source of $1 is fetched with"
    say "fetching $1 from npm"
    (cd "$parts" && npm pack --silent "$1" >/dev/null 2>&1) || true
}

# Prints the path of the archive of a part.
source_archive() {
    local part package file hash kept
    mkdir -p "$cache/downloads"
    while IFS='|' read -r part package file hash; do
        read -r part package file hash <<<"$part $package $file $hash"
        [ "$part" = "$1" ] || continue
        kept=$cache/downloads/${hash:0:16}-$file
        if is_pinned "$kept" "$hash" || download "$package" "$file" "$hash" "$kept"; then
            printf '%s\n' "$kept"
            return
        fi
    done < <(grep -v '^#' "$sources_table")
    die "no pinned source of $1 can be had"
}
