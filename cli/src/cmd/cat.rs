//! `zapp cat`: contents of files.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use imagefs::{Image, Ino, Kind};

use super::{find, open, shown};
use crate::output::Output;
use crate::status::{self, Status};

/// Bytes read at once.
const PART: usize = 1 << 20;

/// Writes files of an image to stdout, one after another
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image file
    image: PathBuf,
    /// Files in the image; symlinks are followed inside it
    #[arg(required = true)]
    paths: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let image = open(&args.image)?;
    let mut out = Output::new();
    let mut worst = Status::Done;
    for path in &args.paths {
        let ino = match find(&image, path, true) {
            Ok(ino) => ino,
            Err(error) => {
                eprintln!("zapp: {}: {error}", shown(path));
                worst = if worst == Status::Done {
                    Status::Negative
                } else {
                    worst
                };
                continue;
            }
        };
        if image.kind(ino) == Kind::Directory {
            eprintln!("zapp: {}: is a directory", shown(path));
            worst = Status::Partial;
            continue;
        }
        if let Err(error) = copy(&image, ino, &mut out).with_context(|| shown(path)) {
            if status::is_closed_pipe(&error) || status::code(&error) != 1 {
                return Err(error);
            }
            // A damaged file does not keep the others from being read.
            status::say(&error);
            worst = if worst == Status::Done {
                Status::Negative
            } else {
                worst
            };
        }
    }
    out.flush()?;
    Ok(worst)
}

fn copy(image: &Image, ino: Ino, out: &mut Output) -> anyhow::Result<()> {
    let mut part = vec![0; PART.min(usize::try_from(image.stat(ino).size).unwrap_or(PART))];
    let mut offset = 0;
    loop {
        let n = image.read_at(ino, offset, &mut part)?;
        if n == 0 {
            return Ok(());
        }
        out.write_all(&part[..n])?;
        offset += n as u64;
    }
}
