//! `zapp diff`: what differs between two images.

use std::io::Write;
use std::path::PathBuf;

use imagefs::diff::{Change, Difference, diff};
use serde_json::{Map, Value};

use super::open;
use crate::name;
use crate::output::Output;
use crate::status::Status;

/// Compares two images by what they contain; exit code 1 means different
///
/// One line for each name: "- PATH" is only in A, "+ PATH" only in B, "M PATH (content, mode)" differs in what is in
/// parentheses. Times, owners and the way files are stored do not matter. Images of one tree id are equal at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Say nothing, only set the exit code
    #[arg(short, long)]
    quiet: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// First image
    a: PathBuf,
    /// Second image
    b: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    let mut out = Output::new();
    let mut status = Status::Done;
    diff(&a, &b, &mut |difference| {
        status = Status::Negative;
        if args.quiet {
            return Ok(());
        }
        if args.json {
            out.json(&object(&difference))
        } else {
            line(&mut out, &difference)
        }
    })?;
    out.flush()?;
    Ok(status)
}

fn line(out: &mut Output, difference: &Difference) -> std::io::Result<()> {
    let sign = match &difference.change {
        Change::Added => "+ ",
        Change::Removed => "- ",
        Change::Changed(_) => "M ",
    };
    out.write_all(sign.as_bytes())?;
    out.name(if difference.path.is_empty() {
        b"/"
    } else {
        &difference.path
    })?;
    if let Change::Changed(what) = &difference.change {
        write!(out, " ({})", what.join(", "))?;
    }
    out.write_all(b"\n")
}

fn object(difference: &Difference) -> Value {
    let mut object = Map::new();
    name::put(&mut object, "path", &difference.path);
    let change = match &difference.change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed(what) => {
            object.insert("differs".into(), what.clone().into());
            "changed"
        }
    };
    object.insert("change".into(), change.into());
    Value::Object(object)
}
