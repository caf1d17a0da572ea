//! Answers to the kernel's questions.
//!
//! Inode numbers are the image's plus one (FUSE calls the root 1), so nothing needs to be remembered between calls, and
//! `forget` has nothing to do. `open` and `opendir` answer `ENOSYS`: the kernel then stops asking, keeps pages and
//! directory listings in its caches, and a file that is read again costs no call at all.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};

use super::OnDamage;
use crate::format::NAME_MAX;
use crate::reader::{Image, Ino, Kind, Stat};

/// How long the kernel may believe what it was told: images do not change.
const TTL: Duration = Duration::from_secs(86400);
/// Inode numbers are never used again for another file.
const GENERATION: Generation = Generation(0);
/// Largest read the kernel is asked to send at once.
const READ_MAX: u32 = 1 << 20;
/// Reads and read-aheads the kernel may have waiting.
const BACKGROUND: u16 = 64;
/// Unit of `statfs`.
const BLOCK: u64 = 4096;
/// Attributes that are not stored but made up from the image: readable by name, and not listed, so that a copy of the
/// tree does not carry them along.
const XATTR_CLASS: &[u8] = b"user.zapp.class";
const XATTR_BLAKE3: &[u8] = b"user.zapp.blake3";

thread_local! {
    /// Where a thread decodes what it sends.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The file system.
pub(super) struct View {
    image: Image,
    on_damage: Option<OnDamage>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

impl View {
    pub(super) fn new(image: Image, on_damage: Option<OnDamage>) -> View {
        View { image, on_damage }
    }

    /// The image's number of a file the kernel knows.
    fn ino(&self, ino: INodeNo) -> Option<Ino> {
        self.image
            .inode_at(u32::try_from(ino.0.checked_sub(1)?).ok()?)
    }

    fn attr(&self, ino: Ino) -> FileAttr {
        let stat = self.image.stat(ino);
        let time = time(&stat);
        FileAttr {
            ino: number(ino),
            size: stat.size,
            blocks: self.allocated(&stat).div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: kind(stat.kind),
            perm: u16::try_from(stat.mode).expect("twelve bits"),
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Bytes of a file without its holes: what `du` counts, and how programs tell that a file is sparse.
    fn allocated(&self, stat: &Stat) -> u64 {
        match stat.kind {
            Kind::Regular => self
                .image
                .data_ranges(stat.ino)
                .map(|r| r.end - r.start)
                .sum(),
            _ => 0,
        }
    }

    /// An attribute's value; `None` when the file does not have it.
    fn xattr(&self, ino: Ino, name: &[u8]) -> Option<Vec<u8>> {
        if let Some((_, value)) = self.image.xattrs(ino).find(|(key, _)| *key == name) {
            return Some(value.to_vec());
        }
        let hash = self.image.content_hash(ino)?;
        match name {
            XATTR_CLASS => Some(self.image.stat(ino).class.name().into()),
            XATTR_BLAKE3 => Some(blake3::Hash::from_bytes(hash).to_hex().as_bytes().to_vec()),
            _ => None,
        }
    }

    /// Where the next data or hole begins at or after `offset`; `None` past the end.
    fn seek(&self, ino: Ino, offset: u64, data: bool) -> Option<u64> {
        let size = self.image.stat(ino).size;
        if offset >= size {
            return None;
        }
        let mut hole_from = offset;
        for part in self.image.data_ranges(ino) {
            if part.end <= offset {
                continue;
            }
            if data {
                return Some(part.start.max(offset));
            }
            if part.start > hole_from {
                break;
            }
            hole_from = part.end;
        }
        (!data).then_some(hole_from.min(size))
    }
}

fn number(ino: Ino) -> INodeNo {
    INodeNo(u64::from(ino.index()) + 1)
}

fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Regular => FileType::RegularFile,
        Kind::Symlink => FileType::Symlink,
    }
}

/// The modification time; the epoch when it is out of what the system can express.
fn time(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(stat.mtime.unsigned_abs());
    let whole = if stat.mtime >= 0 {
        UNIX_EPOCH.checked_add(seconds)
    } else {
        UNIX_EPOCH.checked_sub(seconds)
    };
    whole
        .and_then(|t| t.checked_add(Duration::from_nanos(stat.mtime_ns.into())))
        .unwrap_or(UNIX_EPOCH)
}

/// An attribute reply has two forms: its length, or itself when there is room.
fn reply_xattr(reply: ReplyXattr, size: u32, value: &[u8]) {
    let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
    if size == 0 {
        reply.size(len);
    } else if len <= size {
        reply.data(value);
    } else {
        reply.error(Errno::ERANGE);
    }
}

impl Filesystem for View {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Whatever an older kernel lacks only makes it slower.
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_NO_OPEN_SUPPORT,
            InitFlags::FUSE_NO_OPENDIR_SUPPORT,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        // The size of a request follows from this, for reads too.
        let _ = config.set_max_write(READ_MAX);
        if let Err(most) = config.set_max_readahead(READ_MAX) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(dir) = self.ino(parent) else {
            return reply.error(Errno::ESTALE);
        };
        match self.image.child(dir, name.as_bytes()) {
            Some(ino) => reply.entry(&TTL, &self.attr(ino), GENERATION),
            None if name.len() > NAME_MAX => reply.error(Errno::ENAMETOOLONG),
            // Inode 0 with a lifetime: the kernel remembers that the name is not there.
            None => reply.entry(
                &TTL,
                &FileAttr {
                    ino: INodeNo(0),
                    ..self.attr(Ino::ROOT)
                },
                GENERATION,
            ),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.ino(ino) {
            Some(ino) => reply.attr(&TTL, &self.attr(ino)),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.ino(ino).and_then(|ino| self.image.read_link(ino)) {
            Some(target) => reply.data(target),
            None => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(ino) = self.ino(ino) else {
            return reply.error(Errno::ESTALE);
        };
        let left = self.image.stat(ino).size.saturating_sub(offset);
        let want = size.min(u32::try_from(left).unwrap_or(u32::MAX)) as usize;
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < want {
                buffer.resize(want, 0);
            }
            match self.image.read_at(ino, offset, &mut buffer[..want]) {
                Ok(n) => reply.data(&buffer[..n]),
                Err(error) => {
                    if let Some(tell) = &self.on_damage {
                        tell(ino, &error);
                    }
                    reply.error(Errno::EIO);
                }
            }
        });
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(dir) = self.ino(ino) else {
            return reply.error(Errno::ESTALE);
        };
        for (next, ino, name) in listing(&self.image, dir, offset) {
            if reply.add(
                number(ino),
                next,
                kind(self.image.kind(ino)),
                OsStr::from_bytes(name),
            ) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let Some(dir) = self.ino(ino) else {
            return reply.error(Errno::ESTALE);
        };
        for (next, ino, name) in listing(&self.image, dir, offset) {
            let name = OsStr::from_bytes(name);
            if reply.add(number(ino), next, name, &TTL, &self.attr(ino), GENERATION) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let blocks = self.image.total_size().div_ceil(BLOCK);
        let files = self.image.inode_count().into();
        let block = u32::try_from(BLOCK).expect("4096");
        reply.statfs(
            blocks,
            0,
            0,
            files,
            0,
            block,
            u32::try_from(NAME_MAX).expect("255"),
            block,
        );
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        // Told once that there are no other name spaces, programs such as ls stop asking for ACLs.
        if !name.as_bytes().starts_with(b"user.") {
            return reply.error(Errno::EOPNOTSUPP);
        }
        match self
            .ino(ino)
            .and_then(|ino| self.xattr(ino, name.as_bytes()))
        {
            Some(value) => reply_xattr(reply, size, &value),
            None => reply.error(Errno::ENODATA),
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let Some(ino) = self.ino(ino) else {
            return reply.error(Errno::ESTALE);
        };
        let mut names = Vec::new();
        for (name, _) in self.image.xattrs(ino) {
            names.extend_from_slice(name);
            names.push(0);
        }
        reply_xattr(reply, size, &names);
    }

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let Some(ino) = self.ino(ino) else {
            return reply.error(Errno::ESTALE);
        };
        let data = match whence {
            libc::SEEK_DATA => true,
            libc::SEEK_HOLE => false,
            _ => return reply.error(Errno::EINVAL),
        };
        let found = u64::try_from(offset)
            .ok()
            .and_then(|offset| self.seek(ino, offset, data));
        match found.and_then(|at| i64::try_from(at).ok()) {
            Some(at) => reply.offset(at),
            None => reply.error(Errno::ENXIO),
        }
    }
}

/// Entries of a directory from a position on, `.` and `..` first, each with the position after it.
fn listing(image: &Image, dir: Ino, offset: u64) -> impl Iterator<Item = (u64, Ino, &[u8])> {
    let dots = [(1, dir, &b"."[..]), (2, image.parent(dir), b"..")];
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let first = u32::try_from(skip.saturating_sub(dots.len())).unwrap_or(u32::MAX);
    let entries = (first..image.dir_len(dir)).filter_map(move |index| {
        let entry = image.dir_entry(dir, index)?;
        Some((u64::from(index) + 3, entry.ino, entry.name))
    });
    dots.into_iter().skip(skip).chain(entries)
}
