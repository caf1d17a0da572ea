//! From a path to a node: links are followed inside what the guest sees, and nowhere else.

use super::trees::Trees;
use super::view::View;
use super::{Kind, Node};
use crate::abi::Errno;
use std::borrow::Cow;
use std::ops::Range;

/// Longest path, as on Linux.
pub(crate) const PATH_MAX: usize = 4096;
/// Longest name of a file.
pub(crate) const NAME_MAX: usize = 255;
/// Links followed in one path.
const LINKS_MAX: u32 = 40;

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Walked<'p> {
    /// The directory that holds the last name.
    pub(crate) directory: Node,
    /// What is there, if anything.
    pub(crate) node: Option<Node>,
    /// The path ended in a slash: only a directory will do.
    pub(crate) slash: bool,
    text: Cow<'p, [u8]>,
    name: Range<usize>,
}

impl Walked<'_> {
    /// The last name; empty when the path ends in `.`, `..` or the root.
    pub(crate) fn name(&self) -> &[u8] {
        &self.text[self.name.clone()]
    }

    /// The node, or the error Linux gives for a name that is not there.
    pub(crate) fn found(&self) -> Result<Node, Errno> {
        self.node.ok_or(Errno(libc::ENOENT))
    }
}

impl View {
    /// Follows `path` from `start` (or from the root), and a link at its end if `follow` says so.
    pub(crate) fn walk<'p>(
        &self,
        trees: &Trees,
        start: Node,
        path: &'p [u8],
        follow: bool,
    ) -> Result<Walked<'p>, Errno> {
        if path.is_empty() {
            return Err(Errno(libc::ENOENT));
        }
        let mut text = Cow::Borrowed(path);
        let mut links = 0;
        let mut directory = if path[0] == b'/' { self.root() } else { start };
        let mut at = 0;
        loop {
            let Some(name) = component(&text, &mut at) else {
                return Ok(Walked {
                    directory,
                    node: Some(directory),
                    slash: true,
                    text,
                    name: 0..0,
                });
            };
            if self.kind(trees, directory) != Kind::Directory {
                return Err(Errno(libc::ENOTDIR));
            }
            let rest = text[name.end..].iter().position(|byte| *byte != b'/');
            let is_last = rest.is_none();
            let slash = is_last && name.end < text.len();
            let node = match &text[name.clone()] {
                b"." => Some(directory),
                b".." => Some(self.parent(trees, directory)),
                long if long.len() > NAME_MAX => return Err(Errno(libc::ENAMETOOLONG)),
                plain => self.lookup(trees, directory, plain),
            };
            let link = match node {
                Some(node)
                    if (!is_last || follow || slash) && self.kind(trees, node) == Kind::Symlink =>
                {
                    self.read_link(trees, node)
                }
                _ => None,
            };
            if let Some(target) = link {
                links += 1;
                if links > LINKS_MAX || target.is_empty() {
                    return Err(Errno(libc::ELOOP));
                }
                let joined = [&*target, &text[name.end..]].concat();
                if joined.len() > PATH_MAX {
                    return Err(Errno(libc::ENAMETOOLONG));
                }
                if joined[0] == b'/' {
                    directory = self.root();
                }
                text = Cow::Owned(joined);
                at = 0;
                continue;
            }
            if is_last {
                let dots = matches!(&text[name.clone()], b"." | b"..");
                let name = if dots { 0..0 } else { name };
                let found = Walked {
                    directory,
                    node,
                    slash,
                    text,
                    name,
                };
                if slash
                    && let Some(node) = node
                    && self.kind(trees, node) != Kind::Directory
                {
                    return Err(Errno(libc::ENOTDIR));
                }
                return Ok(found);
            }
            directory = node.ok_or(Errno(libc::ENOENT))?;
            at = name.end;
        }
    }
}

/// The next name at or after `at`.
fn component(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let start = *at + text[*at..].iter().position(|byte| *byte != b'/')?;
    let len = text[start..]
        .iter()
        .position(|byte| *byte == b'/')
        .unwrap_or(text.len() - start);
    Some(start..start + len)
}
