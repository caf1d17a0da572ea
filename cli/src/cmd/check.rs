//! `zapp check`: whether an image is sound.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use imagefs::deep::{self, CheckOptions, Checked, Fault};
use imagefs::{Error, Image};
use serde_json::{Map, Value, json};

use super::{progress, shown};
use crate::name;
use crate::output::Output;
use crate::status::Status;
use crate::{interrupt, name::hex};

/// Checks the structure, every hash and the tree id; exit code 1 means damaged
///
/// All damage is listed, with its place in the file and the files it spoils. --deep also decodes every file and
/// compares it with its content hash, and checks what mapped and servable files promise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also decode every file and compare it with its hash
    #[arg(long)]
    deep: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// No progress bar
    #[arg(short, long)]
    quiet: bool,
    /// Image file
    image: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let stop = interrupt::flag()?;
    let image = match Image::open(&args.image) {
        Ok(image) => image,
        Err(error @ (Error::NotAnImage(_) | Error::Corrupt { .. })) => {
            return unreadable(args, &error);
        }
        Err(error) => return Err(error).with_context(|| shown(args.image.as_os_str())),
    };
    let bar = progress::Bar::new(deep::work(&image, args.deep), "checking", args.quiet);
    let options = CheckOptions {
        contents: args.deep,
        progress: &|bytes| bar.add(bytes),
        stop: &stop,
    };
    let checked = deep::check(&image, &options)?;
    bar.clear();
    let mut out = Output::new();
    if args.json {
        out.json(&document(&image, &checked))?;
    } else {
        for fault in &checked.faults {
            line(&mut out, fault)?;
        }
        summary(&mut out, &checked)?;
    }
    out.flush()?;
    Ok(if checked.faults.is_empty() {
        Status::Done
    } else {
        Status::Negative
    })
}

/// Damage in the metadata: nothing behind it can be looked at.
fn unreadable(args: &Args, error: &Error) -> anyhow::Result<Status> {
    let (what, offset) = match error {
        Error::Corrupt { what, offset } => (what.clone(), Some(*offset)),
        other => (other.to_string(), None),
    };
    let fault = Fault {
        what,
        offset,
        block: None,
        paths: Vec::new(),
        more: 0,
    };
    let mut out = Output::new();
    if args.json {
        out.json(&json!({"sound": false, "faults": [object(&fault)]}))?;
    } else {
        line(&mut out, &fault)?;
        writeln!(
            out,
            "damaged: the metadata cannot be trusted, nothing else was checked"
        )?;
    }
    out.flush()?;
    Ok(Status::Negative)
}

fn line(out: &mut Output, fault: &Fault) -> std::io::Result<()> {
    if let Some(offset) = fault.offset {
        write!(out, "at {offset}: ")?;
    }
    if let Some(block) = fault.block {
        write!(out, "block {block}: ")?;
    }
    writeln!(out, "{}", fault.what)?;
    for path in &fault.paths {
        out.write_all(b"    ")?;
        out.name(path)?;
        out.write_all(b"\n")?;
    }
    if fault.more > 0 {
        writeln!(out, "    and {} more", fault.more)?;
    }
    Ok(())
}

fn summary(out: &mut Output, checked: &Checked) -> std::io::Result<()> {
    if checked.skipped > 0 {
        writeln!(out, "{} files over 1 TiB were not decoded", checked.skipped)?;
    }
    let what = format!(
        "{} blocks, {} contents decoded",
        checked.blocks, checked.contents
    );
    match checked.faults.len() {
        0 => writeln!(out, "good: {what}"),
        1 => writeln!(out, "damaged in one place: {what}"),
        n => writeln!(out, "damaged in {n} places: {what}"),
    }
}

fn document(image: &Image, checked: &Checked) -> Value {
    json!({
        "sound": checked.faults.is_empty(),
        "image_id": hex(&image.image_id()),
        "tree_id": hex(&image.tree_id()),
        "blocks": checked.blocks,
        "contents": checked.contents,
        "skipped": checked.skipped,
        "faults": checked.faults.iter().map(object).collect::<Vec<_>>(),
    })
}

fn object(fault: &Fault) -> Value {
    let paths: Vec<Value> = fault
        .paths
        .iter()
        .map(|path| {
            let mut object = Map::new();
            name::put(&mut object, "path", path);
            Value::Object(object)
        })
        .collect();
    json!({
        "what": fault.what,
        "offset": fault.offset,
        "block": fault.block,
        "files": paths,
        "more_files": fault.more,
    })
}
