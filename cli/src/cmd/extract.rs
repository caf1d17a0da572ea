//! `zapp extract`: files out of an image.

use std::path::PathBuf;

use imagefs::extract::{ExtractOptions, Watch, extract};

use super::{open, progress, shown};
use crate::status::Status;
use crate::{interrupt, name};

/// Takes files out of an image into a directory, and never writes outside it
///
/// Restores contents with their holes, permissions, times, hard links, symlinks and user attributes. A file or symlink
/// that is in the way is replaced; a directory is filled, and a symlink is never followed. Set-id bits do not exist in
/// images. Exit code 1 when no name matches, 2 when a name could not be extracted completely; the others are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Image file
    image: PathBuf,
    /// Only these names; without a slash at any depth, a directory with all that is in it
    globs: Vec<String>,
    /// Directory to extract into; it is made when its parent exists
    #[arg(short = 'C', long = "directory", value_name = "DIR")]
    directory: PathBuf,
    /// Restore owners, too (needs privilege)
    #[arg(long)]
    same_owner: bool,
    /// Do not restore extended attributes
    #[arg(long)]
    no_xattrs: bool,
    /// No progress bar
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let stop = interrupt::flag()?;
    let image = open(&args.image)?;
    let options = ExtractOptions {
        globs: args.globs.clone(),
        owner: args.same_owner,
        no_xattrs: args.no_xattrs,
    };
    let bar = progress::Bar::new(image.total_size(), "extracting", args.quiet);
    let mut damaged = false;
    let mut watch = Watch {
        progress: &mut |bytes| bar.add(bytes),
        failed: &mut |path, error| {
            damaged |= matches!(error, imagefs::Error::BadBlock { .. });
            bar.clear();
            eprintln!("zapp: {}: {error}", name::escaped(path));
        },
        stop: &stop,
    };
    let done = extract(&image, &args.directory, &options, &mut watch)?;
    bar.clear();
    let extracted = done.files + done.directories + done.symlinks + done.links;
    if done.failures > 0 {
        eprintln!(
            "zapp: {} of {} names failed",
            done.failures,
            extracted + done.failures
        );
        return Ok(if damaged {
            Status::Negative
        } else {
            Status::Partial
        });
    }
    if extracted == 0 && !args.globs.is_empty() {
        let globs: Vec<String> = args.globs.iter().map(|g| shown(g.as_ref())).collect();
        eprintln!("zapp: nothing matches {}", globs.join(" "));
        return Ok(Status::Negative);
    }
    Ok(Status::Done)
}
