//! A delta as bytes, and back. What comes back may be from a process that has been broken into: every
//! rule is checked, and no more memory is taken than there are bytes.
//!
//! ```text
//! magic 8 | nodes u32 | names u32 | nodes | names
//! node: origin u8 (0 mount string, inode u32; 1 or 2 inode u32) | path string | kind u8 | which u8 |
//!       mode u32 | time i64 | kept u64, size u64, count u32, count x (number u64, page) or target string
//! name: directory u32 | name string | which u8 | was u32 | is u32
//! string: length u16, bytes
//! ```
//! Numbers are little-endian; what `which` does not name is left out. One delta has one form.

use super::Kind;
use super::delta::{ChangedContent, ChangedName, ChangedNode, Delta, Origin};
use super::scratch::{FILE_SIZE_MAX, Patch};
use super::walk::{NAME_MAX, PATH_MAX};
use crate::error::Error;
use crate::sys::linux::PAGE;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"\x89zdelt\r\n";
const MODE: u8 = 1;
const TIME: u8 = 2;
const CONTENT: u8 = 4;
const WAS: u8 = 1;
const IS: u8 = 2;

impl Delta {
    /// The delta as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = MAGIC.to_vec();
        to.extend(count(self.nodes.len()).to_le_bytes());
        to.extend(count(self.names.len()).to_le_bytes());
        for node in &self.nodes {
            put_node(&mut to, node);
        }
        for name in &self.names {
            to.extend(name.directory.to_le_bytes());
            put_string(&mut to, &name.name);
            let flag = |index: Option<u32>, flag| if index.is_some() { flag } else { 0 };
            to.push(flag(name.was, WAS) | flag(name.is, IS));
            for index in name.was.iter().chain(&name.is) {
                to.extend(index.to_le_bytes());
            }
        }
        to
    }

    /// Reads what [`Delta::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Delta`] when the bytes are no delta, or one that no instance can make.
    pub fn from_bytes(bytes: &[u8]) -> Result<Delta, Error> {
        let mut from = From { all: bytes, at: 0 };
        if from.array()? != MAGIC {
            return Err(from.bad("it is no delta"));
        }
        let (nodes, names) = (from.u32()?, from.u32()?);
        let mut delta = Delta::default();
        for _ in 0..nodes {
            let node = from.node()?;
            let is_next = delta
                .nodes
                .last()
                .is_none_or(|last| last.origin < node.origin);
            from.check(is_next, "its nodes are in no order")?;
            delta.nodes.push(node);
        }
        for _ in 0..names {
            let name = from.name(nodes)?;
            let key = (name.directory, &name.name);
            let is_next =
                (delta.names.last()).is_none_or(|last| (last.directory, &last.name) < key);
            from.check(is_next, "its names are in no order")?;
            delta.names.push(name);
        }
        from.check(from.at == bytes.len(), "it goes on behind its end")?;
        is_possible(&delta).map_err(|reason| from.bad(reason))?;
        Ok(delta)
    }
}

/// Rules that concern several parts.
fn is_possible(delta: &Delta) -> Result<(), &'static str> {
    let mut named = vec![0_u32; delta.nodes.len()];
    let of = |index: u32| &delta.nodes[usize::try_from(index).unwrap_or(usize::MAX)];
    for name in &delta.names {
        if of(name.directory).kind != Kind::Directory {
            return Err("a name lies in no directory");
        }
        if let Some(is) = name.is {
            named[usize::try_from(is).unwrap_or(usize::MAX)] += 1;
        }
        if let Some(Origin::New { .. }) = name.was.map(|was| &of(was).origin) {
            return Err("something new was there before");
        }
    }
    for (node, named) in delta.nodes.iter().zip(named) {
        let is_directory = node.kind == Kind::Directory;
        let is_sound = match node.origin {
            Origin::New { .. } if is_directory => named == 1,
            Origin::New { .. } => named > 0,
            // A tree's directory stays where it is.
            Origin::Tree { .. } => !is_directory || named == 0,
            Origin::Snapshot { .. } => !is_directory || named <= 1,
        };
        if !is_sound {
            return Err("a node has names that it cannot have");
        }
    }
    Ok(())
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Names and paths are shorter than 64 KiB wherever they come from.
fn put_string(to: &mut Vec<u8>, text: &[u8]) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    to.extend(len.to_le_bytes());
    to.extend(&text[..usize::from(len)]);
}

fn put_node(to: &mut Vec<u8>, node: &ChangedNode) {
    match &node.origin {
        Origin::Tree { mount, inode } => {
            to.push(0);
            put_string(to, mount);
            to.extend(inode.to_le_bytes());
        }
        Origin::Snapshot { inode } => {
            to.push(1);
            to.extend(inode.to_le_bytes());
        }
        Origin::New { inode } => {
            to.push(2);
            to.extend(inode.to_le_bytes());
        }
    }
    put_string(to, &node.path);
    to.push(match node.kind {
        Kind::Directory => 0,
        Kind::Regular => 1,
        Kind::Symlink => 2,
        Kind::Device => 3,
    });
    let flag = |is: bool, flag| if is { flag } else { 0 };
    to.push(
        flag(node.mode.is_some(), MODE)
            | flag(node.modified_ns.is_some(), TIME)
            | flag(node.content.is_some(), CONTENT),
    );
    to.extend(node.mode.map(u32::to_le_bytes).into_iter().flatten());
    to.extend(node.modified_ns.map(i64::to_le_bytes).into_iter().flatten());
    match &node.content {
        Some(ChangedContent::Pages(patch)) => {
            to.extend(patch.kept.to_le_bytes());
            to.extend(patch.size.to_le_bytes());
            to.extend(count(patch.pages.len()).to_le_bytes());
            for (at, page) in &patch.pages {
                to.extend(at.to_le_bytes());
                to.extend(page.as_slice());
            }
        }
        Some(ChangedContent::Target(target)) => put_string(to, target),
        None => {}
    }
}

/// Bytes being read.
struct From<'a> {
    all: &'a [u8],
    at: usize,
}

impl From<'_> {
    fn bad(&self, reason: &'static str) -> Error {
        let at = self.at;
        Error::Delta { at, reason }
    }

    fn check(&self, is_sound: bool, reason: &'static str) -> Result<(), Error> {
        if is_sound {
            Ok(())
        } else {
            Err(self.bad(reason))
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let rest = self.all.get(self.at..).unwrap_or_default();
        let (head, _) = (rest.split_first_chunk()).ok_or_else(|| self.bad("it is cut short"))?;
        self.at += N;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn string(&mut self, max: usize) -> Result<Vec<u8>, Error> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let bytes = self.all.get(self.at..self.at + len);
        let bytes = bytes.ok_or_else(|| self.bad("it is cut short"))?.to_vec();
        self.check(len <= max && !bytes.contains(&0), "a text is none")?;
        self.at += len;
        Ok(bytes)
    }

    fn node(&mut self) -> Result<ChangedNode, Error> {
        let origin = match self.u8()? {
            0 => Origin::Tree {
                mount: self.string(PATH_MAX)?,
                inode: self.u32()?,
            },
            1 => Origin::Snapshot { inode: self.u32()? },
            2 => Origin::New { inode: self.u32()? },
            _ => return Err(self.bad("an origin is none")),
        };
        let path = self.string(PATH_MAX)?;
        let kind = match self.u8()? {
            0 => Kind::Directory,
            1 => Kind::Regular,
            2 => Kind::Symlink,
            _ => return Err(self.bad("a kind is none")),
        };
        let which = self.u8()?;
        self.check(which < 8, "a flag is none")?;
        let mode = if which & MODE != 0 {
            Some(self.u32()?)
        } else {
            None
        };
        let modified_ns = match which & TIME {
            0 => None,
            _ => Some(i64::from_le_bytes(self.array()?)),
        };
        let is_new = matches!(origin, Origin::New { .. });
        let content = match (which & CONTENT, kind) {
            (0, _) => None,
            (_, Kind::Regular) => Some(ChangedContent::Pages(self.patch(is_new)?)),
            (_, Kind::Symlink) if is_new => Some(ChangedContent::Target(self.string(PATH_MAX)?)),
            _ => return Err(self.bad("a content is none")),
        };
        let is_whole = !is_new
            || (mode.is_some()
                && modified_ns.is_some()
                && (kind == Kind::Directory || content.is_some()));
        self.check(is_whole, "something new is not whole")?;
        self.check(
            mode.is_none_or(|mode| mode <= 0o7777),
            "permissions are none",
        )?;
        Ok(ChangedNode {
            origin,
            path,
            kind,
            mode,
            modified_ns,
            content,
        })
    }

    fn patch(&mut self, is_new: bool) -> Result<Patch, Error> {
        let mut patch = Patch {
            kept: self.u64()?,
            size: self.u64()?,
            ..Patch::default()
        };
        let is_sound =
            patch.size <= FILE_SIZE_MAX && patch.kept <= patch.size && (!is_new || patch.kept == 0);
        self.check(is_sound, "a length is none")?;
        let end = patch.size.div_ceil(PAGE as u64);
        for _ in 0..self.u32()? {
            let at = self.u64()?;
            let last = patch.pages.last_key_value();
            let is_next = last.is_none_or(|(last, _)| *last < at) && at < end;
            self.check(is_next, "a page lies where none can be")?;
            patch.pages.insert(at, Arc::new(self.array()?));
        }
        Ok(patch)
    }

    fn name(&mut self, nodes: u32) -> Result<ChangedName, Error> {
        let directory = self.u32()?;
        let name = self.string(NAME_MAX)?;
        let is_name =
            !name.is_empty() && !name.contains(&b'/') && !matches!(name.as_slice(), b"." | b"..");
        self.check(is_name, "a name is none")?;
        let which = self.u8()?;
        self.check((1..4).contains(&which), "a flag is none")?;
        let was = if which & WAS != 0 {
            Some(self.u32()?)
        } else {
            None
        };
        let is = if which & IS != 0 {
            Some(self.u32()?)
        } else {
            None
        };
        let all = [Some(directory), was, is];
        let is_there = all.iter().flatten().all(|index| *index < nodes);
        self.check(is_there && was != is, "a name leads nowhere")?;
        Ok(ChangedName {
            directory,
            name,
            was,
            is,
        })
    }
}
