//! What a directory shows, one name after the other, without a copy of it for whoever reads it.
//!
//! ```text
//! position  0, 1                  . and ..
//!           2 ..                  trees mounted here
//!           1 << 32 | index       the tree's own names, in the order of the tree
//!           1 << 33 | count       names that the instance has made, in their own order
//! ```
//! Names may come and go while a directory is read. Each that is there from beginning to end is shown once: whatever
//! the tree has is shown in the tree's place unless the instance had made something of it before the reading began.

use super::trees::Trees;
use super::view::View;
use super::{Kind, Node};
use std::ops::Bound;

const POINTS: u64 = 2;
const TREE: u64 = 1 << 32;
const OWN: u64 = 1 << 33;

/// Names passed over between two looks at whether to go on.
const UNIT: u64 = 1024;

/// How far somebody has come who reads a directory. At most one name is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Names the instance had made when the reading began.
    made: u64,
    /// The last of the instance's own names that was passed, and the position behind it.
    passed: Option<(u64, Vec<u8>)>,
}

/// One name of a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) node: Node,
    pub(crate) kind: Kind,
    /// The position behind it.
    pub(crate) next: u64,
}

/// What to do with a name.
pub(crate) enum Taken {
    Yes,
    /// It does not fit any more: the next reading begins with it.
    No,
}

impl View {
    /// Begins to read a directory.
    pub(crate) fn begin_reading(&self) -> Reading {
        Reading {
            made: self.overlay.names_made(),
            passed: None,
        }
    }

    /// Calls `each` with what `directory` shows from `position` on, until it takes no more; answers the position there.
    /// `poll` is asked from time to time whether to go on.
    pub(crate) fn read_directory<E>(
        &self,
        trees: &Trees,
        directory: Node,
        reading: &mut Reading,
        position: u64,
        poll: impl Fn() -> Result<(), E>,
        mut each: impl FnMut(Shown<'_>) -> Taken,
    ) -> Result<u64, E> {
        let mut at = position;
        for (own, name) in [(0, &b"."[..]), (1, b"..")] {
            if at != own {
                continue;
            }
            let node = match own {
                0 => directory,
                _ => self.parent(trees, directory),
            };
            let (kind, next) = (Kind::Directory, own + 1);
            if let Taken::No = each(Shown {
                name,
                node,
                kind,
                next,
            }) {
                return Ok(at);
            }
            at = next;
        }
        if at < TREE {
            let passed = usize::try_from(at - POINTS).unwrap_or(usize::MAX);
            for (name, tree) in self.points().within(directory).skip(passed) {
                let node = trees.root(tree);
                let (kind, next) = (self.kind(trees, node), at + 1);
                if let Taken::No = each(Shown {
                    name,
                    node,
                    kind,
                    next,
                }) {
                    return Ok(at);
                }
                at = next;
            }
            at = TREE;
        }
        if at < OWN {
            if let Node::Base(tree, number) = directory {
                loop {
                    let index = u32::try_from(at - TREE).ok();
                    let Some(entry) = index.and_then(|index| trees.entry(tree, number, index))
                    else {
                        break;
                    };
                    if at.is_multiple_of(UNIT) {
                        poll()?;
                    }
                    let next = at + 1;
                    let seen = match self.overlay.own(directory, &entry.name) {
                        _ if self.is_mount_point(directory, &entry.name) => None,
                        None => Some((Node::Base(tree, entry.node), entry.kind)),
                        Some(own) if own.made_before < reading.made => None,
                        Some(own) => own.node.map(|node| (node, self.kind(trees, node))),
                    };
                    if let Some((node, kind)) = seen {
                        let name = &*entry.name;
                        if let Taken::No = each(Shown {
                            name,
                            node,
                            kind,
                            next,
                        }) {
                            return Ok(at);
                        }
                    }
                    at = next;
                }
            }
            at = OWN;
        }
        self.read_own(trees, directory, reading, at, poll, each)
    }

    /// The part of the instance's own names.
    fn read_own<E>(
        &self,
        trees: &Trees,
        directory: Node,
        reading: &mut Reading,
        mut at: u64,
        poll: impl Fn() -> Result<(), E>,
        mut each: impl FnMut(Shown<'_>) -> Taken,
    ) -> Result<u64, E> {
        let Some(names) = self.overlay.names(directory) else {
            return Ok(at);
        };
        // Whoever jumps to a position that is not the one they stopped at is led there by counting.
        let (start, skipped) = match &reading.passed {
            Some((position, name)) if *position == at => (Bound::Excluded(name), 0),
            _ => (Bound::Unbounded, at - OWN),
        };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut last = None;
        for (name, own) in names
            .range::<Vec<u8>, _>((start, Bound::Unbounded))
            .skip(skipped)
        {
            if at.is_multiple_of(UNIT) {
                poll()?;
            }
            let next = at + 1;
            if let Some(node) = own.node
                && own.made_before < reading.made
                && !self.is_mount_point(directory, name)
            {
                let kind = self.kind(trees, node);
                if let Taken::No = each(Shown {
                    name,
                    node,
                    kind,
                    next,
                }) {
                    break;
                }
            }
            at = next;
            last = Some(name);
        }
        if let Some(name) = last {
            reading.passed = Some((at, name.clone()));
        }
        Ok(at)
    }

    /// True when `directory` shows nothing.
    pub(crate) fn is_empty(&self, trees: &Trees, directory: Node) -> bool {
        let mut is_empty = true;
        let mut reading = self.begin_reading();
        let go_on = || Ok::<(), std::convert::Infallible>(());
        let Ok(_) = self.read_directory(trees, directory, &mut reading, POINTS, go_on, |_| {
            is_empty = false;
            Taken::No
        });
        is_empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryTree;
    use crate::ledger::Room;
    use crate::tree::Mounts;
    use std::sync::Arc;

    const ROOM: Room = Room {
        bytes: 1 << 30,
        files: 1 << 20,
        now_ns: 0,
    };

    struct Shelf {
        view: View,
        trees: Trees,
        directory: Node,
        reading: Option<Reading>,
        position: u64,
    }

    impl Shelf {
        /// A directory with three files of a tree and three of the instance's own.
        fn new() -> Shelf {
            let tree = MemoryTree::new().file("d/b", "").file("d/d", "");
            let mounts = Mounts::new().mount("/", Arc::new(tree.file("d/f", "")));
            let trees = mounts.trees().unwrap();
            let view = View::new(&mounts, &trees).unwrap();
            let directory = view.lookup(&trees, view.root(), b"d").unwrap();
            let mut shelf = Shelf {
                view,
                trees,
                directory,
                reading: None,
                position: POINTS,
            };
            for name in ["a", "c", "e"] {
                shelf.create(name);
            }
            shelf
        }

        fn create(&mut self, name: &str) {
            let name = name.as_bytes();
            self.view
                .create(self.directory, name, 0o600, &ROOM)
                .unwrap();
        }

        fn remove(&mut self, name: &str) {
            let name = name.as_bytes();
            let node = self.view.lookup(&self.trees, self.directory, name).unwrap();
            self.view
                .remove(&self.trees, self.directory, name, node, &ROOM)
                .unwrap();
        }

        /// Puts a new file in the place of another, as editors do.
        fn replace(&mut self, name: &str) {
            self.create("new");
            let (to, from) = (name.as_bytes(), &b"new"[..]);
            let lookup = |name| self.view.lookup(&self.trees, self.directory, name);
            let (node, target) = (lookup(from).unwrap(), lookup(to));
            let (from, to) = ((self.directory, from), (self.directory, to));
            self.view
                .rename(&self.trees, from, to, node, target, &ROOM)
                .unwrap();
        }

        /// The next names, `count` at most.
        fn read(&mut self, count: usize) -> String {
            let mut reading = self
                .reading
                .take()
                .unwrap_or_else(|| self.view.begin_reading());
            let mut names = String::new();
            let go_on = || Ok::<(), ()>(());
            let at = self.position;
            self.position = self
                .view
                .read_directory(
                    &self.trees,
                    self.directory,
                    &mut reading,
                    at,
                    go_on,
                    |shown| {
                        if names.len() == count {
                            return Taken::No;
                        }
                        names.push_str(std::str::from_utf8(shown.name).unwrap());
                        Taken::Yes
                    },
                )
                .unwrap();
            self.reading = Some(reading);
            names
        }

        /// All names, one a reading; `change` happens to each when it has been read.
        fn read_singly(&mut self, change: impl Fn(&mut Shelf, &str)) -> String {
            let mut seen = String::new();
            loop {
                let name = self.read(1);
                if name.is_empty() {
                    return seen;
                }
                change(self, &name);
                seen += &name;
            }
        }
    }

    #[test]
    fn names_of_the_tree_come_first_and_then_own_ones() {
        let mut shelf = Shelf::new();
        assert_eq!(shelf.read(9), "bdface");
        assert_eq!(shelf.read(9), "");
    }

    #[test]
    fn removing_what_was_read_skips_nothing() {
        let mut shelf = Shelf::new();
        assert_eq!(shelf.read_singly(Shelf::remove), "bdface");
        assert!(shelf.view.is_empty(&shelf.trees, shelf.directory));
    }

    #[test]
    fn what_is_replaced_while_it_is_read_is_shown_once() {
        let mut shelf = Shelf::new();
        assert_eq!(shelf.read_singly(Shelf::replace), "bdface");
        // Whoever begins anew sees them where they are now.
        (shelf.reading, shelf.position) = (None, POINTS);
        assert_eq!(shelf.read(9), "abcdef");
    }

    #[test]
    fn what_comes_while_a_directory_is_read_is_for_the_next_reading() {
        let mut shelf = Shelf::new();
        assert_eq!(shelf.read(1), "b");
        shelf.replace("f");
        shelf.create("z");
        shelf.remove("d");
        shelf.remove("c");
        assert_eq!(shelf.read(9), "fae");
        (shelf.reading, shelf.position) = (None, POINTS);
        assert_eq!(shelf.read(9), "baefz");
    }

    #[test]
    fn a_position_can_be_gone_back_to() {
        let mut shelf = Shelf::new();
        shelf.read(4);
        let at = shelf.position;
        assert_eq!(shelf.read(9), "ce");
        shelf.position = at;
        assert_eq!(shelf.read(1), "c");
        assert_eq!(shelf.read(9), "e");
    }

    #[test]
    fn long_readings_can_be_broken_off() {
        let mut tree = MemoryTree::new();
        for number in 0..3000 {
            tree = tree.file(&format!("d/{number}"), "");
        }
        let mounts = Mounts::new().mount("/", Arc::new(tree));
        let trees = mounts.trees().unwrap();
        let view = View::new(&mounts, &trees).unwrap();
        let directory = view.lookup(&trees, view.root(), b"d").unwrap();
        let mut reading = view.begin_reading();
        let mut seen = 0;
        let stop = || Err(());
        let mut count = |_: Shown<'_>| {
            seen += 1;
            Taken::Yes
        };
        let mut read =
            |at| view.read_directory(&trees, directory, &mut reading, at, stop, &mut count);
        assert_eq!(read(TREE + 1), Err(()));
        assert_eq!(seen, 1023);
    }
}
