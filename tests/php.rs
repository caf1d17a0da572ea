//! The PHP guest and its native twin, built once by their recipe and kept in the cache.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::{Scratch, args, zapp};

/// The image of the demo blog, which holds the PHP guest.
pub(crate) fn blog() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let demo = zapp(["demo", "--pack-only"]).ok();
        PathBuf::from(demo.text().lines().last().expect("a path"))
    })
}

/// The PHP guest as a file of its own.
pub(crate) fn guest() -> PathBuf {
    static PROGRAM: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, program) = PROGRAM.get_or_init(|| {
        let scratch = Scratch::new();
        let program = scratch.path("php");
        let cat = zapp(args!["cat", blog(), "/.zapp/php"]).ok();
        std::fs::write(&program, cat.stdout).unwrap();
        (scratch, program)
    });
    program.clone()
}
