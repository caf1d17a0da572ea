//! A delta applied to a view: all of it, or nothing and an error.

use super::delta::{ChangedContent, ChangedNode, Delta, Origin};
use super::inodes::Content;
use super::mounts::names;
use super::scratch::ScratchFile;
use super::trees::Trees;
use super::view::View;
use super::{Kind, Node};
use crate::abi::Errno;
use crate::error::Error;
use crate::ledger::{RECORD_BYTES, Room};
use std::collections::BTreeSet;

impl View {
    /// Makes the changes of `delta`, whose nodes are looked for by their paths.
    pub(crate) fn apply(&mut self, trees: &Trees, delta: &Delta, room: &Room) -> Result<(), Error> {
        let mut changed = self.clone();
        // What takes the place of something is made before that is gone; in the end there must be room for all.
        let records = (2 * delta.nodes.len() + 2 * delta.names.len()) as u64;
        let while_changing = Room {
            bytes: room.bytes.saturating_add(records * RECORD_BYTES),
            files: u64::MAX,
            now_ns: room.now_ns,
        };
        let no_room = |_| cannot(b"/", "there is no room for it");
        let nodes = changed.find_or_make(trees, delta, &while_changing)?;
        if nodes.iter().collect::<BTreeSet<_>>().len() < nodes.len() {
            return Err(cannot(b"/", "two of its nodes are one"));
        }
        let of = |index: u32| nodes[usize::try_from(index).unwrap_or(usize::MAX)];
        for name in &delta.names {
            let directory = of(name.directory);
            let is = changed.lookup(trees, directory, &name.name);
            let is_as_it_was = is == name.was.map(of);
            if !is_as_it_was || changed.is_mount_point(directory, &name.name) {
                return Err(cannot(&name.name, "the name leads to something else"));
            }
        }
        for name in &delta.names {
            let (directory, node) = (of(name.directory), name.is.map(of));
            changed
                .give_name_to(trees, directory, &name.name, node, &while_changing)
                .map_err(no_room)?;
        }
        for name in &delta.names {
            // Whoever has another name now has been counted once more.
            if let Some(was) = name.was.map(of) {
                let leave = changed.leave_to_lose(trees, was, &while_changing);
                changed.lose_name(trees, was, leave.map_err(no_room)?);
            }
        }
        for (node, target) in delta.nodes.iter().zip(&nodes) {
            changed
                .change(trees, node, *target, &while_changing)
                .map_err(no_room)?;
            if node.kind == Kind::Directory && changed.is_in_itself(trees, *target, nodes.len()) {
                return Err(cannot(&node.path, "a directory lies in itself"));
            }
        }
        changed.ledger().check(0, room).map_err(no_room)?;
        *self = changed;
        Ok(())
    }

    /// The nodes of a delta here; new ones are made, without names.
    fn find_or_make(
        &mut self,
        trees: &Trees,
        delta: &Delta,
        room: &Room,
    ) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::with_capacity(delta.nodes.len());
        for node in &delta.nodes {
            nodes.push(match node.origin {
                Origin::New { .. } => self
                    .make(node, room)
                    .map_err(|_| cannot(&node.path, "there is no room for it"))?,
                _ => self.find(trees, node)?,
            });
        }
        Ok(nodes)
    }

    fn find(&self, trees: &Trees, node: &ChangedNode) -> Result<Node, Error> {
        let mut at = self.root();
        for name in names(&node.path) {
            let next = self.lookup(trees, at, name);
            at = next.ok_or_else(|| cannot(&node.path, "it is not there"))?;
        }
        let is_it = self.kind(trees, at) == node.kind && !node.path.is_empty();
        if is_it {
            Ok(at)
        } else {
            Err(cannot(&node.path, "it is something else"))
        }
    }

    fn make(&mut self, node: &ChangedNode, room: &Room) -> Result<Node, Errno> {
        let leave = self.overlay.ledger.enter(room)?;
        let content = match (&node.content, node.kind) {
            (Some(ChangedContent::Target(target)), _) => {
                self.overlay.ledger.replace(0, target.len() as u64);
                let target = target.clone();
                Content::Symlink { target }
            }
            (_, Kind::Directory) => Content::Directory {
                parent: self.root(),
            },
            _ => Content::Regular(ScratchFile::default()),
        };
        let (mode, time) = (node.mode.unwrap_or(0), node.modified_ns.unwrap_or(0));
        let made = self.overlay.add_inode(leave, content, mode, time);
        if let Node::Scratch(number) = made {
            self.overlay.inode_mut(number).links = 0;
        }
        Ok(made)
    }

    fn give_name_to(
        &mut self,
        trees: &Trees,
        directory: Node,
        name: &[u8],
        node: Option<Node>,
        room: &Room,
    ) -> Result<(), Errno> {
        let Some(node) = node else {
            return self.hide(trees, directory, name, room);
        };
        let leave = self.overlay.ledger.enter(room)?;
        self.overlay.set_name(leave, directory, name, Some(node));
        self.overlay.linked(node);
        if let Node::Scratch(number) = node
            && let Content::Directory { parent } = &mut self.overlay.inode_mut(number).content
        {
            *parent = directory;
        }
        Ok(())
    }

    fn change(
        &mut self,
        trees: &Trees,
        node: &ChangedNode,
        target: Node,
        room: &Room,
    ) -> Result<(), Errno> {
        match target {
            Node::Base(tree, number) => {
                if node.mode.is_some() || node.modified_ns.is_some() {
                    let altered = self.overlay.altered_mut(target, room)?;
                    altered.mode = node.mode.or(altered.mode);
                    altered.modified_ns = node.modified_ns.or(altered.modified_ns);
                }
                if let Some(ChangedContent::Pages(patch)) = &node.content {
                    let size = trees.metadata(tree, number).size;
                    let file = self.overlay.copy_mut(target, size, room)?;
                    let before = file.bytes();
                    file.patch(patch);
                    let after = file.bytes();
                    self.overlay.ledger.replace(before, after);
                }
            }
            // It has lost its last name, and nobody has it open.
            Node::Scratch(number) if self.overlay.inode(number).is_none() => {}
            Node::Scratch(number) => {
                let inode = self.overlay.inode_mut(number);
                inode.mode = node.mode.unwrap_or(inode.mode);
                inode.modified_ns = node.modified_ns.unwrap_or(inode.modified_ns);
                let before = inode.content.bytes();
                if let (Some(ChangedContent::Pages(patch)), Content::Regular(file)) =
                    (&node.content, &mut inode.content)
                {
                    file.patch(patch);
                }
                let after = inode.content.bytes();
                self.overlay.ledger.replace(before, after);
            }
            Node::Device(_) => {}
        }
        Ok(())
    }

    /// True when the way up from a directory does not end. What was there before has no circles, and no path
    /// is deeper than it is long.
    fn is_in_itself(&self, trees: &Trees, mut directory: Node, moved: usize) -> bool {
        for _ in 0..moved + super::walk::PATH_MAX {
            if directory == self.root() {
                return false;
            }
            directory = self.parent(trees, directory);
        }
        true
    }
}

fn cannot(path: &[u8], reason: &'static str) -> Error {
    Error::CannotApply {
        path: path.escape_ascii().to_string(),
        reason,
    }
}
