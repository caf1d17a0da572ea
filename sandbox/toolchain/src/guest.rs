//! Guest programs and libraries built from Debian's sources, kept in a cache by the hash of what they are made from.
//!
//! ```text
//! CACHE/downloads/SHA256-NAME      source archives, checked against their pins
//! CACHE/apt/                       apt's own lists for them; the system's configuration is left alone
//! CACHE/libc-HASH/                 one finished build, moved into place whole
//! ```

pub mod libc;
pub mod source;

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// Where downloads and builds are kept: `$ZAPP_CACHE_DIR`, or `zapp` in the user's cache folder.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("ZAPP_CACHE_DIR").unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("zapp")
    })
}

/// The folder with the guest's `include` and `lib`, built when it is missing. `$ZAPP_SYSROOT` names another one.
pub fn sysroot() -> Result<PathBuf, Error> {
    match std::env::var_os("ZAPP_SYSROOT") {
        Some(folder) => Ok(folder.into()),
        None => libc::build(libc::Flavour::Guest),
    }
}

/// Returns a cache entry, making it with `make` in a folder of its own when it is missing. Two builders at once wait for
/// each other; an interrupted one leaves nothing under the entry's name.
pub fn cached(name: &str, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let cache = cache_folder();
    let entry = cache.join(name);
    if entry.is_dir() {
        return Ok(entry);
    }
    std::fs::create_dir_all(&cache).map_err(Error::io(&cache))?;
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
    lock.lock().map_err(Error::io(&lock_path))?;
    if !entry.is_dir() {
        let folder = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(&cache)
            .map_err(Error::io(&cache))?;
        let made = folder.path().join("entry");
        std::fs::create_dir(&made).map_err(Error::io(&made))?;
        make(&made)?;
        std::fs::rename(&made, &entry).map_err(Error::io(&entry))?;
    }
    Ok(entry)
}

/// Runs a build step and counts its output lines that `counts` as progress. What it printed is shown when it fails.
pub(crate) fn run_with_progress(
    command: &mut Command,
    what: &str,
    total: usize,
    counts: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let errors = tempfile::tempfile().map_err(Error::io(std::env::temp_dir()))?;
    let mut errors_read = errors.try_clone().map_err(Error::io("stderr"))?;
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(Error::io(&program))?;
    let terminal = std::io::stderr().is_terminal();
    if !terminal {
        eprintln!("zapp: {what}");
    }
    let mut done = 0;
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).split(b'\n') {
            let line = line.map_err(Error::io(&program))?;
            if counts(&String::from_utf8_lossy(&line)) {
                done += 1;
                if terminal {
                    eprint!("\rzapp: {what} {}%", (done * 100 / total.max(1)).min(99));
                }
            }
        }
    }
    let status = child.wait().map_err(Error::io(&program))?;
    if terminal {
        eprintln!(
            "\rzapp: {what} {}",
            if status.success() { "done" } else { "failed" }
        );
    }
    if status.success() {
        return Ok(());
    }
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    errors_read
        .rewind()
        .and_then(|()| errors_read.read_to_end(&mut text))
        .map_err(Error::io("stderr"))?;
    let _unheard = std::io::stderr().write_all(&text);
    Err(Error::Program { program, status })
}
