//! Objects and libraries to a guest program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::compile::{object, temporary_object};
use super::options::{Language, LinkItem, Options};
use crate::error::Error;
use crate::finish::finish;
use crate::guest::{cxx, sysroot};
use crate::process::run;

/// Layout of a guest program: text first, whole pages of it, then read-only data, then data.
const LAYOUT: &str = include_str!("../../../guests/libc/guest.ld");

/// Starts of linker options about shared objects, segments and hashes, which a static guest does not have.
const IGNORED: [&str; 20] = [
    "-z",
    "-rpath",
    "--rpath",
    "-soname",
    "-h",
    "--as-needed",
    "--no-as-needed",
    "--export-dynamic",
    "-E",
    "-Bstatic",
    "-Bdynamic",
    "-Bsymbolic",
    "--version-script",
    "--hash-style",
    "--enable-new-dtags",
    "--disable-new-dtags",
    "--build-id",
    "-O",
    "--icf",
    "--eh-frame-hdr",
];

/// Compiles what must be compiled and links everything.
pub(crate) fn program(options: &Options) -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let mut files = Vec::with_capacity(options.inputs.len());
    for (index, input) in options.inputs.iter().enumerate() {
        if input.language == Language::Object {
            files.push(input.path.clone());
        } else {
            let file = temporary_object(folder.path(), index);
            object(options, input, &file)?;
            files.push(file);
        }
    }
    let output = options.output.clone().unwrap_or_else(|| "a.out".into());
    let layout = folder.path().join("guest.ld");
    std::fs::write(&layout, LAYOUT).map_err(Error::io(&layout))?;
    let linked = folder.path().join("linked");
    let mut ld = linker(options, &layout, &linked)?;
    arguments(options, &files, &mut ld);
    if !options.no_standard_libraries {
        if wants_cxx(options) {
            ld.arg("-L").arg(cxx::library()?.join("lib"));
        }
        let library = sysroot()?.join("lib");
        ld.arg("-L").arg(&library).arg("--start-group");
        if wants_cxx(options) {
            ld.arg("-lstdc++");
        }
        ld.args(["-lc", "-lguest", "--end-group"]);
    }
    if options.verbose {
        eprintln!("{ld:?}");
    }
    run(&mut ld)?;
    finish(&linked, &output)
}

fn linker(options: &Options, layout: &Path, linked: &Path) -> Result<Command, Error> {
    let mut ld = Command::new("ld");
    ld.args([
        "-m",
        "elf_x86_64",
        "-static",
        "-no-pie",
        "-nostdlib",
        "--build-id=none",
    ]);
    // Text starts a page of its own and headers are not mapped: the runtime shows the guest a copy.
    ld.args([
        "-z",
        "max-page-size=4096",
        "-z",
        "noexecstack",
        "-z",
        "norelro",
        "-z",
        "noseparate-code",
    ]);
    ld.arg("--no-warn-rwx-segments")
        .arg("-T")
        .arg(layout)
        .arg("-o")
        .arg(linked);
    if !options.no_start_files {
        ld.arg(sysroot()?.join("lib/crt1.o"));
    }
    Ok(ld)
}

/// Names of the C++ library. It stands behind everything, where each object finds it.
const CXX_LIBRARIES: [&str; 2] = ["-lstdc++", "-lsupc++"];

/// True for `zapp c++`, and for `zapp cc -lstdc++`.
fn wants_cxx(options: &Options) -> bool {
    let named = |item: &LinkItem| matches!(item, LinkItem::Argument(text) if CXX_LIBRARIES.contains(&text.as_str()));
    options.cxx || options.link.iter().any(named)
}

/// The user's objects and linker options in their order.
fn arguments(options: &Options, files: &[PathBuf], ld: &mut Command) {
    let mut items = options.link.iter();
    while let Some(item) = items.next() {
        match item {
            LinkItem::Input(index) => {
                ld.arg(&files[*index]);
            }
            LinkItem::Argument(text)
                if ["-z", "-rpath", "-soname", "-h"].contains(&text.as_str()) =>
            {
                items.next();
            }
            // `-lgcc` and its kin are part of the guest's own run-time library.
            LinkItem::Argument(text)
                if ["-lgcc", "-lgcc_s", "-lgcc_eh", "-latomic"].contains(&text.as_str()) => {}
            LinkItem::Argument(text) if CXX_LIBRARIES.contains(&text.as_str()) => {}
            LinkItem::Argument(text) if IGNORED.iter().any(|start| text.starts_with(start)) => {}
            LinkItem::Argument(text) => {
                ld.arg(text);
            }
        }
    }
}
