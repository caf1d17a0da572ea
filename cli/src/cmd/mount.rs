//! `zapp mount` and `zapp umount`: an image as a directory.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use imagefs::fuse::{MountError, MountOptions, Mounted, unmount};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{open, shown};
use crate::status::{self, Status};

/// What the background process says when the mount answers.
const READY: &[u8] = b"ready\n";

/// Shows an image as a read-only directory (FUSE)
///
/// Returns when the mount answers; -f stays. SIGINT, SIGTERM and SIGHUP unmount; when files are in use, the directory
/// is taken out of sight at once and the process ends with the last user. Beside a file's own extended attributes,
/// user.zapp.class and user.zapp.blake3 can be read by name (getfattr -n). The image file must not be changed meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stay in the foreground
    #[arg(short, long)]
    foreground: bool,
    /// Mount options: allow_other lets other users in; ro, nosuid, nodev and default_permissions always hold
    #[arg(short, value_name = "OPTION", value_delimiter = ',')]
    options: Vec<String>,
    /// Threads that answer the kernel
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Used by the command itself: say on stdout that the mount answers, then let go of the terminal
    #[arg(long, hide = true)]
    background_child: bool,
    /// Image file
    image: PathBuf,
    /// Directory to mount at
    directory: PathBuf,
}

/// Ends a mount
#[derive(Debug, clap::Args)]
pub(crate) struct UmountArgs {
    /// Take it out of sight at once and let those who use it finish
    #[arg(short, long)]
    lazy: bool,
    /// Directory where an image is mounted
    directory: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let mut options = MountOptions {
        threads: args.threads,
        ..MountOptions::default()
    };
    for option in &args.options {
        match option.as_str() {
            "allow_other" => options.allow_other = true,
            "ro" | "nosuid" | "nodev" | "default_permissions" => {}
            other => bail!("unknown mount option {}", shown(other.as_ref())),
        }
    }
    if args.foreground || args.background_child {
        serve(args, options)
    } else {
        in_background(args)
    }
}

/// Runs this program again as a session of its own, and waits until it says that the mount answers. Forking instead
/// would lose threads that libraries may have started.
fn in_background(args: &Args) -> anyhow::Result<Status> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("zapp").arg("mount").arg("--background-child");
    for option in &args.options {
        command.arg("-o").arg(option);
    }
    if let Some(threads) = args.threads {
        command.arg("--threads").arg(threads.to_string());
    }
    let mut child = command
        .arg("--")
        .arg(&args.image)
        .arg(&args.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the background process")?;
    let mut said = Vec::new();
    child
        .stdout
        .take()
        .expect("it is piped")
        .read_to_end(&mut said)?;
    if said == READY {
        return Ok(Status::Done);
    }
    // It has said on stderr what is wrong.
    match child.wait()?.code() {
        Some(1) => Ok(Status::Negative),
        Some(_) => Ok(Status::Partial),
        None => bail!("the background process was killed"),
    }
}

fn serve(args: &Args, mut options: MountOptions) -> anyhow::Result<Status> {
    // From here on a signal unmounts; before the mount there is nothing to undo.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let image = open(&args.image)?;
    let source = args.image.canonicalize()?;
    if !args.background_child {
        let names = image.clone();
        options.on_damage = Some(Arc::new(move |ino, error| {
            let hash = names.content_hash(ino).unwrap_or_default();
            eprintln!(
                "zapp: file with content {}: {error}",
                crate::name::hex(&hash[..8])
            );
        }));
    }
    let mounted = Mounted::new(image, &source, &args.directory, &options)
        .with_context(|| shown(args.directory.as_os_str()))?;
    let point = mounted.point().to_owned();
    let watched = point.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // The first signal unmounts; after that the process ends by itself, or at the next signal.
            if signals.forever().next().is_some() {
                end(&watched);
            }
            if signals.forever().next().is_some() {
                std::process::exit(130);
            }
        })?;
    let background = args.background_child;
    std::thread::Builder::new()
        .name("ready".into())
        .spawn(move || {
            // Answered by the threads of the session, so it shows that the mount works.
            if let Err(error) = std::fs::metadata(&point) {
                eprintln!("zapp: {}: {error}", shown(point.as_os_str()));
                end(&point);
            } else if background {
                let _ = let_go();
            }
        })?;
    mounted.serve().context("serve the mount")?;
    Ok(Status::Done)
}

/// Says that all is well and leaves the terminal, the session and the working directory of the caller.
fn let_go() -> anyhow::Result<()> {
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    std::io::stdout().write_all(READY)?;
    std::io::stdout().flush()?;
    rustix::stdio::dup2_stderr(&null)?;
    // Last: closing the pipe is what the caller waits for.
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// Unmounts on a signal. What is in use is taken out of sight, so that nobody new comes in.
fn end(point: &Path) {
    match unmount(point, false) {
        Ok(()) | Err(MountError::NotMounted(_)) => {}
        Err(MountError::Busy(_)) => {
            let point_shown = shown(point.as_os_str());
            eprintln!("zapp: {point_shown}: in use; waiting for the last user");
            if let Err(error) = unmount(point, true) {
                eprintln!("zapp: {point_shown}: {error}");
            }
        }
        Err(error) => eprintln!("zapp: {}: {error}", shown(point.as_os_str())),
    }
}

pub(crate) fn run_umount(args: &UmountArgs) -> anyhow::Result<Status> {
    let point = resolve(&args.directory)?;
    let mounts = std::fs::read("/proc/self/mounts").unwrap_or_default();
    match filesystem_at(&mounts, &point).as_deref() {
        Some(b"fuse.zapp") | None => {}
        Some(other) => {
            bail!(
                "{}: a {} mount, not one of ours",
                shown(point.as_os_str()),
                crate::name::escaped(other)
            )
        }
    }
    match unmount(&point, args.lazy) {
        Ok(()) => Ok(Status::Done),
        Err(error @ MountError::NotMounted(_)) => {
            status::say(&error.into());
            Ok(Status::Negative)
        }
        Err(error) => Err(error.into()),
    }
}

/// The path with its symlinks resolved. The mount point itself is not looked at: the server behind it may be dead.
fn resolve(path: &Path) -> anyhow::Result<PathBuf> {
    if let Ok(resolved) = path.canonicalize() {
        return Ok(resolved);
    }
    let absolute = std::path::absolute(path)?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Ok(absolute);
    };
    Ok(parent
        .canonicalize()
        .with_context(|| shown(path.as_os_str()))?
        .join(name))
}

/// Type of the file system mounted last at a path, from the lines of `/proc/self/mounts`.
fn filesystem_at(mounts: &[u8], point: &Path) -> Option<Vec<u8>> {
    mounts.split(|&b| b == b'\n').rev().find_map(|line| {
        let mut fields = line.split(|&b| b == b' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        (unescaped(at) == point.as_os_str().as_bytes()).then(|| kind.to_vec())
    })
}

/// Undoes the octal escapes of `/proc/self/mounts`: space, tab, newline, backslash and `#`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = |digits: &[u8]| {
            digits.iter().try_fold(0_u8, |n, d| {
                let digit = d.checked_sub(b'0').filter(|&d| d < 8)?;
                n.checked_mul(8)?.checked_add(digit)
            })
        };
        if byte == b'\\'
            && let Some(value) = after.get(..3).and_then(octal)
        {
            out.push(value);
            rest = &after[3..];
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_with_their_escapes() {
        let mounts = b"/a,b /mnt/x\\040y fuse.zapp ro 0 0\ntmpfs /mnt tmpfs rw 0 0\n";
        assert_eq!(
            filesystem_at(mounts, Path::new("/mnt/x y")).unwrap(),
            b"fuse.zapp"
        );
        assert_eq!(filesystem_at(mounts, Path::new("/mnt")).unwrap(), b"tmpfs");
        assert_eq!(filesystem_at(mounts, Path::new("/elsewhere")), None);
        assert_eq!(unescaped(b"a\\134b\\9"), b"a\\b\\9");
    }
}
