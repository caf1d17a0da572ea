//! What differs between two images: names, types, permissions, contents, targets and attributes.
//!
//! The comparison works on metadata alone, because every content has its hash there; two images of one tree id are
//! equal at once. Times, owners and the way files are stored are left out, as they are in the tree id. Hashes of
//! contents are taken at their word: whoever got the image from a stranger runs [`crate::deep`] first.

use std::cmp::Ordering;

use crate::reader::{DirEntry, Image, Ino, Kind};

/// How a name differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only in the second image.
    Added,
    /// Only in the first image.
    Removed,
    /// In both, with these things different: "type", "mode", "content", "target", "xattrs".
    Changed(Vec<&'static str>),
}

/// A name that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Full path without a leading slash; empty for the root.
    pub path: Vec<u8>,
    /// How it differs.
    pub change: Change,
}

/// Calls `visit` for each difference, in byte order of paths within each directory; everything below an added or
/// removed directory is visited, too. Stops at the first error of `visit` and returns it.
///
/// # Errors
/// What `visit` returns.
pub fn diff<E>(
    a: &Image,
    b: &Image,
    visit: &mut dyn FnMut(Difference) -> Result<(), E>,
) -> Result<(), E> {
    // The ids that the images claim are compared first because that is free, then the ones they really have.
    if a.tree_id() == b.tree_id() && a.compute_tree_id() == b.compute_tree_id() {
        return Ok(());
    }
    let mut compare = Compare {
        a,
        b,
        path: Vec::new(),
        visit,
    };
    compare.node(a.root(), b.root())?;
    compare.directories(a.root(), b.root())
}

struct Compare<'a, E> {
    a: &'a Image,
    b: &'a Image,
    path: Vec<u8>,
    visit: &'a mut dyn FnMut(Difference) -> Result<(), E>,
}

/// A pair of directories being compared, each with its next entry.
struct Level {
    a: (Ino, u32),
    b: (Ino, u32),
    /// Length of the path of this directory.
    path: usize,
}

impl<E> Compare<'_, E> {
    /// Merges the sorted entries of two directories, and of the directories below that both have.
    fn directories(&mut self, a: Ino, b: Ino) -> Result<(), E> {
        let mut stack = vec![Level {
            a: (a, 0),
            b: (b, 0),
            path: 0,
        }];
        while let Some(level) = stack.last_mut() {
            self.path.truncate(level.path);
            let left = self.a.dir_entry(level.a.0, level.a.1);
            let right = self.b.dir_entry(level.b.0, level.b.1);
            let order = match (left, right) {
                (None, None) => {
                    stack.pop();
                    continue;
                }
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(l), Some(r)) => l.name.cmp(r.name),
            };
            level.a.1 += u32::from(order.is_le());
            level.b.1 += u32::from(order.is_ge());
            match (
                left.filter(|_| order.is_le()),
                right.filter(|_| order.is_ge()),
            ) {
                (Some(l), Some(r)) => {
                    self.push(l.name);
                    let both_dirs = self.node(l.ino, r.ino)?;
                    if both_dirs {
                        let path = self.path.len();
                        stack.push(Level {
                            a: (l.ino, 0),
                            b: (r.ino, 0),
                            path,
                        });
                    }
                }
                (Some(l), None) => self.one_side(self.a, l, &Change::Removed)?,
                (None, Some(r)) => self.one_side(self.b, r, &Change::Added)?,
                (None, None) => unreachable!("one of the two comes first"),
            }
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8]) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
    }

    fn tell(&mut self, change: Change) -> Result<(), E> {
        (self.visit)(Difference {
            path: self.path.clone(),
            change,
        })
    }

    /// Compares two nodes of one name; returns whether both are directories.
    fn node(&mut self, left: Ino, right: Ino) -> Result<bool, E> {
        let (l, r) = (self.a.stat(left), self.b.stat(right));
        let mut changes = Vec::new();
        if l.kind != r.kind {
            changes.push("type");
        } else {
            match l.kind {
                Kind::Directory => {}
                Kind::Regular if self.a.content_hash(left) == self.b.content_hash(right) => {}
                Kind::Regular => changes.push("content"),
                Kind::Symlink if self.a.read_link(left) == self.b.read_link(right) => {}
                Kind::Symlink => changes.push("target"),
            }
        }
        if l.mode != r.mode {
            changes.push("mode");
        }
        if !self.a.xattrs(left).eq(self.b.xattrs(right)) {
            changes.push("xattrs");
        }
        if !changes.is_empty() {
            self.tell(Change::Changed(changes))?;
        }
        if l.kind != r.kind {
            // What was below a directory that is now something else, or the other way round.
            self.all_below(self.a, left, &Change::Removed)?;
            self.all_below(self.b, right, &Change::Added)?;
        }
        Ok(l.kind == Kind::Directory && r.kind == Kind::Directory)
    }

    fn one_side(&mut self, image: &Image, entry: DirEntry<'_>, change: &Change) -> Result<(), E> {
        self.push(entry.name);
        self.tell(change.clone())?;
        self.all_below(image, entry.ino, change)
    }

    /// Tells of every name below a directory of one image.
    fn all_below(&mut self, image: &Image, dir: Ino, change: &Change) -> Result<(), E> {
        let start = self.path.len();
        let mut walk = image.walk(dir);
        while walk.next().is_some() {
            self.path.truncate(start);
            self.push(walk.path());
            self.tell(change.clone())?;
        }
        self.path.truncate(start);
        Ok(())
    }
}
