//! The commands, one module each: its arguments and what it does.

pub(crate) mod cat;
pub(crate) mod cc;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod extract;
pub(crate) mod guest;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod ls;
#[cfg(feature = "fuse")]
pub(crate) mod mount;
pub(crate) mod pack;
pub(crate) mod php;
mod progress;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod tar;
pub(crate) mod tree;
pub(crate) mod verify;
pub(crate) mod wp;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context;
use imagefs::{Image, Ino, ResolveError};

use crate::args::Command;
use crate::status::Status;

/// Runs a command.
pub(crate) fn run(command: Command) -> anyhow::Result<Status> {
    match command {
        Command::Pack(args) => pack::run(&args),
        Command::Cc(_) | Command::Cxx(_) => {
            unreachable!("intercepted before the command line is parsed")
        }
        Command::Verify(args) => verify::run(&args),
        Command::Run(args) => Ok(Status::Exit(run::run(*args))),
        Command::Php(args) => Ok(Status::Exit(php::run(args))),
        Command::Wp(args) => Ok(Status::Exit(wp::run(args))),
        Command::Guest(args) => guest::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Tree(args) => tree::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Tar(args) => tar::run(&args),
        Command::Diff(args) => diff::run(&args),
        #[cfg(feature = "fuse")]
        Command::Mount(args) => mount::run(&args),
        #[cfg(feature = "fuse")]
        Command::Umount(args) => mount::run_umount(&args),
    }
}

/// Opens an image; errors name it.
fn open(path: &Path) -> anyhow::Result<Image> {
    Image::open(path).with_context(|| shown(path.as_os_str()))
}

/// Finds a path in an image, from its root whether or not it begins with a slash.
fn find(image: &Image, path: &OsStr, follow_last: bool) -> Result<Ino, ResolveError> {
    match path.as_bytes() {
        b"" => Ok(image.root()),
        bytes => image.resolve(image.root(), bytes, follow_last),
    }
}

/// An argument as a message may show it.
fn shown(text: &OsStr) -> String {
    crate::name::escaped(text.as_bytes())
}

/// How an image's size compares with that of what is in it, for a line that has said the size; nothing of nothing.
fn share(part: u64, whole: u64) -> String {
    match part.saturating_mul(1000).checked_div(whole) {
        Some(share) => format!(", {}.{} % of {whole}", share / 10, share % 10),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_is_not_told() {
        assert_eq!(share(8192, 0), "");
        assert_eq!(share(345, 1000), ", 34.5 % of 1000");
        assert_eq!(share(8192, 1), ", 819200.0 % of 1");
    }
}
