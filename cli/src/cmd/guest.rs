//! `zapp guest`: guest programs and libraries that zapp itself knows how to build.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value};
use toolchain::guest::Guest;
use toolchain::guest::php::Extensions;

use crate::args::EXIT_CODES;
use crate::output::Output;
use crate::status::Status;

/// Builds guests from Debian's sources, and tells where they are
///
/// What is built is kept in ~/.cache/zapp ($ZAPP_CACHE_DIR), by the hash of its recipe and of the compiler, GCC's version included:
/// building it again costs nothing until one of them changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Builds guests that have not been built yet, and prints their paths
    ///
    /// The last line of stdout is the path of the last guest named. Building the libc takes about a minute of processor time,
    /// PHP about six. stderr tells which step it is at, a terminal how many files are compiled. An interrupted build leaves nothing
    /// half done; the one of PHP goes on where it stopped.
    #[command(after_help = EXIT_CODES)]
    Build(Build),
    /// Prints where a finished guest is; 1 when it has not been built
    #[command(after_help = EXIT_CODES)]
    Path(Build),
    /// Lists what can be built, and whether it has been
    #[command(after_help = EXIT_CODES)]
    List {
        /// One JSON document for each guest
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Guests
    #[arg(value_name = "GUEST", required = true)]
    guests: Vec<Name>,
    /// Extensions of PHP: small (those that every build has), full, or names with commas between, as in gd,zip
    #[arg(long, value_name = "SET", default_value = "full")]
    with: String,
    /// One JSON document for each guest
    #[arg(long)]
    json: bool,
}

/// A guest as the command line names it.
#[derive(Debug, Clone, Copy)]
struct Name(Guest);

impl ValueEnum for Name {
    fn value_variants<'a>() -> &'a [Self] {
        const { &[Name(Guest::ALL[0]), Name(Guest::ALL[1])] }
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()).help(self.0.about()))
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    toolchain::process::stop_on(&crate::interrupt::flag()?);
    toolchain::guest::tell_pipes();
    match &args.action {
        Action::Build(args) => build(args),
        Action::Path(args) => path(args),
        Action::List { json } => list(*json),
    }
}

fn build(args: &Build) -> anyhow::Result<Status> {
    let with = Extensions::from(args.with.clone());
    for &Name(guest) in &args.guests {
        let start = Instant::now();
        let kept = guest.path(&with)?.is_some();
        let path = guest
            .build(&with)
            .with_context(|| format!("cannot build {}", guest.name()))?;
        // Nothing is held back: the next one may take minutes.
        let mut out = Output::new();
        if args.json {
            let mut object = document(guest, Some(&path));
            object.insert("kept".into(), kept.into());
            object.insert("seconds".into(), start.elapsed().as_secs_f64().into());
            out.json(&Value::Object(object))?;
        } else {
            line(&mut out, &path)?;
        }
        out.flush()?;
    }
    Ok(Status::Done)
}

fn path(args: &Build) -> anyhow::Result<Status> {
    let with = Extensions::from(args.with.clone());
    let mut out = Output::new();
    let mut status = Status::Done;
    for &Name(guest) in &args.guests {
        let path = guest.path(&with)?;
        if path.is_none() {
            let name = guest.name();
            eprintln!("zapp: {name} has not been built; run: zapp guest build {name}");
            status = Status::Negative;
        }
        match path {
            _ if args.json => out.json(&Value::Object(document(guest, path.as_deref())))?,
            Some(path) => line(&mut out, &path)?,
            None => {}
        }
    }
    out.flush()?;
    Ok(status)
}

fn list(json: bool) -> anyhow::Result<Status> {
    let mut out = Output::new();
    for guest in Guest::ALL {
        // A recipe that is gone is no reason not to list the others.
        let path = guest
            .path(&Extensions::full())
            .or_else(|error| match error {
                toolchain::error::Error::NoSources { .. } => Ok(None),
                error => Err(error),
            })?;
        if json {
            let mut object = document(guest, path.as_deref());
            object.insert("about".into(), guest.about().into());
            out.json(&Value::Object(object))?;
        } else {
            let state = if path.is_some() { "built" } else { "-" };
            writeln!(out, "{:6} {state:6} {}", guest.name(), guest.about())?;
        }
    }
    out.flush()?;
    Ok(Status::Done)
}

fn line(out: &mut Output, path: &Path) -> std::io::Result<()> {
    out.name(path.as_os_str().as_bytes())?;
    out.write_all(b"\n")
}

fn document(guest: Guest, path: Option<&Path>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("guest".into(), guest.name().into());
    object.insert("built".into(), path.is_some().into());
    match path {
        Some(path) => crate::name::put(&mut object, "path", path.as_os_str().as_bytes()),
        None => {
            object.insert("path".into(), Value::Null);
        }
    }
    object
}
