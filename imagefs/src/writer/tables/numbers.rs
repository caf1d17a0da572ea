//! Which number each inode gets.

use super::number;
use crate::format::NONE;
use crate::tree::{Node, NodeId, Tree};

/// Inode numbers: directories breadth-first, then files and symlinks by their first name in that order.
pub(super) struct Numbers {
    /// Node of each inode.
    pub(super) nodes: Vec<NodeId>,
    pub(super) dirs: usize,
    /// Inode of each node.
    pub(super) inode: Vec<u32>,
    /// Names that lead to each inode.
    pub(super) links: Vec<u32>,
    /// For each file node, its position in the path order of the layout.
    pub(super) file_index: Vec<u32>,
    pub(super) symlinks: usize,
}

impl Numbers {
    pub(super) fn new(tree: &Tree) -> Numbers {
        let mut inode = vec![NONE; tree.len()];
        let mut nodes = vec![0];
        inode[0] = 0;
        let mut next = 0;
        while next < nodes.len() {
            for (_, &id) in tree.entries(nodes[next]) {
                if matches!(tree.node(id), Node::Dir { .. }) {
                    inode[id as usize] = number(nodes.len());
                    nodes.push(id);
                }
            }
            next += 1;
        }
        let dirs = nodes.len();
        let mut links = vec![0; dirs];
        let mut symlinks = 0;
        for dir in 0..dirs {
            for (_, &id) in tree.entries(nodes[dir]) {
                if matches!(tree.node(id), Node::Dir { .. }) {
                    continue;
                }
                if inode[id as usize] == NONE {
                    inode[id as usize] = number(nodes.len());
                    nodes.push(id);
                    links.push(0);
                    symlinks += usize::from(matches!(tree.node(id), Node::Symlink { .. }));
                }
                links[inode[id as usize] as usize] += 1;
            }
        }
        Numbers {
            nodes,
            dirs,
            inode,
            links,
            file_index: file_index(tree),
            symlinks,
        }
    }

    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let files = self.nodes.len() - self.dirs - self.symlinks;
        (self.dirs as u64, files as u64, self.symlinks as u64)
    }
}

/// The order in which [`examine::list`](crate::writer::examine::list) numbers files.
fn file_index(tree: &Tree) -> Vec<u32> {
    let mut of = vec![NONE; tree.len()];
    let mut next = 0;
    tree.walk(&mut |_, id, node| {
        if matches!(node, Node::File { .. }) && of[id as usize] == NONE {
            of[id as usize] = next;
            next += 1;
        }
        Ok(())
    })
    .expect("the same walk has succeeded before");
    of
}
