//! Making names in directories that somebody else may be changing.
//!
//! Everything here is relative to an open directory and takes one name without a slash, or resolves a path beneath an
//! open directory without following symlinks (`openat2(2)`, `RESOLVE_BENEATH`).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, fstat,
};
use rustix::io::Errno;

use crate::error::Error;
use crate::reader::Stat;

/// How often another temporary name is tried when one is taken.
const NAME_TRIES: u32 = 1000;

/// Bytes of the image as a name for the system.
pub(super) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Opens the directory that everything goes into, making it when it is not there. A symlink is followed here: it is
/// what the user named.
pub(super) fn destination(dir: &Path) -> Result<(OwnedFd, bool), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let created = match rustix::fs::mkdir(dir, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(e) => return Err(Error::io("mkdir", dir, e)),
    };
    let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(|e| Error::io("open", dir, e))?;
    Ok((fd, created))
}

/// Opens one name in a directory, or a path beneath it, without following symlinks.
fn open_beneath(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir, os(path), flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that do not know the call: go component by component.
        Err(Errno::NOSYS | Errno::PERM) => {}
        result => return result,
    }
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    let mut names = path.split(|&b| b == b'/').peekable();
    while let Some(name) = names.next() {
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::INVAL);
        }
        let flags = if names.peek().is_some() {
            through
        } else {
            flags
        };
        let dir = at.as_ref().map_or(dir, AsFd::as_fd);
        at = Some(rustix::fs::openat(dir, os(name), flags, Mode::empty())?);
    }
    at.ok_or(Errno::INVAL)
}

/// Makes a directory, or opens the one that is there.
pub(super) fn directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(parent, os(name), Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    match open_beneath(parent, name, OFlags::RDONLY | OFlags::DIRECTORY) {
        // What openat2 says of a symlink where a directory should be.
        Err(Errno::LOOP) => Err(Errno::NOTDIR),
        result => result,
    }
}

/// Device and inode number of an open file.
pub(super) fn id(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let stat = fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Opens a file beneath a directory, when it is still the file it was.
pub(super) fn open_same(
    root: BorrowedFd<'_>,
    path: &[u8],
    expected: (u64, u64),
) -> Option<OwnedFd> {
    let fd = open_beneath(root, path, OFlags::PATH).ok()?;
    (id(fd.as_fd()).ok()? == expected).then_some(fd)
}

/// A new file or link under a temporary name; it vanishes unless it is renamed into place.
pub(super) struct Temp<'a> {
    dir: BorrowedFd<'a>,
    name: String,
    /// It is a further name of a file.
    link: bool,
    renamed: bool,
}

impl<'a> Temp<'a> {
    /// Makes something under the first temporary name that is free.
    fn make<T>(
        dir: BorrowedFd<'a>,
        mut make: impl FnMut(&str) -> Result<T, Errno>,
    ) -> Result<(Temp<'a>, T), Errno> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..NAME_TRIES {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".zapp-{}-{number}.tmp", std::process::id());
            match make(&name) {
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
                Ok(made) => {
                    return Ok((
                        Temp {
                            dir,
                            name,
                            link: false,
                            renamed: false,
                        },
                        made,
                    ));
                }
            }
        }
        Err(Errno::EXIST)
    }

    /// An empty file that only its owner can use.
    pub(super) fn file(dir: BorrowedFd<'a>) -> Result<(Temp<'a>, File), Errno> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let (temp, fd) = Temp::make(dir, |name| rustix::fs::openat(dir, name, flags, mode))?;
        Ok((temp, File::from(fd)))
    }

    /// A symlink.
    pub(super) fn symlink(dir: BorrowedFd<'a>, target: &[u8]) -> Result<Temp<'a>, Errno> {
        Ok(Temp::make(dir, |name| rustix::fs::symlinkat(os(target), dir, name))?.0)
    }

    /// A further name of an open file.
    pub(super) fn link(dir: BorrowedFd<'a>, source: BorrowedFd<'_>) -> Result<Temp<'a>, Errno> {
        // linkat(2) with AT_EMPTY_PATH needs privilege; by way of /proc it does not.
        let path = format!("/proc/self/fd/{}", source.as_raw_fd());
        let flags = AtFlags::SYMLINK_FOLLOW;
        let made = Temp::make(dir, |name| {
            rustix::fs::linkat(rustix::fs::CWD, path.as_str(), dir, name, flags)
        });
        let (mut temp, ()) = made?;
        temp.link = true;
        Ok(temp)
    }

    /// Puts it under its name, in place of any file or link of that name.
    pub(super) fn rename_to(mut self, name: &[u8]) -> Result<(), Errno> {
        rustix::fs::renameat(self.dir, self.name.as_str(), self.dir, os(name))?;
        // When both names are links to one file already, rename(2) does nothing, and the temporary name is still there.
        self.renamed = !self.link;
        Ok(())
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing more can be done when this fails, and the error that led here is the one to report.
            let _ = rustix::fs::unlinkat(self.dir, self.name.as_str(), AtFlags::empty());
        }
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec {
        tv_sec: stat.mtime,
        tv_nsec: stat.mtime_ns.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.uid)), Some(Gid::from_raw(stat.gid)))
}

/// Sets an extended attribute.
pub(super) fn set_xattr(fd: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(
        fd,
        os(name),
        value,
        XattrFlags::empty(),
    )?)
}

/// Owner, permissions and times of a file or directory.
pub(super) fn finish(fd: BorrowedFd<'_>, stat: &Stat, with_owner: bool) -> io::Result<()> {
    if with_owner {
        let (uid, gid) = owner(stat);
        rustix::fs::fchown(fd, uid, gid)?;
    }
    // The format has no set-id bits; this keeps it so whatever the reader says.
    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.mode & 0o1777))?;
    rustix::fs::futimens(fd, &times(stat))?;
    Ok(())
}

/// Owner and times of a symlink under its temporary name. Returns its device and inode number.
pub(super) fn finish_symlink(
    temp: &Temp<'_>,
    stat: &Stat,
    with_owner: bool,
) -> io::Result<(u64, u64)> {
    let fd = open_beneath(temp.dir, temp.name.as_bytes(), OFlags::PATH)?;
    let flags = AtFlags::EMPTY_PATH;
    if with_owner {
        let (uid, gid) = owner(stat);
        rustix::fs::chownat(&fd, "", uid, gid, flags)?;
    }
    match rustix::fs::utimensat(&fd, "", &times(stat), flags) {
        // Kernels before 5.8 cannot; a symlink's time is not worth failing for.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(id(fd.as_fd())?)
}
