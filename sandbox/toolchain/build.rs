//! Hashes what decides the code of a guest, so that libraries made by another rewriter are built again.
//!
//! The hash goes into the cache key of every guest. It covers the rewriter, the driver and the linker script, without
//! comments and unit tests: a better wording rebuilds nothing.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// Parts of `src` that cannot change what a compilation gives.
const LEFT_OUT: [&str; 7] = [
    "bin",
    "error.rs",
    "guest",
    "guest.rs",
    "lib.rs",
    "process.rs",
    "rewrite/tests.rs",
];

/// Where a guest's parts lie.
const LAYOUT: &str = "../guests/libc/guest.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed={LAYOUT}");
    let mut files = vec![PathBuf::from(LAYOUT)];
    collect(Path::new("src"), &mut files);
    files.sort();
    let mut hash = Xxh3::new();
    for file in files {
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        hash.update(file.as_os_str().as_encoded_bytes());
        for line in code(&text) {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
    }
    println!("cargo::rustc-env=ZAPP_REWRITER={:032x}", hash.digest128());
}

/// The lines that compile: comments and what follows `#[cfg(test)]`, which is always last in a file, left out.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .path();
        let name = path.strip_prefix("src").expect("begins with src");
        if LEFT_OUT.iter().any(|part| name == Path::new(part)) {
            continue;
        }
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push(path);
        }
    }
}
