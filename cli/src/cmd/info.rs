//! `zapp info`: what an image is made of, and what holds for the site in it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use imagefs::summary::{Summary, summary};
use serde_json::{Value, json};
use server::{Effective, Manifest, Row};

use super::{open, shown};
use crate::name::{escaped, hex};
use crate::output::Output;
use crate::status::Status;

/// Shows identities, sizes for each storage class, deduplication and how the image was made
///
/// With --manifest: what holds for the site while it is served, key by key, and whether its manifest says so, what it was
/// recognised as, or nobody.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
    /// Show what holds for the site, and where each value comes from
    #[arg(long)]
    manifest: bool,
    /// Image file
    image: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let image = open(&args.image)?;
    if args.manifest {
        let holds = Manifest::explain(&image).with_context(|| shown(args.image.as_os_str()))?;
        manifest(&holds, args.json)?;
        return Ok(Status::Done);
    }
    let summary = summary(&image);
    // Tools and options of the writer; shown as they are when they are no JSON.
    let build: Value = serde_json::from_slice(image.build_info())
        .unwrap_or_else(|_| String::from_utf8_lossy(image.build_info()).into());
    let mut out = Output::new();
    if args.json {
        let value = json!({
            "image_id": hex(&image.image_id()),
            "tree_id": hex(&image.tree_id()),
            "image_size": image.image_len(),
            "format": format!("{}.{}", imagefs::format::VERSION_MAJOR, imagefs::format::VERSION_MINOR),
            "directories": summary.directories,
            "files": summary.files,
            "names": summary.names,
            "symlinks": summary.symlinks,
            "plain_size": summary.plain,
            "data_size": summary.data,
            "metadata_size": summary.metadata,
            "classes": summary.classes.iter().map(|c| json!({
                "class": c.class.name(), "files": c.files, "contents": c.contents, "plain_size": c.plain,
                "stored_size": c.stored,
            })).collect::<Vec<_>>(),
            "dedup": {"files": summary.shared_files, "bytes": summary.shared_bytes},
            "sections": image.sections().iter().map(|(name, _, len)| json!({"name": name, "size": len}))
                .collect::<Vec<_>>(),
            "build": build,
        });
        out.json(&value)?;
    } else {
        text(&mut out, &image, &summary, &build)?;
    }
    out.flush()?;
    Ok(Status::Done)
}

/// One key a line, as a manifest could say it, with its origin behind it.
fn manifest(holds: &Effective, json: bool) -> anyhow::Result<()> {
    let mut out = Output::new();
    if json {
        let keys = holds
            .rows
            .iter()
            .map(|row| json!({"key": row.key, "value": row.value, "from": row.origin.to_string()}));
        let keys: Vec<Value> = keys.collect();
        out.json(&json!({"recognised": holds.recognised, "keys": keys}))?;
    } else {
        writeln!(out, "# recognised as {}", holds.recognised)?;
        for Row { key, value, origin } in &holds.rows {
            let line = format!("{key} = {value}");
            writeln!(out, "{}  # {origin}", escaped(line.as_bytes()))?;
        }
    }
    out.flush()?;
    Ok(())
}

fn text(
    out: &mut Output,
    image: &imagefs::Image,
    s: &Summary,
    build: &Value,
) -> std::io::Result<()> {
    writeln!(out, "image id     {}", hex(&image.image_id()))?;
    writeln!(out, "tree id      {}", hex(&image.tree_id()))?;
    writeln!(
        out,
        "size         {} bytes{} (data {}, metadata {})",
        image.image_len(),
        super::share(image.image_len(), s.plain),
        s.data,
        s.metadata
    )?;
    writeln!(
        out,
        "holds        {} directories, {} files ({} names), {} symlinks",
        s.directories, s.files, s.names, s.symlinks
    )?;
    writeln!(
        out,
        "dedup        {} files share their bytes with another, {} bytes saved",
        s.shared_files, s.shared_bytes
    )?;
    writeln!(
        out,
        "\nclass             files   contents        bytes       stored"
    )?;
    for class in &s.classes {
        writeln!(
            out,
            "{:<12} {:>10} {:>10} {:>12} {:>12}",
            class.class.name(),
            class.files,
            class.contents,
            class.plain,
            class.stored
        )?;
    }
    writeln!(out, "\nmade by")?;
    match build {
        Value::Object(fields) => {
            for (key, value) in fields {
                writeln!(out, "  {key:<12} {}", escaped(value.to_string().as_bytes()))?;
            }
        }
        other => writeln!(out, "  {}", escaped(other.to_string().as_bytes()))?,
    }
    Ok(())
}
