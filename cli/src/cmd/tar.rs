//! `zapp tar`: an image as a tar archive.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{open, shown};
use crate::status::Status;

/// Writes an image as a tar archive (POSIX pax) that GNU tar and others read
///
/// The same image gives the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Archive to write; - is stdout
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Image file
    image: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let image = open(&args.image)?;
    if args.output == Path::new("-") {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            bail!("a terminal cannot show an archive; redirect stdout or give -o FILE");
        }
        let mut out = BufWriter::with_capacity(1 << 20, stdout.lock());
        imagefs::tar::write(&image, &mut out)?;
        out.flush()?;
        return Ok(Status::Done);
    }
    let what = || shown(args.output.as_os_str());
    let file = File::create(&args.output).with_context(what)?;
    let regular = file.metadata().is_ok_and(|meta| meta.is_file());
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let written = imagefs::tar::write(&image, &mut out)
        .map_err(anyhow::Error::from)
        .and_then(|_| Ok(out.flush()?));
    if written.is_err() && regular {
        // Half an archive is worse than none.
        let _ = std::fs::remove_file(&args.output);
    }
    written.with_context(what)?;
    Ok(Status::Done)
}
