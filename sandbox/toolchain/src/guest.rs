//! Guest programs and libraries built from Debian's sources, kept in a cache by the hash of what they are made from.
//!
//! ```text
//! CACHE/downloads/SHA256-NAME      source archives, checked against their pins
//! CACHE/apt/                       apt's own lists for them; the system's configuration is left alone
//! CACHE/libc-HASH/                 one finished build, moved into place whole
//! CACHE/cxx-HASH/                  the library of C++ for it
//! CACHE/.making-NAME/              one being made, owned by whoever holds NAME.lock
//! CACHE/guests/php-guest-HASH/php  PHP, whose recipe is a script that keeps its own work below CACHE/work
//! ```

pub mod cxx;
pub mod libc;
pub mod php;
mod progress;
pub mod source;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::process::pause;
pub(crate) use progress::Progress;
pub use progress::tell_pipes;

/// What can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// The C library that `zapp cc` links.
    Libc,
    /// PHP with its server API.
    Php,
}

impl Guest {
    /// All of them, each behind what it needs.
    pub const ALL: [Guest; 2] = [Guest::Libc, Guest::Php];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Guest::Libc => "libc",
            Guest::Php => "php",
        }
    }

    /// One line about it.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Guest::Libc => "the C library of guest programs (musl): a folder with include and lib",
            Guest::Php => "PHP with SQLite and opcache, for the command line and for `zapp serve`",
        }
    }

    /// Builds it, or returns what an earlier build of the same recipe left: a folder or a program. Only PHP has extensions.
    pub fn build(self, with: &php::Extensions) -> Result<PathBuf, Error> {
        match self {
            Guest::Libc => sysroot(),
            Guest::Php => php::build(with),
        }
    }

    /// Where the finished build of the present recipe is, or `None` when it has not been built.
    pub fn path(self, with: &php::Extensions) -> Result<Option<PathBuf>, Error> {
        match self {
            Guest::Libc => Ok(sysroot_path().ok().filter(|folder| folder.is_dir())),
            Guest::Php => php::path(with),
        }
    }
}

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

/// Where [`sysroot`] is or will be; without GCC nowhere, because the name of a build contains its version.
pub(crate) fn sysroot_path() -> Result<PathBuf, Error> {
    match std::env::var_os("ZAPP_SYSROOT") {
        Some(folder) => Ok(folder.into()),
        None => Ok(cache_folder().join(libc::name(libc::Flavour::Guest)?)),
    }
}

/// The source tree with the recipes that are not part of this program: `$ZAPP_SOURCE_DIR`, or where it was compiled.
#[must_use]
pub fn source_tree() -> PathBuf {
    match std::env::var_os("ZAPP_SOURCE_DIR") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .expect("the crate lies two folders deep")
            .to_owned(),
    }
}

/// Returns a cache entry, making it with `make` in a folder of its own when it is missing; what `make` puts beside that
/// folder is scratch. Two builders at once wait for each other. An interrupted one leaves nothing under the entry's name,
/// and what a killed one left elsewhere is cleared away by the next.
pub fn cached(name: &str, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    let cache = cache_folder();
    let entry = cache.join(name);
    if entry.is_dir() {
        return Ok(entry);
    }
    std::fs::create_dir_all(&cache).map_err(Error::io(&cache))?;
    let _held = lock(&cache.join(format!("{name}.lock")))?;
    if entry.is_dir() {
        return Ok(entry);
    }
    sweep(&cache)?;
    let making = Making(cache.join(format!("{MAKING}{name}")));
    making.clear()?;
    let made = making.0.join("entry");
    std::fs::create_dir_all(&made).map_err(Error::io(&made))?;
    make(&made)?;
    std::fs::rename(&made, &entry).map_err(Error::io(&entry))?;
    Ok(entry)
}

/// Start of the names of folders in which entries are made.
const MAKING: &str = ".making-";

/// A folder in which an entry is made; it vanishes with this value.
struct Making(PathBuf);

impl Making {
    fn clear(&self) -> Result<(), Error> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(&self.0)(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // The next builder tries again, and can say what is wrong.
        let _left = self.clear();
    }
}

/// Waits for a lock, which lasts as long as the file it returns.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io(path))?;
    while !try_lock(&file, path)? {
        pause()?;
    }
    Ok(file)
}

/// False when another process holds the lock.
fn try_lock(lock: &File, path: &Path) -> Result<bool, Error> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::io(path)(error)),
    }
}

/// Removes what killed builders of other entries left: a folder whose lock nobody holds.
fn sweep(cache: &Path) -> Result<(), Error> {
    for found in std::fs::read_dir(cache).map_err(Error::io(cache))? {
        let path = found.map_err(Error::io(cache))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.and_then(|name| name.strip_prefix(MAKING)) else {
            continue;
        };
        let lock_path = cache.join(format!("{name}.lock"));
        // Our own is held by another handle of ours, so it is passed over, too.
        let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
        if try_lock(&lock, &lock_path)? {
            Making(path).clear()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_makes_any_more_is_swept() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| cache.path().join(name);
        for name in ["left", "busy"] {
            std::fs::create_dir(at(&format!("{MAKING}{name}"))).expect("created");
            std::fs::write(at(&format!("{MAKING}{name}/file")), "x").expect("written");
        }
        let busy = File::create(at("busy.lock")).expect("created");
        busy.lock().expect("locked");
        sweep(cache.path()).expect("swept");
        assert!(!at(".making-left").exists());
        assert!(at(".making-busy/file").exists());
    }
}
