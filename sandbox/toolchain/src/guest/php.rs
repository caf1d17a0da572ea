//! PHP: the recipe is a script of its own, `sandbox/guests/php/build`, which keeps its work and its result in the cache.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Progress, cache_folder, libc, source_tree, sysroot, sysroot_path};
use crate::cc::ensure_tools;
use crate::error::Error;
use crate::process::{Stream, read};

const RECIPE: &str = "sandbox/guests/php/build";

/// The extensions that PHP is built with, beside those it always has: a set of the recipe, or a list with commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extensions(String);

impl Extensions {
    /// None: what is there soonest.
    #[must_use]
    pub fn small() -> Extensions {
        Extensions("small".into())
    }

    /// All that the recipe knows: what a site may ask for.
    #[must_use]
    pub fn full() -> Extensions {
        Extensions("full".into())
    }
}

impl From<String> for Extensions {
    /// The recipe checks the names.
    fn from(list: String) -> Extensions {
        Extensions(list)
    }
}

/// The full PHP when it has been built, and otherwise the small one, which is built sooner.
pub fn soonest() -> Result<PathBuf, Error> {
    match path(&Extensions::full())? {
        Some(built) => Ok(built),
        None => build(&Extensions::small()),
    }
}

/// Builds PHP, or returns the finished program of the same recipe, libc, rewriter and GCC.
pub fn build(with: &Extensions) -> Result<PathBuf, Error> {
    let recipe = recipe()?;
    // GCC first: its version is part of the names.
    ensure_tools(&["gcc"])?;
    libc_and_sources(&recipe, with)?;
    if let Some(built) = path(with)? {
        return Ok(built);
    }
    let cache = cache_folder();
    // The script's temporary files die with this folder, however the script ends.
    let scratch = tempfile::Builder::new()
        .prefix(".php-")
        .tempdir_in(&cache)
        .map_err(Error::io(&cache))?;
    let compiler = compiler(scratch.path())?;
    let mut command = script(&recipe)?;
    command
        .args(["--with", &with.0, "guest"])
        .arg(compiler)
        .env("TMPDIR", scratch.path())
        .env("ZAPP_PROGRESS", "1");
    let mut progress = Progress::new("PHP guest");
    let printed = read(&mut command, |line| match line {
        Some((Stream::Err, line)) => match said(line) {
            line if line.ends_with(" files") => progress.detail(line),
            line => progress.step(line),
        },
        _ => progress.tick(),
    });
    let printed = progress.judge(&command, printed);
    progress.end(printed.is_ok());
    last_line(&printed?.out).ok_or_else(|| Error::Usage(format!("{RECIPE} printed no path")))
}

/// Builds the libc, and beside it unpacks what PHP is made of: most of the one needs all processors, the other one.
fn libc_and_sources(recipe: &Path, with: &Extensions) -> Result<(), Error> {
    if sysroot_path()?.is_dir() {
        return Ok(());
    }
    let mut command = script(recipe)?;
    command.args(["prepare", "--with", &with.0, "guest", "-"]);
    std::thread::scope(|scope| {
        // Should it fail, the build itself fails at the same place, and says why.
        let beside = scope.spawn(move || read(&mut command, |_| ()));
        let built = sysroot();
        let _prepared = beside.join();
        built.map(drop)
    })
}

/// The finished program, when there is one.
pub fn path(with: &Extensions) -> Result<Option<PathBuf>, Error> {
    // Without GCC its version is not known, which is part of the name.
    let Ok(mut command) = script(&recipe()?) else {
        return Ok(None);
    };
    let printed = read(
        command.args(["path", "--with", &with.0, "guest", "-"]),
        |_| (),
    )?;
    Ok(last_line(&printed.out).filter(|_| printed.status.success()))
}

fn recipe() -> Result<PathBuf, Error> {
    let path = source_tree();
    let recipe = path.join(RECIPE);
    if recipe.is_file() {
        Ok(recipe)
    } else {
        Err(Error::NoSources { guest: "php", path })
    }
}

/// The recipe's script. What the compiler makes depends on the rewriter, the libc and GCC; the libc's name stands for all three.
fn script(recipe: &Path) -> Result<Command, Error> {
    let sysroot = sysroot_path()?;
    let mut command = Command::new(recipe);
    command
        .env("ZAPP_CC_ID", sysroot.file_name().unwrap_or_default())
        .env("ZAPP_CACHE_DIR", cache_folder())
        // The compiler need not find out at each file which libc it is.
        .env("ZAPP_SYSROOT", &sysroot);
    Ok(command)
}

/// The script wants one word for a compiler: a script that calls this very program.
fn compiler(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("zapp-cc");
    let text = format!("#!/bin/sh\nexec {} \"$@\"\n", libc::driver()?);
    std::fs::write(&path, text).map_err(Error::io(&path))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .map_err(Error::io(&path))?;
    Ok(path)
}

/// A line of the script's without its own name.
fn said(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.strip_prefix("php guest: ").unwrap_or(&line).to_owned()
}

fn last_line(text: &[u8]) -> Option<PathBuf> {
    let line = text.trim_ascii_end().rsplit(|&byte| byte == b'\n').next()?;
    (!line.is_empty()).then(|| OsString::from_vec(line.to_vec()).into())
}
