//! Finding inodes by path: the whole-path index, and component-wise resolution with symlinks.

use super::{Image, Ino, Kind};
use crate::format::{NAME_MAX, NONE, PATH_MAX};
use crate::index;

/// Most symlinks a resolution follows, as in Linux (`path_resolution(7)`).
const SYMLINKS_MAX: u32 = 40;

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A component does not exist.
    #[error("no such file or directory")]
    NotFound,
    /// A component that should be a directory is not.
    #[error("not a directory")]
    NotADirectory,
    /// More than 40 symlinks.
    #[error("too many levels of symbolic links")]
    Loop,
    /// The path or a component is too long.
    #[error("file name too long")]
    NameTooLong,
}

impl Image {
    /// The inode of a full path, without a leading slash and without following symlinks; the empty path is the root.
    /// Does not allocate.
    pub fn lookup(&self, path: &[u8]) -> Option<Ino> {
        if path.is_empty() {
            return Some(Ino::ROOT);
        }
        let mut hash = self.0.superblock.hash_seed.get();
        for name in path.split(|&b| b == b'/') {
            hash = index::extend(hash, name);
        }
        let slots = self.slots();
        let tag = index::tag(hash);
        let mut at = index::home(hash, slots.len());
        for _ in 0..=self.0.superblock.probe_max.get() {
            let slot = &slots[at];
            if slot.dirent.get() == NONE {
                return None;
            }
            if slot.tag.get() == tag && self.has_path(slot.dirent.get(), path) {
                return Some(Ino(self.dirents()[slot.dirent.get() as usize].inode.get()));
            }
            at = (at + 1) & (slots.len() - 1);
        }
        None
    }

    /// Whether the names from the root down to a dirent spell `path`.
    fn has_path(&self, dirent: u32, path: &[u8]) -> bool {
        let (mut dirent, mut rest) = (dirent, path);
        loop {
            let row = &self.dirents()[dirent as usize];
            let Some(before) = rest.strip_suffix(self.name(row)) else {
                return false;
            };
            let parent = row.parent.get();
            if parent == 0 {
                return before.is_empty();
            }
            let Some(before) = before.strip_suffix(b"/") else {
                return false;
            };
            rest = before;
            dirent = self.inodes()[parent as usize].extra.get();
        }
    }

    /// The entry of a name in a directory.
    pub fn child(&self, dir: Ino, name: &[u8]) -> Option<Ino> {
        if dir.0 >= self.0.dir_count {
            return None;
        }
        let first = self.inode(dir).data.get() as usize;
        let entries = &self.dirents()[first..first + self.dir_len(dir) as usize];
        let at = entries.binary_search_by(|d| self.name(d).cmp(name)).ok()?;
        Some(Ino(entries[at].inode.get()))
    }

    /// The directory a directory is in; the root is its own.
    pub fn parent(&self, dir: Ino) -> Ino {
        if dir == Ino::ROOT || dir.0 >= self.0.dir_count {
            return Ino::ROOT;
        }
        Ino(self.dirents()[self.inode(dir).extra.get() as usize]
            .parent
            .get())
    }

    /// Name of a directory in its parent; empty for the root.
    pub fn dir_name(&self, dir: Ino) -> &[u8] {
        if dir == Ino::ROOT || dir.0 >= self.0.dir_count {
            return b"";
        }
        self.name(&self.dirents()[self.inode(dir).extra.get() as usize])
    }

    /// Follows a path as `openat(2)` does, from `base` or, when it begins with `/`, from the image's root. Symlinks
    /// are followed inside the image only: `..` stops at the root and absolute targets begin there. A path that ends
    /// with a slash must lead to a directory.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, base: Ino, path: &[u8], follow_last: bool) -> Result<Ino, ResolveError> {
        if path.len() > PATH_MAX {
            return Err(ResolveError::NameTooLong);
        }
        if path.is_empty() {
            return Err(ResolveError::NotFound);
        }
        if let Some(ino) = self.resolve_plain(base, path)
            && !(follow_last && self.kind(ino) == Kind::Symlink)
        {
            return Ok(ino);
        }
        self.resolve_components(base, path, follow_last)
    }

    /// The common case in one probe: a clean path from the root.
    fn resolve_plain(&self, base: Ino, path: &[u8]) -> Option<Ino> {
        match path.strip_prefix(b"/") {
            Some(rest) => self.lookup(rest),
            None if base == Ino::ROOT => self.lookup(path),
            None => None,
        }
    }

    fn resolve_components(
        &self,
        base: Ino,
        path: &[u8],
        follow_last: bool,
    ) -> Result<Ino, ResolveError> {
        // What is still to be walked, innermost symlink target last. Each element is a path and whether the walk
        // may end at a symlink there.
        let mut pending: Vec<&[u8]> = vec![path];
        let mut at = base;
        let mut links = 0;
        while let Some(rest) = pending.pop() {
            let rest = if rest.first() == Some(&b'/') {
                at = Ino::ROOT;
                let start = rest.iter().position(|&b| b != b'/').unwrap_or(rest.len());
                &rest[start..]
            } else {
                rest
            };
            if rest.is_empty() {
                continue;
            }
            let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let after_start = after.iter().position(|&b| b != b'/').unwrap_or(after.len());
            let (slashes, after) = after.split_at(after_start);
            if name.len() > NAME_MAX {
                return Err(ResolveError::NameTooLong);
            }
            if self.kind(at) != Kind::Directory {
                return Err(ResolveError::NotADirectory);
            }
            let next = match name {
                b"." => at,
                b".." => self.parent(at),
                _ => self.child(at, name).ok_or(ResolveError::NotFound)?,
            };
            let last = after.is_empty() && pending.is_empty();
            let must_be_dir = !slashes.is_empty();
            if self.kind(next) == Kind::Symlink && (!last || follow_last || must_be_dir) {
                links += 1;
                if links > SYMLINKS_MAX {
                    return Err(ResolveError::Loop);
                }
                if must_be_dir {
                    // "." makes the walk fail on anything but a directory.
                    pending.push(if after.is_empty() { b"." } else { after });
                }
                pending.push(self.read_link(next).expect("it is a symlink"));
                continue;
            }
            if must_be_dir && self.kind(next) != Kind::Directory {
                return Err(ResolveError::NotADirectory);
            }
            at = next;
            if !after.is_empty() {
                pending.push(after);
            }
        }
        Ok(at)
    }
}
