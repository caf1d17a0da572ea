//! The system calls that mount and unmount, and the way through `fusermount3` for those who may not.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// The device that connects a file system to the kernel.
const DEVICE: &str = "/dev/fuse";
/// The set-id helper of the package fuse3. `FUSERMOUNT_PATH` names another one.
const HELPER: &str = "fusermount3";
/// Type in `/proc/mounts`.
const SUBTYPE: &str = "zapp";

/// Why an image could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The kernel has no FUSE, or this container does not get it.
    #[error(
        "{DEVICE} is missing: load the kernel module (modprobe fuse), or give the container --device {DEVICE}"
    )]
    NoDevice,
    /// Not root, and no helper.
    #[error(
        "{HELPER} is missing, and only root can mount without it: install the package fuse3 \
         (apt-get install fuse3, dnf install fuse3, apk add fuse3)"
    )]
    NoHelper,
    /// The directory cannot be mounted on.
    #[error("{point}: {what}")]
    Point {
        /// The directory.
        point: String,
        /// What is wrong with it.
        what: String,
    },
    /// The helper refused; its words.
    #[error("{HELPER}: {0}")]
    Helper(String),
    /// Files below the directory are in use.
    #[error("{0}: in use; close what uses it, or unmount lazily")]
    Busy(String),
    /// Nothing is mounted there.
    #[error("{0}: not a mount point")]
    NotMounted(String),
    /// The kernel and this program did not agree on a protocol.
    #[error("the kernel does not speak to us: {0}")]
    Handshake(#[source] io::Error),
    /// The system said no.
    #[error("{call}: {source}")]
    Io {
        /// What was tried.
        call: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

fn failed(call: &'static str, source: impl Into<io::Error>) -> MountError {
    MountError::Io {
        call,
        source: source.into(),
    }
}

fn shown(path: &Path) -> String {
    crate::error::printable(path.as_os_str().as_bytes())
}

/// Resolves a mount point and makes sure that it is a directory.
pub(super) fn check_point(point: &Path) -> Result<PathBuf, MountError> {
    let bad = |what: String| MountError::Point {
        point: shown(point),
        what,
    };
    let refused = |e: Errno| match e {
        Errno::NOTCONN => bad("a dead mount is in the way; take it away with zapp umount".into()),
        e => bad(io::Error::from(e).to_string()),
    };
    let resolved = point
        .canonicalize()
        .map_err(|e| Errno::from_io_error(&e).map_or_else(|| bad(e.to_string()), refused))?;
    // A server that died leaves its mount behind, and the kernel still has the attributes of its root. Only a question
    // that it cannot answer by itself shows that nobody is there.
    rustix::fs::statvfs(&resolved).map_err(refused)?;
    if !resolved.is_dir() {
        return Err(bad("not a directory".into()));
    }
    Ok(resolved)
}

/// Whether this process can open the device by itself.
pub(super) fn may_open_device() -> bool {
    open_device().is_ok()
}

fn open_device() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(DEVICE)
}

/// Mounts at a resolved directory and returns the connection to the kernel.
pub(super) fn mount(source: &[u8], point: &Path, allow_other: bool) -> Result<OwnedFd, MountError> {
    if !Path::new(DEVICE).exists() {
        return Err(MountError::NoDevice);
    }
    if rustix::process::geteuid().is_root() {
        match mount_directly(source, point, allow_other) {
            // Root of a container may not mount, while the helper may have been given the right.
            Err(MountError::Io { source, .. })
                if Errno::from_io_error(&source) == Some(Errno::PERM) => {}
            result => return result,
        }
    }
    mount_by_helper(source, point, allow_other)
}

fn mount_directly(source: &[u8], point: &Path, allow_other: bool) -> Result<OwnedFd, MountError> {
    let device = open_device().map_err(|e| failed("open /dev/fuse", e))?;
    // The options name the connection by its number; 40000 is the type of the root, a directory.
    let mut options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if allow_other {
        options.push_str(",allow_other");
    }
    let options = CString::new(options).expect("no NUL in numbers and words");
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    let fstype = format!("fuse.{SUBTYPE}");
    rustix::mount::mount(
        OsStr::from_bytes(source),
        point,
        fstype,
        flags,
        options.as_c_str(),
    )
    .map_err(|e| failed("mount", e))?;
    Ok(device.into())
}

/// The helper mounts for us and sends the connection over a socket, which it gets as its stdin.
fn mount_by_helper(source: &[u8], point: &Path, allow_other: bool) -> Result<OwnedFd, MountError> {
    let (ours, theirs) = UnixStream::pair().map_err(|e| failed("socketpair", e))?;
    let mut options = b"ro,nosuid,nodev,default_permissions,subtype=".to_vec();
    options.extend_from_slice(SUBTYPE.as_bytes());
    if allow_other {
        options.extend_from_slice(b",allow_other");
    }
    options.extend_from_slice(b",fsname=");
    // In the helper's list of options a comma ends a value and a backslash takes the next character as it is.
    for &byte in source {
        if matches!(byte, b',' | b'\\') {
            options.push(b'\\');
        }
        options.push(byte);
    }
    let mut child = Command::new(helper())
        .arg("-o")
        .arg(OsString::from_vec(options))
        .arg("--")
        .arg(point)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => MountError::NoHelper,
            _ => failed("run fusermount3", e),
        })?;
    let device = receive(&ours);
    let mut words = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut words);
    }
    let status = child
        .wait()
        .map_err(|e| failed("wait for fusermount3", e))?;
    match device {
        Ok(Some(device)) if status.success() => Ok(device),
        Err(error) if words.is_empty() => Err(failed("receive from fusermount3", error)),
        _ => Err(MountError::Helper(in_short(&words))),
    }
}

/// Receives the connection; `None` when the helper ended without sending it.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let parts = &mut [IoSliceMut::new(&mut byte)];
    loop {
        match recvmsg(socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
            Ok(_) => break,
        }
    }
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}

fn helper() -> OsString {
    std::env::var_os("FUSERMOUNT_PATH").unwrap_or_else(|| HELPER.into())
}

/// What the helper said, without its name and on one line.
fn in_short(words: &str) -> String {
    let prefix = format!("{HELPER}: ");
    let lines: Vec<&str> = words
        .lines()
        .map(|line| line.strip_prefix(&prefix).unwrap_or(line))
        .collect();
    match lines.join("; ") {
        text if text.is_empty() => "it failed without a word".into(),
        text => text,
    }
}

/// Unmounts a directory. `lazy` takes it out of sight at once and lets those who use it finish.
///
/// # Errors
/// Something below it is in use, nothing is mounted there, or the system said no.
pub fn unmount(point: &Path, lazy: bool) -> Result<(), MountError> {
    let flags = if lazy {
        UnmountFlags::DETACH
    } else {
        UnmountFlags::empty()
    };
    // The caller has resolved the path; a symlink that appears in it now is somebody's trick.
    match rustix::mount::unmount(point, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(MountError::Busy(shown(point))),
        Err(Errno::INVAL) => Err(MountError::NotMounted(shown(point))),
        Err(Errno::PERM) => unmount_by_helper(point, lazy),
        Err(e) => Err(failed("umount", e)),
    }
}

fn unmount_by_helper(point: &Path, lazy: bool) -> Result<(), MountError> {
    let mut command = Command::new(helper());
    command.arg("-u");
    if lazy {
        command.arg("-z");
    }
    let output = command
        .arg("--")
        .arg(point)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => MountError::NoHelper,
            _ => failed("run fusermount3", e),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    if words.contains("busy") {
        return Err(MountError::Busy(shown(point)));
    }
    if words.contains("not found in /etc/mtab") || words.contains("not mounted") {
        return Err(MountError::NotMounted(shown(point)));
    }
    Err(MountError::Helper(in_short(&words)))
}
