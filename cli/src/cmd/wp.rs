//! `zapp wp`: WP-CLI among the files of a site.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::php::{Caps, Site};
use super::run::{NoEntry, on_a_thread};

/// Runs WP-CLI on a WordPress site: zapp wp site.zapp post list
///
/// It is the site's own PHP that runs it, as with `zapp php`: what a command writes vanishes, and stderr says so.
/// zapp brings no WP-CLI along: the file wp-cli.phar of its releases is taken from --wp-cli, or from the folder wp-cli of the cache
/// (~/.cache/zapp, $ZAPP_CACHE_DIR).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    caps: Caps,
    /// The file of WP-CLI
    #[arg(long, value_name = "PATH", env = "ZAPP_WP_CLI")]
    wp_cli: Option<PathBuf>,
    /// An image or the folder of a site, then the command of WP-CLI
    #[arg(
        value_names = ["IMAGE|DIR", "ARG"],
        num_args = 1..,
        required = true,
        trailing_var_arg = true
    )]
    line: Vec<OsString>,
}

/// Where PHP sees WP-CLI: a hidden name that no site has.
const FOLDER: &str = "/.wp-cli";
const FILE: &str = "wp-cli.phar";

/// Where its releases are.
const SOURCE: &str =
    "https://github.com/wp-cli/builds/raw/gh-pages/phar/wp-cli.phar (https://wp-cli.org)";

/// There is no terminal to ask for its width, no network to look for updates, and no user that files could harm.
const ENVIRONMENT: [&str; 4] = [
    "HOME=/tmp",
    "COLUMNS=120",
    "WP_CLI_DISABLE_AUTO_CHECK_UPDATE=1",
    "WP_CLI_CACHE_DIR=/tmp/wp-cli",
];

pub(crate) fn run(args: Args) -> ExitCode {
    on_a_thread(move || {
        let phar = phar(args.wp_cli.as_deref())?;
        let mut site = Site::open(Path::new(&args.line[0]))?;
        // PHP sees that file and nothing that lies beside it.
        let folder = tempfile::tempdir().context("a folder for WP-CLI")?;
        let copied = fs::copy(&phar, folder.path().join(FILE));
        copied.with_context(|| phar.display().to_string())?;
        site.show(folder.path(), FOLDER)?;
        let first = [format!("{FOLDER}/{FILE}"), "--allow-root".to_owned()];
        let words = first.map(String::into_bytes).into_iter();
        let rest = args.line[1..].iter().cloned().map(OsStringExt::into_vec);
        let env = ENVIRONMENT.map(str::to_owned).to_vec();
        site.run(&args.caps, env, words.chain(rest).collect())
    })
}

/// The file of WP-CLI: the one that is named, else the one in the cache.
fn phar(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let kept = toolchain::guest::cache_folder().join("wp-cli").join(FILE);
    if kept.is_file() {
        return Ok(kept);
    }
    let kept = kept.display();
    let what = format!(
        "WP-CLI is not there: get {FILE} from {SOURCE}, and put it at {kept} or name it with --wp-cli or ZAPP_WP_CLI"
    );
    Err(NoEntry(what).into())
}
