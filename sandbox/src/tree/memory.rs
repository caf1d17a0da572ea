//! A tree in memory, put together by whoever embeds the runtime.

use super::{Entry, Kind, Metadata, Tree};
use crate::sys::speculation::clamp;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Files, directories and links kept in memory.
#[derive(Debug, Clone)]
pub struct MemoryTree {
    nodes: Vec<MemoryNode>,
}

#[derive(Debug, Clone)]
struct MemoryNode {
    parent: u32,
    mode: u32,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Directory(BTreeMap<Vec<u8>, u32>),
    Regular(Vec<u8>),
    Symlink(Vec<u8>),
}

/// 1980-01-01, the date of files that have none.
const MODIFIED_NS: i64 = 315_532_800 * 1_000_000_000;

impl Default for MemoryTree {
    fn default() -> MemoryTree {
        MemoryTree::new()
    }
}

impl MemoryTree {
    /// An empty root directory.
    #[must_use]
    pub fn new() -> MemoryTree {
        let content = Content::Directory(BTreeMap::new());
        MemoryTree {
            nodes: vec![MemoryNode {
                parent: 0,
                mode: 0o755,
                content,
            }],
        }
    }

    /// Adds a file; directories on the way are made. What had the name before is replaced.
    #[must_use]
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> MemoryTree {
        self.add(path, 0o644, Content::Regular(bytes.into()));
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> MemoryTree {
        self.add(path, 0o777, Content::Symlink(target.into()));
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(mut self, path: &str) -> MemoryTree {
        self.add(path, 0o755, Content::Directory(BTreeMap::new()));
        self
    }

    fn add(&mut self, path: &str, mode: u32, content: Content) {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let Some((last, directories)) = names.split_last() else {
            return;
        };
        let mut at = 0;
        for name in directories {
            at = match self.child(at, name.as_bytes()) {
                Some(node) => node,
                None => self.insert(at, name, 0o755, Content::Directory(BTreeMap::new())),
            };
        }
        self.insert(at, last, mode, content);
    }

    fn insert(&mut self, parent: u32, name: &str, mode: u32, content: Content) -> u32 {
        let number = u32::try_from(self.nodes.len()).expect("fewer than 2^32 files");
        self.nodes.push(MemoryNode {
            parent,
            mode,
            content,
        });
        if let Content::Directory(entries) = &mut self.nodes[index(parent)].content {
            entries.insert(name.into(), number);
        }
        number
    }

    fn node(&self, node: u32) -> Option<&MemoryNode> {
        self.nodes.get(index(node))
    }
}

fn index(node: u32) -> usize {
    usize::try_from(node).expect("u32 fits usize")
}

impl Tree for MemoryTree {
    fn root(&self) -> u32 {
        0
    }

    fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        match &self.node(directory)?.content {
            Content::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    fn parent(&self, directory: u32) -> u32 {
        self.node(directory).map_or(0, |node| node.parent)
    }

    fn metadata(&self, node: u32) -> Metadata {
        let (kind, size, mode) = match self.node(node) {
            Some(node) => match &node.content {
                Content::Directory(_) => (Kind::Directory, 0, node.mode),
                Content::Regular(bytes) => (Kind::Regular, bytes.len(), node.mode),
                Content::Symlink(target) => (Kind::Symlink, target.len(), node.mode),
            },
            None => (Kind::Regular, 0, 0),
        };
        let modified_ns = MODIFIED_NS;
        Metadata {
            kind,
            mode,
            links: 1,
            uid: 0,
            gid: 0,
            size: size as u64,
            modified_ns,
        }
    }

    fn entry(&self, directory: u32, index: u32) -> Option<Entry<'_>> {
        let Content::Directory(entries) = &self.node(directory)?.content else {
            return None;
        };
        let (name, node) = entries.iter().nth(usize::try_from(index).ok()?)?;
        let kind = self.metadata(*node).kind;
        Some(Entry {
            name: Cow::Borrowed(name),
            node: *node,
            kind,
        })
    }

    fn name_of(&self, node: u32) -> Option<(u32, Vec<u8>)> {
        let parent = self.node(node)?.parent;
        let Content::Directory(entries) = &self.node(parent)?.content else {
            return None;
        };
        let (name, _) = entries.iter().find(|(_, child)| **child == node)?;
        Some((parent, name.clone()))
    }

    fn read_link(&self, node: u32) -> Option<Cow<'_, [u8]>> {
        match &self.node(node)?.content {
            Content::Symlink(target) => Some(Cow::Borrowed(target)),
            _ => None,
        }
    }

    fn read_at(&self, node: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, i32> {
        match self.node(node).map(|node| &node.content) {
            Some(Content::Regular(bytes)) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                if start >= bytes.len() {
                    return Ok(0);
                }
                let start = clamp(start, bytes.len());
                let count = (bytes.len() - start).min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[start..start + count]);
                Ok(count)
            }
            Some(Content::Directory(_)) => Err(libc::EISDIR),
            _ => Err(libc::EINVAL),
        }
    }
}
