//! `zapp tree`: an image drawn as a tree.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use imagefs::{Image, Ino, Kind};

use super::{find, open, shown};
use crate::output::Output;
use crate::status::Status;

/// Draws the directories of an image
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Descend at most this many levels
    #[arg(short = 'L', long, value_name = "N")]
    level: Option<usize>,
    /// Directories only
    #[arg(short, long)]
    dirs: bool,
    /// Image file
    image: PathBuf,
    /// Directory in the image
    #[arg(default_value = "/")]
    path: OsString,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let image = open(&args.image)?;
    let root = match find(&image, &args.path, true) {
        Ok(ino) => ino,
        Err(error) => {
            eprintln!("zapp: {}: {error}", shown(&args.path));
            return Ok(Status::Negative);
        }
    };
    let mut out = Output::new();
    out.name(args.path.as_encoded_bytes())?;
    out.write_all(b"\n")?;
    let (dirs, files) = draw(&image, root, args, &mut out)?;
    write!(
        out,
        "\n{dirs} {}",
        if dirs == 1 {
            "directory"
        } else {
            "directories"
        }
    )?;
    if !args.dirs {
        write!(
            out,
            ", {files} {}",
            if files == 1 { "file" } else { "files" }
        )?;
    }
    writeln!(out)?;
    out.flush()?;
    Ok(Status::Done)
}

/// Draws what is below a directory; returns the numbers of directories and of other files.
fn draw(image: &Image, root: Ino, args: &Args, out: &mut Output) -> anyhow::Result<(u64, u64)> {
    let (mut dirs, mut files) = (0, 0);
    // Each level: its directory, and the next entry to draw.
    let mut stack = vec![(root, 0)];
    let mut prefix = String::new();
    while let Some((dir, next)) = stack.last_mut() {
        let visible = |index: u32| {
            (index..image.dir_len(*dir)).find(|&i| {
                !args.dirs
                    || image
                        .dir_entry(*dir, i)
                        .is_some_and(|e| e.kind == Kind::Directory)
            })
        };
        let Some(index) = visible(*next) else {
            stack.pop();
            for _ in 0..4 {
                prefix.pop();
            }
            continue;
        };
        let last = visible(index + 1).is_none();
        *next = index + 1;
        let entry = image.dir_entry(*dir, index).expect("below dir_len");
        out.write_all(prefix.as_bytes())?;
        out.write_all(if last { "└── " } else { "├── " }.as_bytes())?;
        out.name(entry.name)?;
        if let Some(target) = image.read_link(entry.ino) {
            out.write_all(b" -> ")?;
            out.name(target)?;
        }
        out.write_all(b"\n")?;
        if entry.kind == Kind::Directory {
            dirs += 1;
            if args.level.is_none_or(|level| stack.len() < level) {
                prefix.push_str(if last { "    " } else { "│   " });
                stack.push((entry.ino, 0));
            }
        } else {
            files += 1;
        }
    }
    Ok((dirs, files))
}
