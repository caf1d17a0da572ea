//! The PHP guest and its native twin, built once by their recipe and kept in the cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::{Run, zapp};

/// What a command says on its last line.
fn last_path(run: &Run) -> PathBuf {
    PathBuf::from(run.text().lines().last().expect("a path"))
}

/// The image of the demo blog, which holds the PHP guest.
pub(crate) fn blog() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| last_path(&zapp(["demo", "--pack-only"]).ok()))
}

/// The image of the WordPress fixture with PHP, and the tree it was made from.
pub(crate) fn wordpress() -> (&'static Path, PathBuf) {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    let image = IMAGE.get_or_init(|| last_path(&zapp(["demo", "--wordpress", "--pack-only"]).ok()));
    let site = crate::support::wordpress().expect("the demo has built it");
    (image, site)
}

/// The PHP guest as a file of its own.
pub(crate) fn guest() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let built = || last_path(&zapp(["guest", "build", "php"]).ok());
    PROGRAM.get_or_init(built).clone()
}

/// The same PHP for this machine.
pub(crate) fn native() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let built = || {
        let build = concat!(env!("CARGO_MANIFEST_DIR"), "/../sandbox/guests/php/build");
        let built = Command::new(build)
            .arg("native")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("the recipe starts");
        last_path(&Run::from(built).ok())
    };
    PROGRAM.get_or_init(built).clone()
}
