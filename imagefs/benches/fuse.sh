#!/usr/bin/env bash
# Compares the FUSE view with squashfuse: wall time to read every file of a tree, on a fresh mount and once more.
#
#   imagefs/benches/fuse.sh [ROUNDS]        needs /dev/fuse, squashfuse, mksquashfs (apt: squashfuse squashfs-tools)
#   ZAPP=path/to/zapp                       the program to measure; default: cargo build --release
#   TREES="name=dir …"                      trees to measure instead of the two below
#
# Both image files are in the page cache. The two programs take turns, so that other load on the machine hits both; the
# best of the rounds is printed, in milliseconds, and their ratio.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
rounds=${1:-5}
cache=${ZAPP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/zapp}/bench

for tool in squashfuse mksquashfs fusermount3; do
    if ! command -v "$tool" >/dev/null; then
        if [ "$(id -u)" -ne 0 ]; then
            echo "run: sudo apt-get install -y --no-install-recommends squashfuse squashfs-tools fuse3" >&2
            exit 2
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
            squashfuse squashfs-tools fuse3 >&2
    fi
done
if [ -z "${ZAPP:-}" ]; then
    (cd "$root" && cargo build --release -q -p zapp)
    ZAPP=${CARGO_TARGET_DIR:-$root/target}/release/zapp
fi

work=$(mktemp -d)
cleanup() {
    for mount in "$work"/mnt-*; do
        if mountpoint -q "$mount"; then fusermount3 -uz "$mount" || umount -l "$mount"; fi
    done
    rm -rf "$work"
}
trap cleanup EXIT

# 23,500 small files of what a Debian system has: no links, nothing above 400 KB.
many_files() {
    local tree=$cache/files-23500
    if [ ! -d "$tree" ]; then
        rm -rf "$tree.part" && mkdir -p "$tree.part"
        (cd /usr && find share include lib/python3* -type f -size -400k -print0 2>/dev/null | sort -z |
            head -z -n 23500 | tar --null -T - -cf - | tar -xf - -C "$tree.part")
        mv "$tree.part" "$tree"
    fi
    echo "$tree"
}

now() { date +%s%N; }
read_all() { (cd "$1" && tar -cf - . | cat >/dev/null); }

# Mounts with a command line, reads twice, unmounts; prints the two times in microseconds.
measure() {
    local mount=$1; shift
    "$@"
    local a b c
    a=$(now); read_all "$mount"; b=$(now); read_all "$mount"; c=$(now)
    fusermount3 -u "$mount" || umount "$mount"
    echo "$(((b - a) / 1000)) $(((c - b) / 1000))"
}

printf '%-12s %8s  %-10s %10s %10s %8s\n' tree files pass zapp_ms squash_ms ratio
compare() {
    local name=$1 tree=$2
    "$ZAPP" pack -q --sqlite raw --skip-special "$tree" -o "$work/$name.zapp"
    mksquashfs "$tree" "$work/$name.squashfs" -comp zstd -Xcompression-level 15 -b 128K -quiet -no-progress >/dev/null
    cat "$work/$name.zapp" "$work/$name.squashfs" >/dev/null
    mkdir -p "$work/mnt-z" "$work/mnt-s"
    local best=(0 0 0 0) round i z s all
    for ((round = 0; round < rounds; round++)); do
        z=$(measure "$work/mnt-z" "$ZAPP" mount "$work/$name.zapp" "$work/mnt-z")
        s=$(measure "$work/mnt-s" squashfuse "$work/$name.squashfs" "$work/mnt-s")
        all=($z $s)
        for i in 0 1 2 3; do
            if [ "${best[$i]}" -eq 0 ] || [ "${all[$i]}" -lt "${best[$i]}" ]; then best[$i]=${all[$i]}; fi
        done
    done
    local files; files=$(find "$tree" -type f | wc -l)
    row() { awk -v n="$name" -v f="$files" -v p="$1" -v z="$2" -v s="$3" \
        'BEGIN { printf "%-12s %8d  %-10s %10.1f %10.1f %8.2f\n", n, f, p, z/1000, s/1000, z/s }'; }
    row first "${best[0]}" "${best[2]}"
    row second "${best[1]}" "${best[3]}"
}

if [ -n "${TREES:-}" ]; then
    for pair in $TREES; do compare "${pair%%=*}" "${pair#*=}"; done
else
    compare wordpress "$("$root/fixtures/wordpress/build" | tail -n 1)"
    compare many-files "$(many_files)"
fi
