//! `zapp demo`: from a fresh clone to a running site: builds what is missing, packs a fixture with PHP, serves it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};

use super::serve;
use crate::interpreter;
use crate::status::Status;

/// Builds what is missing, packs the demo site with PHP, and serves it
///
/// Needs the source tree it was built from. The first run compiles PHP, which takes some minutes and is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// WordPress with 200 posts instead of the small blog
    #[arg(long)]
    wordpress: bool,
    /// Listen here
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Only make the image, and print its path
    #[arg(long)]
    pack_only: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let stop = crate::interrupt::flag()?;
    toolchain::process::stop_on(&stop);
    toolchain::guest::tell_pipes();
    let sources = toolchain::guest::source_tree();
    if !sources.join("fixtures/sites/blog").is_dir() {
        bail!(
            "the demo needs the source tree of zapp, which is no longer at {}",
            sources.display()
        );
    }
    say("building what is missing");
    let php = toolchain::guest::php::soonest().context("cannot build PHP")?;
    let (name, site) = if args.wordpress {
        say("assembling WordPress");
        (
            "wordpress",
            last_line(&mut Command::new(sources.join("fixtures/wordpress/build")))?,
        )
    } else {
        ("blog", sources.join("fixtures/sites/blog"))
    };
    let image = image(name, &site, &php, &stop)?;
    if args.pack_only {
        writeln!(std::io::stdout(), "{}", image.display())?;
        return Ok(Status::Done);
    }
    let server = serve::typed([
        "--listen".into(),
        (&args.listen).into(),
        image.clone().into_os_string(),
    ])?;
    eprintln!(
        "\n  the {name} is at  http://{}/\n  its image is at   {}\n\n  Every page comes from a fresh confined instance. Try the search, then in another terminal:\n    \
         zapp ls -lR {1}\n    zapp info {1}\n    zapp run {1} -r 'echo PHP_VERSION, \"\\n\";'\n  Ctrl-C ends it.\n",
        args.listen,
        image.display(),
    );
    serve::run(&server)
}

fn say(what: &str) {
    eprintln!("zapp: {what}");
}

/// Runs a script that prints a path on the last line of stdout and its progress on stderr.
fn last_line(command: &mut Command) -> anyhow::Result<PathBuf> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name} failed: {}", output.status);
    }
    let text = String::from_utf8(output.stdout).with_context(|| name.clone())?;
    text.lines()
        .last()
        .map(PathBuf::from)
        .with_context(|| format!("{name} printed no path"))
}

/// Packs a site together with PHP, without copying either.
fn image(name: &str, site: &Path, php: &Path, stop: &AtomicBool) -> anyhow::Result<PathBuf> {
    say("packing the site");
    let mut scanned = scan(site, &ScanOptions::default())?;
    interpreter::add(&mut scanned.tree, php)?;
    let dir = toolchain::guest::cache_folder().join("demo");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let image = dir.join(format!("{name}.zapp"));
    let options = PackOptions {
        force: true,
        tool: concat!("zapp ", env!("CARGO_PKG_VERSION")).into(),
        ..PackOptions::default()
    };
    let report = pack(scanned.tree, &options, &image, &|_| (), stop)?;
    say(&format!(
        "{} files, {} bytes, packed into {} bytes",
        report.files, report.total_size, report.image_len
    ));
    Ok(image)
}
