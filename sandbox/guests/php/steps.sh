# Sourced by `build` and `train`: what happens in a work folder before and around the make of recipe.mk.

trap 'exit 130' INT
trap 'exit 143' TERM

# The GCC that compiles, as it names itself: another one makes other code, and reads other counts.
gcc_version() {
    local gcc=gcc
    command -v gcc-12 >/dev/null && gcc=gcc-12
    "$gcc" --version | sed -n '1s/^[^ ]* //p'
}

# ask TARGET: what the recipe says of itself.
ask() {
    make --silent --makefile="$here/recipe.mk" RECIPE="$here" WITH="$with" "$1"
}

# work_folder NAME: makes the work folder of that name and takes it; $work is where it is. Another recipe may be at work on the same
# objects: a changed source of ours, or a build that was left alone.
work_folder() {
    work=$cache/work/$1
    mkdir -p "$work"
    exec 8>"$work.lock"
    flock 8
}

# The sources, unpacked, and what is made of them for every compiler.
prepare() {
    if [ ! -e "$work/source/.done" ]; then
        step sources
        run_logged sources unpack
    fi
    run_make prepared prepared
}

unpack() {
    local part archive
    rm -rf "$work/source"
    for part in "${parts[@]}"; do
        archive=$(source_archive "$part")
        mkdir -p "$work/source/$part"
        tar -xf "$archive" --strip-components=1 -C "$work/source/$part"
    done
    for patch in "$here"/patches/*/*.patch; do
        part=$(basename "$(dirname "$patch")")
        [ -d "$work/source/$part" ] || continue
        patch --directory="$work/source/$part" --strip=1 --forward <"$patch"
    done
    # The compiler sees the size of the array alone; recipe.mk makes an object of the bytes.
    (
        cd "$work/source/php/ext/fileinfo"
        sed 1,3d data_file.c >magic.c
        sed -i -n 's/^const \(unsigned char php_magic_database\[[0-9]*\]\) = {.*/extern const \1;/p' data_file.c
        [ -s data_file.c ]
    )
    # Generated parsers are part of the archive; equal times keep make from wanting bison and re2c.
    find "$work/source" -exec touch --no-dereference --date '2024-01-01 UTC' {} +
    touch "$work/source/.done"
}

# compile CC [make argument]...: the program, php/zapp/php in the work folder.
compile() {
    local compiler=$1
    shift
    run_make build php/zapp/php HOST="$host" CC="$compiler" PROFILE="${profile-}" "$@"
    [ -x "$work/php/zapp/php" ]
}

# run_make LOG ARGUMENT...: make by recipe.mk in the work folder.
run_make() {
    local log=$1
    shift
    run_logged "$log" make --directory="$work" --makefile="$here/recipe.mk" --jobs="$jobs" RECIPE="$here" WITH="$with" "$@"
}

# run_logged NAME FUNCTION [ARGUMENT]...: what it prints goes to $work/NAME.log, what it says of its progress to stderr.
run_logged() {
    local log=$work/$1.log status
    shift
    # Not in a condition, because bash would ignore a failing command of the function there. What listens does not hear of an
    # interruption and ends when nobody speaks any more: then nothing is running, and only then does the script end.
    set +e
    ( set -e; "$@" ) 2>&1 8>&- 9>&- | ( trap '' INT TERM; tee "$log" | progress )
    status=${PIPESTATUS[0]}
    set -e
    if [ "$status" -ne 0 ]; then
        grep -nE '(^|[^-])error[: ]|Error [0-9]+|undefined reference' "$log" | head -20 >&2 || true
        die "failed; the whole story is in $log"
    fi
}

# Passes on how far it is: a line for each step, and with $ZAPP_PROGRESS one for each file.
progress() {
    local line total=0 compiled=0 more already
    while IFS= read -r line; do
        case $line in
        'php '*': '*) printf '%s\n' "$line" >&2 ;;
        'step '*) step "${line#step }" ;;
        'total '*)
            read -r _ more already <<<"$line"
            total=$((total + more)) compiled=$((compiled + already))
            ;;
        'compiled '*)
            compiled=$((compiled + 1))
            [ -z "${ZAPP_PROGRESS-}" ] || [ "$compiled" -gt "$total" ] || say "$compiled of $total files"
            ;;
        esac
    done
}

# Says which step begins. recipe.mk knows the names.
step() {
    case $1 in
    sources) say "step 1 of 4: sources" ;;
    configure) say "step 2 of 4: configure, beside it SQLite" ;;
    php) say "step 3 of 4: PHP and its libraries" ;;
    link) say "step 4 of 4: link" ;;
    *) say "$1" ;;
    esac
}

install_tools() {
    local missing=() pair
    for pair in gcc:gcc make:make tclsh:tcl xz:xz-utils patch:patch perl:perl-base apt-get:apt; do
        command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ -e /usr/include/stdio.h ] || missing+=(libc6-dev) # tools that run while building are made by the plain gcc
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ]; then
        die "missing tools; run: sudo apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    local install=(apt-get install -qq -y --no-install-recommends "${missing[@]}")
    DEBIAN_FRONTEND=noninteractive "${install[@]}" >&2 ||
        { apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive "${install[@]}" >&2; }
}

# A native compiler that knows nothing but musl: $work/cc.
native_compiler() {
    [ -x "$work/cc" ] || run_logged libc native_libc
}

native_libc() {
    local libc=${ZAPP_NATIVE_LIBC-}
    if [ -z "$libc" ]; then
        libc=$work/libc
        mkdir -p "$work/build-libc"
        cd "$work/build-libc"
        "$work/source/musl/configure" --prefix="$libc" --disable-shared CFLAGS='-O2 -march=x86-64-v2'
        make --jobs="$jobs"
        make install
    fi
    cat >"$work/musl.specs" <<SPECS
%rename cpp_options old_cpp_options

*cpp_options:
-nostdinc -isystem $libc/include -isystem include%s %(old_cpp_options)

*cc1:
%(cc1_cpu) -nostdinc -isystem $libc/include -isystem include%s

*link_libgcc:
-L$libc/lib -L .%s

*libgcc:
libgcc.a%s %:if-exists(libgcc_eh.a%s)

*startfile:
$libc/lib/crt1.o $libc/lib/crti.o crtbeginT.o%s

*endfile:
crtend.o%s $libc/lib/crtn.o

*link:
-nostdlib -static

*esp_link:


*esp_options:


*esp_cpp_options:


SPECS
    # The options that the guest compiler adds as well, so that a comparison measures the sandbox and nothing else.
    cat >"$work/cc.tmp" <<CC
#!/bin/sh
exec gcc -specs=$work/musl.specs -march=x86-64-v2 -fno-pie -fcf-protection=none -fno-stack-protector -fomit-frame-pointer "\$@" -static -no-pie
CC
    chmod +x "$work/cc.tmp"
    mv "$work/cc.tmp" "$work/cc"
}
