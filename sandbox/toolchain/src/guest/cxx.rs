//! The C++ library of guests: what GCC's headers leave to a library, written for a sandbox without exceptions, and the folders
//! of those headers.
//!
//! ```text
//! CACHE/cxx-HASH/include           ours, found before GCC's
//! CACHE/cxx-HASH/lib/libstdc++.a   the library
//! CACHE/cxx-HASH/folders           where GCC's headers are, a line each
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Progress, cached, libc, sysroot_path};
use crate::cc::{cxx_folders, ensure_tools};
use crate::error::Error;
use crate::process::run;

/// Headers in place of GCC's.
const HEADERS: [(&str, &str); 4] = [
    (
        "ctype_base.h",
        include_str!("../../../guests/cxx/include/bits/ctype_base.h"),
    ),
    (
        "c++config.h",
        include_str!("../../../guests/cxx/include/bits/c++config.h"),
    ),
    (
        "os_defines.h",
        include_str!("../../../guests/cxx/include/bits/os_defines.h"),
    ),
    (
        "c++locale.h",
        include_str!("../../../guests/cxx/include/bits/c++locale.h"),
    ),
];

/// What the sources share.
const SHARED: (&str, &str) = ("zapp_cxx.h", include_str!("../../../guests/cxx/zapp_cxx.h"));

/// The library, an object each.
const SOURCES: [(&str, &str); 6] = [
    (
        "containers.cc",
        include_str!("../../../guests/cxx/containers.cc"),
    ),
    (
        "exceptions.cc",
        include_str!("../../../guests/cxx/exceptions.cc"),
    ),
    ("memory.cc", include_str!("../../../guests/cxx/memory.cc")),
    ("statics.cc", include_str!("../../../guests/cxx/statics.cc")),
    ("threads.cc", include_str!("../../../guests/cxx/threads.cc")),
    ("types.cc", include_str!("../../../guests/cxx/types.cc")),
];

/// The finished library, built when it is missing.
pub fn library() -> Result<PathBuf, Error> {
    // GCC first: its version is part of the name.
    ensure_tools(&["gcc"])?;
    cached(&name()?, |entry| {
        ensure_tools(&["g++", "as", "ar"])?;
        let mut progress = Progress::new("C++ library of guests");
        let made = make(entry);
        progress.end(made.is_ok());
        made
    })
}

/// Changes when anything that goes into the library changes: these files, and what the name of the libc stands for.
pub(crate) fn name() -> Result<String, Error> {
    let mut hash = blake3::Hasher::new();
    let libc = sysroot_path()?;
    hash.update(libc.as_os_str().as_encoded_bytes());
    for (name, text) in HEADERS.iter().chain([&SHARED]).chain(&SOURCES) {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
    }
    Ok(format!("cxx-{}", &hash.finalize().to_hex()[..16]))
}

/// Where C++ finds its headers, in order. The library's own build names them by itself.
pub(crate) fn headers() -> Result<Vec<PathBuf>, Error> {
    let library = match std::env::var_os(MAKING) {
        Some(folder) => PathBuf::from(folder),
        None => library()?,
    };
    let list = library.join(FOLDERS);
    let text = std::fs::read_to_string(&list).map_err(Error::io(&list))?;
    let found = text.lines().map(PathBuf::from);
    Ok([library.join("include")].into_iter().chain(found).collect())
}

/// Names the folder of the library to the compiler that makes it.
const MAKING: &str = "ZAPP_MAKING_CXX";

const FOLDERS: &str = "folders";

fn make(entry: &Path) -> Result<(), Error> {
    let write = |file: PathBuf, text: &str| std::fs::write(&file, text).map_err(Error::io(&file));
    let (include, library) = (entry.join("include/bits"), entry.join("lib"));
    for folder in [&include, &library] {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    for (name, text) in HEADERS {
        write(include.join(name), text)?;
    }
    let folders = cxx_folders()?;
    let lines: Vec<String> = folders
        .iter()
        .map(|folder| format!("{}\n", folder.display()))
        .collect();
    write(entry.join(FOLDERS), &lines.concat())?;
    let work = entry.with_file_name("work");
    std::fs::create_dir(&work).map_err(Error::io(&work))?;
    write(work.join(SHARED.0), SHARED.1)?;
    let driver = libc::driver()?;
    let mut words = driver.split(' ');
    let program = words.next().unwrap_or_default();
    let leading: Vec<&str> = words.collect();
    let mut archive = Command::new("ar");
    archive.arg("rcs").arg(library.join("libstdc++.a"));
    for (name, text) in SOURCES {
        let source = work.join(name);
        write(source.clone(), text)?;
        let object = source.with_extension("o");
        run(Command::new(program)
            .args(&leading)
            .args(["-O2", "-std=c++17", "-ffunction-sections", "-c", "-o"])
            .arg(&object)
            .arg(&source)
            .env(MAKING, entry))?;
        archive.arg(object);
    }
    run(&mut archive)
}
