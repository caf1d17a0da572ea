//! Inodes, directory entries and the path index: what has which name.

use super::Tree;
use crate::error::Error;
use crate::format::{DEPTH_MAX, Dirent, Inode, NONE, PATH_MAX, SYMLINK_MAX, Slot};
use crate::{index, tree};

impl Tree<'_> {
    /// Types, ranges and numbering of inodes. Returns the number of directories.
    pub(super) fn inodes(&self) -> Result<u32, Error> {
        let bad = |row: usize, what| {
            self.bad(
                self.tables.inodes,
                size_of::<Inode>(),
                row,
                format!("inode {row}: {what}"),
            )
        };
        let mut dirs = 0;
        let mut entries = 0u64;
        for (row, inode) in self.inodes.iter().enumerate() {
            let Some(attr) = self.attrs.get(inode.attr.get() as usize) else {
                return Err(bad(row, "attributes"));
            };
            let (data, count) = (inode.data.get(), inode.count.get());
            match attr.mode.get() & 0o170_000 {
                0o040_000 => {
                    if dirs != row {
                        return Err(bad(row, "a directory after other files"));
                    }
                    dirs += 1;
                    if u64::from(data) != entries {
                        return Err(bad(row, "entries overlap or leave a gap"));
                    }
                    entries += u64::from(count);
                }
                0o100_000 => {
                    if data as usize >= self.contents.len() || count == 0 || inode.extra.get() != 0
                    {
                        return Err(bad(row, "content or link count"));
                    }
                }
                _ => {
                    let target = self.string(data, count as usize);
                    let sound = target.is_some_and(|t| {
                        !t.is_empty() && t.len() <= SYMLINK_MAX && !t.contains(&0)
                    });
                    if !sound || inode.extra.get() == 0 {
                        return Err(bad(row, "symlink target or link count"));
                    }
                }
            }
        }
        if dirs == 0 {
            return Err(bad(0, "the root is not a directory"));
        }
        if entries != self.dirents.len() as u64 {
            return Err(bad(dirs - 1, "directory entries outside every directory"));
        }
        Ok(u32::try_from(dirs).expect("fewer than 2^32 rows"))
    }

    /// Names, order, parents, numbering, link counts and total size. Returns the path hash of each dirent and the
    /// number of subdirectories of each directory.
    pub(super) fn dirents(&self, dir_count: u32) -> Result<(Vec<u64>, Vec<u32>), Error> {
        let bad = |row: usize, what| {
            self.bad(
                self.tables.dirents,
                size_of::<Dirent>(),
                row,
                format!("directory entry {row}: {what}"),
            )
        };
        let dirs = dir_count as usize;
        let mut hashes = Vec::with_capacity(self.dirents.len());
        let mut subdirs = vec![0u32; dirs];
        // Of each directory: hash and length of its path, and depth.
        let mut dir_path = vec![(self.superblock.hash_seed.get(), 0usize, 0u32); dirs];
        let mut links = vec![0u32; self.inodes.len() - dirs];
        let mut next_dir = 1;
        let mut next_file = dirs;
        let mut total = 0u64;
        for dir in 0..dirs {
            let (dir_hash, dir_len, depth) = dir_path[dir];
            let first = self.inodes[dir].data.get() as usize;
            let mut before: Option<&[u8]> = None;
            for row in first..first + self.inodes[dir].count.get() as usize {
                let dirent = &self.dirents[row];
                let name = self.string(dirent.name_off.get(), usize::from(dirent.name_len.get()));
                let Some(name) = name.filter(|name| tree::check_name(name).is_ok()) else {
                    return Err(bad(row, "name"));
                };
                if before.is_some_and(|before| before >= name) {
                    return Err(bad(row, "names are not strictly sorted"));
                }
                before = Some(name);
                if dirent.parent.get() as usize != dir || dirent.reserved.get() != 0 {
                    return Err(bad(row, "parent or reserved bytes"));
                }
                let path_len = dir_len + usize::from(dir_len > 0) + name.len();
                if path_len > PATH_MAX {
                    return Err(bad(row, "path too long"));
                }
                let hash = index::extend(dir_hash, name);
                hashes.push(hash);
                let ino = dirent.inode.get() as usize;
                if ino < dirs {
                    // Breadth-first numbering: the next unseen directory, which excludes cycles and second names.
                    if ino != next_dir || self.inodes[ino].extra.get() as usize != row {
                        return Err(bad(row, "directory out of order"));
                    }
                    if depth + 1 > DEPTH_MAX {
                        return Err(bad(row, "nested too deep"));
                    }
                    dir_path[ino] = (hash, path_len, depth + 1);
                    subdirs[dir] += 1;
                    next_dir += 1;
                } else {
                    if ino == next_file && ino < self.inodes.len() {
                        next_file += 1;
                        total = total.saturating_add(self.file_size(ino));
                    } else if ino >= next_file {
                        return Err(bad(row, "inode out of order or out of range"));
                    }
                    links[ino - dirs] += 1;
                }
            }
        }
        if next_dir != dirs || next_file != self.inodes.len() {
            return Err(bad(0, "an inode without a name"));
        }
        for (row, &count) in links.iter().enumerate() {
            let inode = &self.inodes[dirs + row];
            let regular = self.attrs[inode.attr.get() as usize].mode.get() & 0o170_000 == 0o100_000;
            if count
                != if regular {
                    inode.count.get()
                } else {
                    inode.extra.get()
                }
            {
                return Err(self.bad(
                    self.tables.inodes,
                    size_of::<Inode>(),
                    dirs + row,
                    "link count",
                ));
            }
        }
        if total != self.superblock.total_size.get() {
            return Err(Error::corrupt(128, "total size"));
        }
        Ok((hashes, subdirs))
    }

    fn file_size(&self, ino: usize) -> u64 {
        let inode = &self.inodes[ino];
        match self.attrs[inode.attr.get() as usize].mode.get() & 0o170_000 {
            0o100_000 => self.contents[inode.data.get() as usize].size.get(),
            _ => 0,
        }
    }

    /// The index holds each dirent exactly once, with its tag, within `probe_max` slots of its home and without an
    /// empty slot in between: so every lookup of an existing path ends at it, and every other lookup ends.
    pub(super) fn path_index(&self, hashes: &[u64]) -> Result<(), Error> {
        let bad = |row: usize, what| {
            self.bad(
                self.tables.pathidx,
                size_of::<Slot>(),
                row,
                format!("path index slot {row}: {what}"),
            )
        };
        let n = self.slots.len();
        if n != index::slots(hashes.len()) {
            return Err(bad(0, "wrong number of slots"));
        }
        let mut seen = vec![false; hashes.len()];
        let mut found = 0;
        // Length of the run of used slots that ends before the current one, wrapping around the end of the table.
        let mut run = self
            .slots
            .iter()
            .rev()
            .take_while(|s| s.dirent.get() != NONE)
            .count();
        if run == n {
            return Err(bad(0, "no empty slot"));
        }
        for (row, slot) in self.slots.iter().enumerate() {
            let dirent = slot.dirent.get();
            if dirent == NONE {
                if slot.tag.get() != 0 {
                    return Err(bad(row, "tag of an empty slot"));
                }
                run = 0;
                continue;
            }
            let Some(&hash) = hashes.get(dirent as usize) else {
                return Err(bad(row, "entry out of range"));
            };
            let distance = row.wrapping_sub(index::home(hash, n)) & (n - 1);
            if slot.tag.get() != index::tag(hash)
                || distance > run
                || distance > self.superblock.probe_max.get() as usize
            {
                return Err(bad(row, "entry in the wrong place"));
            }
            if std::mem::replace(&mut seen[dirent as usize], true) {
                return Err(bad(row, "entry twice"));
            }
            found += 1;
            run += 1;
        }
        if found != hashes.len() {
            return Err(bad(0, "an entry is missing"));
        }
        Ok(())
    }
}
