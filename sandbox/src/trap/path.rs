//! Names: finding, listing, making, removing and renaming.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer, rights};
use crate::state::State;
use crate::tree::listing::{Shown, Taken};
use crate::tree::walk::{PATH_MAX, Walked};
use crate::tree::{Kind, Node};

/// Most bytes of directory entries one call answers.
const LISTING_MAX: usize = 32 << 10;

impl Running<'_> {
    /// Copies a path in, walks it from `directory` and calls `use_it` with where it leads.
    pub(super) fn with_path<T>(
        &mut self,
        directory: i32,
        path: u64,
        follow: bool,
        use_it: impl FnOnce(&mut Self, &Walked<'_>) -> Result<T, Errno>,
    ) -> Result<T, Stop> {
        self.poll()?;
        let mut buffer = std::mem::take(self.buffer);
        let result = self.walk_in(&mut buffer, directory, path, follow, use_it);
        *self.buffer = buffer;
        result
    }

    fn walk_in<T>(
        &mut self,
        buffer: &mut [u8],
        directory: i32,
        path: u64,
        follow: bool,
        use_it: impl FnOnce(&mut Self, &Walked<'_>) -> Result<T, Errno>,
    ) -> Result<T, Stop> {
        let len = self
            .region
            .string_in(pointer(path), &mut buffer[..PATH_MAX])?;
        let path = &buffer[..len.ok_or(Errno(libc::ENAMETOOLONG))?];
        let start = self.start_of(directory, path)?;
        let walked = self.state.view.walk(self.trees, start, path, follow)?;
        Ok(use_it(self, &walked)?)
    }

    /// The directory a relative path starts from.
    fn start_of(&self, directory: i32, path: &[u8]) -> Result<Node, Errno> {
        if directory == libc::AT_FDCWD || path.first() == Some(&b'/') {
            return Ok(self.state.process.cwd());
        }
        Ok(self.state.files.get(directory)?.node)
    }

    /// Refuses to put names into a directory that has been removed.
    pub(super) fn check_alive(&self, directory: Node) -> Result<(), Errno> {
        if self.state.view.is_removed(directory) {
            return Err(Errno(libc::ENOENT));
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn access(&mut self, arguments: Arguments) -> Answer {
        self.access_path(libc::AT_FDCWD, arguments.a, int(arguments.b))
    }

    #[inline(never)]
    pub(super) fn faccessat(&mut self, arguments: Arguments) -> Answer {
        self.access_path(int(arguments.a), arguments.b, int(arguments.c))
    }

    fn access_path(&mut self, directory: i32, path: u64, mode: i32) -> Answer {
        let node = self.with_path(directory, path, true, |_, walked| walked.found())?;
        let facts = self.state.view.metadata(self.trees, node);
        // The guest is its own root; only the executable bit can be missing.
        if mode & libc::X_OK != 0 && facts.kind != Kind::Directory && facts.mode & 0o111 == 0 {
            return errno(libc::EACCES);
        }
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn readlink(&mut self, arguments: Arguments) -> Answer {
        self.readlink_path(libc::AT_FDCWD, arguments.a, arguments.b, arguments.c)
    }

    #[inline(never)]
    pub(super) fn readlinkat(&mut self, arguments: Arguments) -> Answer {
        self.readlink_path(int(arguments.a), arguments.b, arguments.c, arguments.d)
    }

    fn readlink_path(&mut self, directory: i32, path: u64, target: u64, room: u64) -> Answer {
        let node = self.with_path(directory, path, false, |_, walked| walked.found())?;
        if room == 0 || room > i64::MAX.cast_unsigned() {
            return errno(libc::EINVAL);
        }
        let link = self.state.view.read_link(self.trees, node);
        let link = link.ok_or(Errno(libc::EINVAL))?;
        let len = link.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.region.copy_out(pointer(target), &link[..len])?;
        Ok(len as u64)
    }

    #[inline(never)]
    pub(super) fn getdents(&mut self, arguments: Arguments) -> Answer {
        let fd = int(arguments.a);
        let file = self.state.files.get(fd)?;
        let node = file.node;
        if self.state.view.kind(self.trees, node) != Kind::Directory {
            return errno(libc::ENOTDIR);
        }
        let room = usize::try_from(arguments.c)
            .unwrap_or(usize::MAX)
            .min(LISTING_MAX);
        let (view, trees) = (&self.state.view, self.trees);
        let mut reading = file.reading.clone().unwrap_or_else(|| view.begin_reading());
        let mut bytes = Vec::with_capacity(room.min(4096));
        let mut has_room = true;
        let poll = || self.poll();
        let position =
            view.read_directory(trees, node, &mut reading, file.offset, poll, |shown| {
                has_room = put_entry(&mut bytes, room, &shown);
                if has_room { Taken::Yes } else { Taken::No }
            })?;
        if bytes.is_empty() && !has_room {
            return errno(libc::EINVAL);
        }
        self.region.copy_out(pointer(arguments.b), &bytes)?;
        let file = self.state.files.get_mut(fd)?;
        file.offset = position;
        file.reading = Some(reading);
        Ok(bytes.len() as u64)
    }

    #[inline(never)]
    pub(super) fn getcwd(&mut self, arguments: Arguments) -> Answer {
        let path = self.state.process.path().ok_or(Errno(libc::ENOENT))?;
        if arguments.b < path.len() as u64 + 1 {
            return errno(libc::ERANGE);
        }
        let text = [path, b"\0"].concat();
        self.region.copy_out(pointer(arguments.a), &text)?;
        Ok(text.len() as u64)
    }

    #[inline(never)]
    pub(super) fn chdir(&mut self, arguments: Arguments) -> Answer {
        let node = self.with_path(libc::AT_FDCWD, arguments.a, true, |_, walked| {
            walked.found()
        })?;
        self.change_directory(node)
    }

    #[inline(never)]
    pub(super) fn fchdir(&mut self, arguments: Arguments) -> Answer {
        let node = self.state.files.get(int(arguments.a))?.node;
        self.change_directory(node)
    }

    fn change_directory(&mut self, node: Node) -> Answer {
        let State { view, process, .. } = &mut *self.state;
        process.change_directory(view, self.trees, node)?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn mkdir(&mut self, arguments: Arguments) -> Answer {
        self.make_directory(libc::AT_FDCWD, arguments.a, arguments.b)
    }

    #[inline(never)]
    pub(super) fn mkdirat(&mut self, arguments: Arguments) -> Answer {
        self.make_directory(int(arguments.a), arguments.b, arguments.c)
    }

    fn make_directory(&mut self, directory: i32, path: u64, mode: u64) -> Answer {
        let mode = rights(mode);
        self.with_path(directory, path, false, |running, walked| {
            if walked.node.is_some() {
                return Err(Errno(libc::EEXIST));
            }
            running.check_alive(walked.directory)?;
            let room = running.room();
            let mode = mode & !running.state.process.umask();
            let view = &mut running.state.view;
            view.make_directory(walked.directory, walked.name(), mode, &room)
        })?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn rmdir(&mut self, arguments: Arguments) -> Answer {
        self.remove_path(libc::AT_FDCWD, arguments.a, true)
    }

    #[inline(never)]
    pub(super) fn unlink(&mut self, arguments: Arguments) -> Answer {
        self.remove_path(libc::AT_FDCWD, arguments.a, false)
    }

    #[inline(never)]
    pub(super) fn unlinkat(&mut self, arguments: Arguments) -> Answer {
        match int(arguments.c) {
            0 => self.remove_path(int(arguments.a), arguments.b, false),
            libc::AT_REMOVEDIR => self.remove_path(int(arguments.a), arguments.b, true),
            _ => errno(libc::EINVAL),
        }
    }

    fn remove_path(&mut self, directory: i32, path: u64, is_directory: bool) -> Answer {
        self.with_path(directory, path, false, |running, walked| {
            let node = walked.found()?;
            if running.is_kept(walked) {
                return Err(Errno(libc::EBUSY));
            }
            let room = running.room();
            let (view, trees) = (&mut running.state.view, running.trees);
            let kind = view.kind(trees, node);
            match (kind == Kind::Directory, is_directory) {
                (true, false) => return Err(Errno(libc::EISDIR)),
                (false, true) => return Err(Errno(libc::ENOTDIR)),
                _ if kind == Kind::Device => return Err(Errno(libc::EPERM)),
                (true, true) if !view.is_empty(trees, node) => {
                    return Err(Errno(libc::ENOTEMPTY));
                }
                _ => {}
            }
            view.remove(trees, walked.directory, walked.name(), node, &room)?;
            if is_directory {
                let State { view, process, .. } = &mut *running.state;
                process.renamed(view, trees, node);
            }
            Ok(())
        })?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn rename(&mut self, arguments: Arguments) -> Answer {
        self.rename_paths((libc::AT_FDCWD, arguments.a), (libc::AT_FDCWD, arguments.b))
    }

    #[inline(never)]
    pub(super) fn renameat(&mut self, arguments: Arguments) -> Answer {
        self.rename_paths(
            (int(arguments.a), arguments.b),
            (int(arguments.c), arguments.d),
        )
    }

    fn rename_paths(&mut self, from: (i32, u64), to: (i32, u64)) -> Answer {
        let source = self.with_path(from.0, from.1, false, |running, walked| {
            if running.is_kept(walked) {
                return Err(Errno(libc::EBUSY));
            }
            Ok((walked.directory, walked.name().to_vec(), walked.found()?))
        })?;
        let (directory, name, node) = source;
        self.with_path(to.0, to.1, false, |running, walked| {
            if running.is_kept(walked) {
                return Err(Errno(libc::EBUSY));
            }
            if walked.node == Some(node) {
                return Ok(());
            }
            running.check_rename(node, walked)?;
            let room = running.room();
            let target = (walked.directory, walked.name());
            let (State { view, process, .. }, trees) = (&mut *running.state, running.trees);
            view.rename(trees, (directory, &name), target, node, walked.node, &room)?;
            if view.kind(trees, node) == Kind::Directory {
                process.renamed(view, trees, node);
            }
            Ok(())
        })?;
        Ok(0)
    }

    /// True for what is no name that could be removed: `.`, `..`, the root, and where a tree is mounted.
    fn is_kept(&self, walked: &Walked<'_>) -> bool {
        walked.name().is_empty()
            || (self.state.view).is_mount_point(walked.directory, walked.name())
    }

    fn check_rename(&self, node: Node, to: &Walked<'_>) -> Result<(), Errno> {
        let (view, trees) = (&self.state.view, self.trees);
        self.check_alive(to.directory)?;
        let is_directory = match (node, view.kind(trees, node)) {
            (_, Kind::Device) => return Err(Errno(libc::EPERM)),
            // As an overlay file system does: a tree's directory is copied by whoever moves it.
            (Node::Base(..), Kind::Directory) => return Err(Errno(libc::EXDEV)),
            (_, kind) => kind == Kind::Directory,
        };
        if let Some(target) = to.node {
            match (is_directory, view.kind(trees, target)) {
                (_, Kind::Device) => return Err(Errno(libc::EPERM)),
                (true, Kind::Directory) if !view.is_empty(trees, target) => {
                    return Err(Errno(libc::ENOTEMPTY));
                }
                (true, Kind::Directory) => {}
                (true, _) => return Err(Errno(libc::ENOTDIR)),
                (false, Kind::Directory) => return Err(Errno(libc::EISDIR)),
                (false, _) => {}
            }
        } else if to.slash && !is_directory {
            return Err(Errno(libc::ENOTDIR));
        }
        // A directory cannot go below itself.
        if view.is_below(trees, to.directory, node) {
            return Err(Errno(libc::EINVAL));
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn symlink(&mut self, arguments: Arguments) -> Answer {
        self.make_symlink(arguments.a, libc::AT_FDCWD, arguments.b)
    }

    #[inline(never)]
    pub(super) fn symlinkat(&mut self, arguments: Arguments) -> Answer {
        self.make_symlink(arguments.a, int(arguments.b), arguments.c)
    }

    fn make_symlink(&mut self, target: u64, directory: i32, path: u64) -> Answer {
        let mut bytes = [0; PATH_MAX];
        let len = self.region.string_in(pointer(target), &mut bytes)?;
        let target = &bytes[..len.ok_or(Errno(libc::ENAMETOOLONG))?];
        if target.is_empty() {
            return errno(libc::ENOENT);
        }
        self.with_path(directory, path, false, |running, walked| {
            running.check_new(walked)?;
            let room = running.room();
            let view = &mut running.state.view;
            view.make_symlink(walked.directory, walked.name(), target, &room)
        })?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn link(&mut self, arguments: Arguments) -> Answer {
        self.link_paths(
            (libc::AT_FDCWD, arguments.a),
            (libc::AT_FDCWD, arguments.b),
            false,
        )
    }

    #[inline(never)]
    pub(super) fn linkat(&mut self, arguments: Arguments) -> Answer {
        let flags = int(arguments.e);
        if flags & !libc::AT_SYMLINK_FOLLOW != 0 {
            return errno(libc::EINVAL);
        }
        let from = (int(arguments.a), arguments.b);
        self.link_paths(from, (int(arguments.c), arguments.d), flags != 0)
    }

    fn link_paths(&mut self, from: (i32, u64), to: (i32, u64), follow: bool) -> Answer {
        let node = self.with_path(from.0, from.1, follow, |_, walked| walked.found())?;
        self.with_path(to.0, to.1, false, |running, walked| {
            running.check_new(walked)?;
            match running.state.view.kind(running.trees, node) {
                Kind::Directory | Kind::Device => return Err(Errno(libc::EPERM)),
                Kind::Regular | Kind::Symlink => {}
            }
            let room = running.room();
            let view = &mut running.state.view;
            view.link(walked.directory, walked.name(), node, &room)
        })?;
        Ok(0)
    }

    /// Refuses a name for a new file that is taken, or can only be a directory's.
    fn check_new(&self, to: &Walked<'_>) -> Result<(), Errno> {
        if to.node.is_some() {
            return Err(Errno(libc::EEXIST));
        }
        if to.slash {
            return Err(Errno(libc::ENOENT));
        }
        self.check_alive(to.directory)
    }

    #[inline(never)]
    pub(super) fn umask(&mut self, arguments: Arguments) -> Answer {
        let new = rights(arguments.a);
        Ok(self.state.process.set_umask(new).into())
    }
}

/// Adds a `struct linux_dirent64` (number, next offset, record length, type, name, NUL, padding) unless it is too long.
fn put_entry(bytes: &mut Vec<u8>, room: usize, shown: &Shown<'_>) -> bool {
    let len = (19 + shown.name.len() + 1).next_multiple_of(8);
    let Ok(record_len) = u16::try_from(len) else {
        // No tree has such a name.
        return true;
    };
    if bytes.len() + len > room {
        return false;
    }
    let start = bytes.len();
    bytes.extend_from_slice(&super::stat::number(shown.node).to_le_bytes());
    bytes.extend_from_slice(&shown.next.to_le_bytes());
    bytes.extend_from_slice(&record_len.to_le_bytes());
    bytes.push(directory_type(shown.kind));
    bytes.extend_from_slice(shown.name);
    bytes.resize(start + len, 0);
    true
}

/// `d_type` of a directory entry.
fn directory_type(kind: Kind) -> u8 {
    match kind {
        Kind::Directory => libc::DT_DIR,
        Kind::Regular => libc::DT_REG,
        Kind::Symlink => libc::DT_LNK,
        Kind::Device => libc::DT_CHR,
    }
}
