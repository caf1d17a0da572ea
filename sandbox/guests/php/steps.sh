# Sourced by `build`: the steps, each leaving a stamp in its work folder, so that none is done twice.

# step WORK NAME FUNCTION [ARGUMENT]...: runs the function with WORK as the variable `work`, output into a log.
step() {
    local stamp=$1/.done-$2 log=$1/$2.log name=$2 function=$3
    mkdir -p "$1"
    [ -e "$stamp" ] && return
    say "$host: $name"
    shift 3
    run_logged "$log" "$function" "$@"
    touch "$stamp"
}

run_logged() {
    local log=$1
    shift
    # In the background, because bash ignores a failing command of a function that stands in a condition.
    ( set -e; "$@" ) >"$log" 2>&1 9>&- 8>&- &
    if ! wait $!; then
        grep -nE '(^|[^-])error[: ]|Error [0-9]+|undefined reference' "$log" | head -20 >&2 || true
        die "failed; the whole story is in $log"
    fi
}

install_tools() {
    local missing=() pair
    for pair in gcc:gcc make:make tclsh:tcl xz:xz-utils patch:patch apt-get:apt; do
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

unpack() {
    local part archive
    for part in php sqlite zlib libxml2 musl; do
        archive=$(source_archive "$part")
        rm -rf "$work/source/$part"
        mkdir -p "$work/source/$part"
        tar -xf "$archive" --strip-components=1 -C "$work/source/$part"
    done
    for patch in "$here"/patches/*.patch; do
        patch --directory="$work/source/php" --strip=1 --forward <"$patch"
    done
    # Generated parsers are part of the archive; equal times keep make from wanting bison and re2c.
    find "$work/source" -exec touch --no-dereference --date '2024-01-01 UTC' {} +
}

# A native compiler that knows nothing but musl: $work/cc.
native_libc() {
    local libc=${ZAPP_NATIVE_LIBC-}
    if [ -z "$libc" ]; then
        libc=$work/libc
        mkdir -p "$work/build-libc"
        cd "$work/build-libc"
        "$work/source/musl/configure" --prefix="$libc" --disable-shared CFLAGS='-O2 -march=x86-64-v2'
        make -j"$jobs"
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
    cat >"$work/cc" <<CC
#!/bin/sh
exec gcc -specs=$work/musl.specs -march=x86-64-v2 -fno-pie -fcf-protection=none -fno-stack-protector -fomit-frame-pointer "\$@" -static -no-pie
CC
    chmod +x "$work/cc"
}

# Sources that are made by configuring, with the native compiler: the single-file SQLite, and libxml2's configuration.
native_libraries() {
    mkdir -p "$work/build-sqlite" "$work/build-libxml2" "$work/include"
    cd "$work/build-sqlite"
    "$work/source/sqlite/configure" --disable-tcl --disable-readline
    make sqlite3.c
    cd "$work/build-libxml2"
    "$work/source/libxml2/configure" CC="$work/cc" CFLAGS=-O2 --host=x86_64-linux-musl --disable-shared --without-python \
        --without-threads --without-zlib --without-lzma --without-http --without-ftp --without-debug --without-modules \
        --without-legacy
    cp "$work/build-sqlite/sqlite3.h" "$work/source/zlib/zlib.h" "$work/source/zlib/zconf.h" "$work/include/"
    mkdir -p "$work/include/libxml2/libxml"
    cp "$work/source/libxml2/include/libxml/"*.h "$work/include/libxml2/libxml/"
    cp "$work/build-libxml2/include/libxml/xmlversion.h" "$work/include/libxml2/libxml/"
    # configure of PHP links against them, so they are needed natively in any case.
    libraries "$work/cc" "$work"
}

# What Debian's build has, and what read-only images make of it: databases are read through a mapping where one can be
# had, and there are no other threads.
sqlite_options='-DSQLITE_THREADSAFE=0 -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS3_PARENTHESIS -DSQLITE_ENABLE_FTS3_TOKENIZER
    -DSQLITE_ENABLE_FTS4 -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_ENABLE_COLUMN_METADATA
    -DSQLITE_ENABLE_DBSTAT_VTAB -DSQLITE_ENABLE_DESERIALIZE -DSQLITE_ENABLE_STMTVTAB -DSQLITE_MAX_VARIABLE_NUMBER=250000
    -DSQLITE_SECURE_DELETE -DSQLITE_SOUNDEX -DSQLITE_USE_URI -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_DEFAULT_MMAP_SIZE=1073741824
    -DSQLITE_LIKE_DOESNT_MATCH_BLOBS -DHAVE_USLEEP -DHAVE_FDATASYNC -DHAVE_GMTIME_R -DHAVE_LOCALTIME_R -DHAVE_STRERROR_R'
libxml2_files='SAX entities encoding error parserInternals parser tree hash list xmlIO xmlmemory uri valid xlink HTMLparser
    HTMLtree debugXML xpath xpointer xinclude catalog globals threads c14n xmlstring buf xmlregexp xmlschemas xmlschemastypes
    xmlunicode xmlreader relaxng dict SAX2 xmlwriter legacy chvalid pattern xmlsave xmlmodule schematron nanohttp nanoftp
    DOCBparser xzlib'
zlib_files='adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil'

# libraries CC OUT: OUT/lib/lib{z,sqlite3,xml2}.a, by a makefile written here, so that both processors work.
libraries() {
    mkdir -p "$2/build-libraries" "$2/lib"
    cd "$2/build-libraries"
    {
        echo "all: $2/lib/libz.a $2/lib/libsqlite3.a $2/lib/libxml2.a"
        library_rules "$2/lib/libz.a" "$work/source/zlib" "-DHAVE_UNISTD_H -D_LARGEFILE64_SOURCE=1 -DHAVE_HIDDEN" $zlib_files
        # shellcheck disable=SC2086  # split into words
        library_rules "$2/lib/libsqlite3.a" "$work/build-sqlite" "$(echo $sqlite_options)" sqlite3
        library_rules "$2/lib/libxml2.a" "$work/source/libxml2" \
            "-DHAVE_CONFIG_H -D_REENTRANT -I$work/build-libxml2 -I$work/build-libxml2/include -I$work/source/libxml2/include" $libxml2_files
    } >Makefile
    make -j"$jobs" CC="$1" all
}

# library_rules ARCHIVE FOLDER OPTIONS FILE...: make rules for an archive of C files.
library_rules() {
    local archive=$1 folder=$2 options=$3 file objects=
    shift 3
    for file; do
        objects+=" $(basename "$archive" .a)-$file.o"
        printf '%s-%s.o: %s/%s.c\n\t$(CC) -O2 -D_GNU_SOURCE %s -c $< -o $@.tmp\n\tmv $@.tmp $@\n' \
            "$(basename "$archive" .a)" "$file" "$folder" "$file" "$options"
    done
    printf '%s:%s\n\trm -f $@\n\tar rcD $@ $^\n' "$archive" "$objects"
}

# Once, natively, for both kinds: the tests of configure run programs, which a guest cannot do here, and the answers
# are the same, because the libc is.
configure_php() {
    mkdir -p "$work/build-php"
    cd "$work/build-php"
    env CC="$work/cc" CFLAGS=-O2 CPPFLAGS=-D_GNU_SOURCE ac_cv_header_valgrind_valgrind_h=no \
        LIBXML_CFLAGS="-I$work/include/libxml2" LIBXML_LIBS="-L$work/lib -lxml2" \
        ZLIB_CFLAGS="-I$work/include" ZLIB_LIBS="-L$work/lib -lz" \
        SQLITE_CFLAGS="-I$work/include" SQLITE_LIBS="-L$work/lib -lsqlite3" \
        "$work/source/php/configure" --host=x86_64-linux-musl --prefix=/usr --with-config-file-path=/etc/php \
        --disable-cgi --disable-phpdbg --without-pear --disable-phar --disable-posix --disable-opcache \
        --without-pcre-jit --enable-mbstring --disable-mbregex --with-zlib --disable-zend-signals --disable-ipv6 --without-valgrind
}

# make_php CC OUT: OUT/php/zapp/php
make_php() {
    # Objects of both kinds come from one configuration; each kind builds in a copy of it.
    [ -d "$2/php" ] || cp -a "$work/build-php" "$2/php"
    cd "$2/php"
    # Counts for the compiler, see zapp.mk; there are none while they are taken.
    [ -z "${profile-}" ] || tar -xf "$profile"
    # An undeclared function would be taken to return an int, and lose half of a pointer.
    make -j"$jobs" -f "$here/zapp.mk" ZAPP="$here" HOST="$host" LIBTOOL="$here/libtool" LIBRARIES="$2/lib" CC="$1" \
        CPPFLAGS="-I$here/shim -D_GNU_SOURCE -Werror=implicit-function-declaration" zapp/php
}
