# Sourced by `build`: the source archives, and how to get them.
#
# Everything is an upstream archive as Debian keeps it, fetched by apt with a configuration of its own (the user's is left
# alone) and pinned by SHA-256. A version that has left the archive is followed by the next line for the same part.

# part | source package = version | file | SHA-256
sources='
php     | php8.2=8.2.32-1~deb12u1                         | php8.2_8.2.32.orig.tar.xz                    | e02aa173c236c12791696254d607da680e6d5516f8f5c2339642de7c4f944bd2
php     | php8.2=8.2.36-1~deb12u1                         | php8.2_8.2.36.orig.tar.xz                    | df50a00d2b453096608bf2bd98a9fab9a3df8678a77b93011b65c3cfe9a018fa
sqlite  | sqlite3=3.46.1-7+deb13u2                        | sqlite3_3.46.1.orig.tar.xz                   | d0cdd2ece271b29e7ce18095745d892517ee26d0f270065b3a25c2e9eb11639c
zlib    | zlib=1:1.3.dfsg+really1.3.1-1+deb13u1           | zlib_1.3.dfsg+really1.3.1.orig.tar.gz        | 60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb
zlib    | zlib=1:1.3.dfsg+really1.3.1-1                   | zlib_1.3.dfsg+really1.3.1.orig.tar.gz        | 60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb
libxml2 | libxml2=2.12.7+dfsg+really2.9.14-2.1+deb13u3    | libxml2_2.12.7+dfsg+really2.9.14.orig.tar.xz | 4fe913dec8b1ab89d13b489b419a8203176ea39e931eaa0d25b17eafb9c279e9
libxml2 | libxml2=2.12.7+dfsg+really2.9.14-2.1+deb13u1    | libxml2_2.12.7+dfsg+really2.9.14.orig.tar.xz | 4fe913dec8b1ab89d13b489b419a8203176ea39e931eaa0d25b17eafb9c279e9
musl    | musl=1.2.5-3.1~deb13u1                          | musl_1.2.5.orig.tar.gz                       | a9a118bbe84d8764da0ea0d28b3ab3fae8477fc7e4085d90102b8596fc7c75e4
'

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

# download PACKAGE=VERSION FILE SHA256 TARGET
download() {
    local configuration parts
    configuration=$(apt_configuration)
    parts=$(mktemp -d "$cache/downloads/.fetch-XXXXXX")
    say "fetching $1 from Debian"
    for attempt in 1 2; do
        # apt's exit status covers every file of the package; only the pinned one is wanted.
        (cd "$parts" && APT_CONFIG=$configuration apt-get source --download-only -qq "$1" >/dev/null 2>&1) || true
        is_pinned "$parts/$2" "$3" && break
        [ "$attempt" = 1 ] && APT_CONFIG=$configuration apt-get update -qq >&2 || true
    done
    if is_pinned "$parts/$2" "$3"; then
        mv "$parts/$2" "$4"
    fi
    rm -rf "$parts"
    [ -f "$4" ]
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
    done <<<"$sources"
    die "no pinned source of $1 can be had from Debian"
}
