//! What changes a view: contents, names, attributes. Each change is one of the instance's own; the trees
//! stay as they are.

use super::inodes::{Content, MODE_BITS};
use super::scratch::{FILE_SIZE_MAX, ScratchFile};
use super::trees::Trees;
use super::view::View;
use super::{Kind, Node};
use crate::abi::Errno;
use crate::ledger::{Leave, RECORD_BYTES, Room};

impl View {
    /// Writes to a regular file; a tree's file gets its private copy now if it has none.
    pub(crate) fn write_at(
        &mut self,
        trees: &Trees,
        node: Node,
        offset: u64,
        bytes: &[u8],
        room: &Room,
    ) -> Result<(), Errno> {
        let end = offset
            .checked_add(bytes.len() as u64)
            .ok_or(Errno(libc::EFBIG))?;
        if end > FILE_SIZE_MAX {
            return Err(Errno(libc::EFBIG));
        }
        let file = self.file_mut(trees, node, room)?;
        let before = file.bytes();
        let grow = file
            .new_pages(offset, bytes.len() as u64)
            .saturating_mul(4096);
        self.overlay.ledger.check(grow, room)?;
        let file = self.file_mut(trees, node, room)?;
        let result = match node {
            Node::Base(tree, number) => file.write_at(offset, bytes, |at, part| {
                trees.read_at(tree, number, at, part)
            }),
            _ => file.write_at(offset, bytes, |_, _| Ok(0)),
        };
        let after = file.bytes();
        self.overlay.ledger.replace(before, after);
        result.map_err(Errno)
    }

    /// Sets the length of a regular file.
    pub(crate) fn truncate(
        &mut self,
        trees: &Trees,
        node: Node,
        size: u64,
        room: &Room,
    ) -> Result<(), Errno> {
        if size > FILE_SIZE_MAX {
            return Err(Errno(libc::EFBIG));
        }
        let file = self.file_mut(trees, node, room)?;
        let before = file.bytes();
        file.truncate(size);
        let after = file.bytes();
        self.overlay.ledger.replace(before, after);
        Ok(())
    }

    /// Makes a file in `directory`, which has no such name.
    pub(crate) fn create(
        &mut self,
        directory: Node,
        name: &[u8],
        mode: u32,
        room: &Room,
    ) -> Result<Node, Errno> {
        let [inode, its_name] = self.overlay.ledger.enter_file(0, room)?;
        let content = Content::Regular(ScratchFile::default());
        let node = self.overlay.add_inode(inode, content, mode, room.now_ns);
        self.overlay.set_name(its_name, directory, name, Some(node));
        Ok(node)
    }

    /// Makes a directory.
    pub(crate) fn make_directory(
        &mut self,
        directory: Node,
        name: &[u8],
        mode: u32,
        room: &Room,
    ) -> Result<(), Errno> {
        let [inode, its_name] = self.overlay.ledger.enter_file(0, room)?;
        let node = self.new_directory(inode, directory, mode, room.now_ns);
        self.overlay.set_name(its_name, directory, name, Some(node));
        Ok(())
    }

    /// Makes a symbolic link in `directory`, which has no such name.
    pub(crate) fn make_symlink(
        &mut self,
        directory: Node,
        name: &[u8],
        target: &[u8],
        room: &Room,
    ) -> Result<(), Errno> {
        let len = target.len() as u64;
        let [inode, its_name] = self.overlay.ledger.enter_file(len, room)?;
        let target = target.to_vec();
        let link = Content::Symlink { target };
        let node = self.overlay.add_inode(inode, link, 0o777, room.now_ns);
        self.overlay.set_name(its_name, directory, name, Some(node));
        Ok(())
    }

    /// Gives a file that is no directory one more name, in a directory that has no such name.
    pub(crate) fn link(
        &mut self,
        directory: Node,
        name: &[u8],
        node: Node,
        room: &Room,
    ) -> Result<(), Errno> {
        let its_name = self.overlay.ledger.enter(room)?;
        self.overlay.linked(node);
        self.overlay.set_name(its_name, directory, name, Some(node));
        Ok(())
    }

    /// Removes the name of a file or of an empty directory.
    pub(crate) fn remove(
        &mut self,
        trees: &Trees,
        directory: Node,
        name: &[u8],
        node: Node,
        room: &Room,
    ) -> Result<(), Errno> {
        let is_gone = self.leave_to_lose(trees, node, room)?;
        if let Err(full) = self.hide(trees, directory, name, room) {
            self.put_back(is_gone);
            return Err(full);
        }
        self.lose_name(trees, node, is_gone);
        Ok(())
    }

    /// Gives `node` a new name, in place of `target` if something has it.
    pub(crate) fn rename(
        &mut self,
        trees: &Trees,
        from: (Node, &[u8]),
        to: (Node, &[u8]),
        node: Node,
        target: Option<Node>,
        room: &Room,
    ) -> Result<(), Errno> {
        let new = self.overlay.ledger.enter(room)?;
        let lost = target.map(|target| self.leave_to_lose(trees, target, room));
        let lost = match lost.transpose() {
            Ok(lost) => lost.flatten(),
            Err(full) => {
                self.put_back(Some(new));
                return Err(full);
            }
        };
        if let Err(full) = self.hide(trees, from.0, from.1, room) {
            self.put_back(Some(new));
            self.put_back(lost);
            return Err(full);
        }
        self.overlay.set_name(new, to.0, to.1, Some(node));
        if let Node::Scratch(number) = node
            && let Content::Directory { parent } = &mut self.overlay.inode_mut(number).content
        {
            *parent = to.0;
        }
        if let Some(target) = target {
            self.lose_name(trees, target, lost);
        }
        Ok(())
    }

    fn put_back(&mut self, leave: Option<Leave>) {
        if let Some(leave) = leave {
            self.overlay.ledger.strike(leave);
        }
    }

    /// Changes permission bits.
    pub(crate) fn set_mode(&mut self, node: Node, mode: u32, room: &Room) -> Result<(), Errno> {
        let mode = mode & MODE_BITS;
        match node {
            Node::Scratch(number) => self.overlay.inode_mut(number).mode = mode,
            Node::Base(..) => self.overlay.altered_mut(node, room)?.mode = Some(mode),
            Node::Device(_) => return Err(Errno(libc::EPERM)),
        }
        Ok(())
    }

    /// Changes the modification time.
    pub(crate) fn set_modified(
        &mut self,
        node: Node,
        modified_ns: i64,
        room: &Room,
    ) -> Result<(), Errno> {
        match node {
            Node::Scratch(number) => self.overlay.inode_mut(number).modified_ns = modified_ns,
            Node::Base(..) => {
                self.overlay.altered_mut(node, room)?.modified_ns = Some(modified_ns);
            }
            Node::Device(_) => return Err(Errno(libc::EPERM)),
        }
        Ok(())
    }

    /// Counts an open description of a scratch file.
    pub(crate) fn opened(&mut self, node: Node) {
        self.overlay.opened(node);
    }

    /// Counts one fewer, and frees a file that has no name left.
    pub(crate) fn closed(&mut self, node: Node) {
        self.overlay.closed(node);
    }

    /// A directory of the instance's own, which is to get a name in `parent`.
    pub(super) fn new_directory(
        &mut self,
        leave: Leave,
        parent: Node,
        mode: u32,
        now_ns: i64,
    ) -> Node {
        let directory = Content::Directory { parent };
        self.overlay.add_inode(leave, directory, mode, now_ns)
    }

    fn file_mut(
        &mut self,
        trees: &Trees,
        node: Node,
        room: &Room,
    ) -> Result<&mut ScratchFile, Errno> {
        let now_ns = room.now_ns;
        match node {
            Node::Base(tree, number) => {
                if self.overlay.copy(node).is_none() {
                    // Both or neither, so that what fails leaves nothing behind.
                    self.overlay.ledger.check(2 * RECORD_BYTES, room)?;
                }
                let altered = self.overlay.altered_mut(node, room)?;
                altered.modified_ns = Some(now_ns);
                let size = trees.size(tree, number);
                self.overlay.copy_mut(node, size, room)
            }
            Node::Scratch(number) => {
                let inode = self.overlay.inode_mut(number);
                inode.modified_ns = now_ns;
                match &mut inode.content {
                    Content::Regular(file) => Ok(file),
                    Content::Directory { .. } => Err(Errno(libc::EISDIR)),
                    Content::Symlink { .. } => Err(Errno(libc::EINVAL)),
                }
            }
            Node::Device(_) => Err(Errno(libc::EINVAL)),
        }
    }

    /// Leave for what is kept of a directory of a tree that loses its name.
    pub(super) fn leave_to_lose(
        &mut self,
        trees: &Trees,
        node: Node,
        room: &Room,
    ) -> Result<Option<Leave>, Errno> {
        let is_kept = matches!(node, Node::Base(..)) && self.kind(trees, node) == Kind::Directory;
        let leave = is_kept.then(|| self.overlay.ledger.enter(room));
        leave.transpose()
    }

    /// Counts one name fewer; a tree's directory, which had only that one, is gone.
    pub(super) fn lose_name(&mut self, trees: &Trees, node: Node, leave: Option<Leave>) {
        if let Some(leave) = leave {
            debug_assert_eq!(self.kind(trees, node), Kind::Directory);
            self.overlay.set_removed(leave, node);
        }
        self.overlay.unlinked(node);
    }

    /// Makes a name disappear: forgotten, or marked as removed when a tree has it.
    pub(super) fn hide(
        &mut self,
        trees: &Trees,
        directory: Node,
        name: &[u8],
        room: &Room,
    ) -> Result<(), Errno> {
        if self.tree_has(trees, directory, name) {
            let leave = self.overlay.ledger.enter(room)?;
            self.overlay.set_name(leave, directory, name, None);
        } else {
            self.overlay.forget_name(directory, name);
        }
        Ok(())
    }
}
