//! Builds and writes the metadata: tables, section table and superblock.

mod attrs;
mod numbers;
mod path_index;

use std::collections::HashMap;

use zerocopy::IntoBytes;

use attrs::{AttrRows, Attrs};
use numbers::Numbers;
use path_index::path_index;

use super::layout::Layout;
use super::output::Output;
use super::{ClassTotal, PackReport, Work};
use crate::error::Error;
use crate::format::{
    Block, Content, DATA_START, Dirent, Inode, MAGIC, NONE, PAGE, SECTION_ALIGN, SECTION_COUNT,
    SUPERBLOCK_LEN, Section, SectionKind, Segment, Superblock, VERSION_MAJOR, VERSION_MINOR,
};
use crate::reader::{Class, seal};
use crate::scan::Note;
use crate::sqlite;
use crate::tree::{Meta, Node, NodeId, Tree};
use crate::tree_id::{Body, DirHasher};

/// What is known once the image is complete.
pub(super) struct Finished {
    superblock: Superblock,
    counts: (u64, u64, u64),
    unique_size: u64,
    metadata: u64,
    classes: Vec<ClassTotal>,
}

impl Finished {
    pub(super) fn report(&self, notes: Vec<Note>) -> PackReport {
        let (dirs, files, symlinks) = self.counts;
        PackReport {
            image_id: self.superblock.image_id,
            tree_id: self.superblock.tree_id,
            image_len: self.superblock.image_len.get(),
            files,
            dirs,
            symlinks,
            total_size: self.superblock.total_size.get(),
            unique_size: self.unique_size,
            metadata: self.metadata,
            classes: self.classes.clone(),
            notes,
        }
    }
}

/// Writes everything after the data area, and the superblock.
///
/// # Errors
/// A table is over the limits of the format; the output cannot be written.
pub(super) fn write(
    work: &Work<'_>,
    tree: &Tree,
    layout: &Layout,
    blocks: &[Block],
    output: &mut Output,
) -> Result<Finished, Error> {
    let mut strings = Strings::default();
    let (contents, segments, rows) = contents(layout, &mut strings)?;
    let numbers = Numbers::new(tree);
    let content_row = |node: NodeId| {
        let file = numbers.file_index[node as usize];
        rows[layout.content_of[file as usize]]
    };
    let mut attrs = Attrs::default();
    let (inodes, dirents) = inodes(tree, &numbers, &content_row, &mut attrs, &mut strings)?;
    let (attr_rows, xattr_rows) = attrs.finish(&mut strings)?;
    let inodes = renumber(inodes, &attr_rows);
    let (slots, probe_max, hash_seed) = path_index(&dirents, &inodes, &strings)?;
    let build_info = build_info(work);
    let data_end = output.at;
    let mut sections = Vec::with_capacity(SECTION_COUNT);
    for kind in SectionKind::ALL {
        let bytes = match kind {
            SectionKind::Attrs => attr_rows.rows.as_bytes(),
            SectionKind::Inodes => inodes.as_bytes(),
            SectionKind::Dirents => dirents.as_bytes(),
            SectionKind::Strings => &strings.bytes,
            SectionKind::PathIdx => slots.as_bytes(),
            SectionKind::Contents => contents.as_bytes(),
            SectionKind::Blocks => blocks.as_bytes(),
            SectionKind::Segments => segments.as_bytes(),
            SectionKind::Xattrs => xattr_rows.as_bytes(),
            SectionKind::BuildInfo => build_info.as_bytes(),
        };
        output.align(SECTION_ALIGN)?;
        sections.push(Section {
            kind: (kind as u32).into(),
            flags: 0.into(),
            off: output.at.into(),
            len: (bytes.len() as u64).into(),
            reserved: 0.into(),
            hash: *blake3::Hasher::new()
                .update_rayon(bytes)
                .finalize()
                .as_bytes(),
        });
        output.append(bytes)?;
    }
    output.align(SECTION_ALIGN)?;
    let sections_off = output.at;
    output.append(sections.as_bytes())?;
    output.align(PAGE)?;
    let total_size = layout
        .content_of
        .iter()
        .map(|&c| layout.contents[c].size)
        .sum::<u64>();
    let mut superblock = Superblock {
        magic: MAGIC,
        major: VERSION_MAJOR.into(),
        minor: VERSION_MINOR.into(),
        header_len: u32::try_from(SUPERBLOCK_LEN).expect("256").into(),
        incompat: 0.into(),
        compat: 0.into(),
        image_len: output.at.into(),
        sections_off: sections_off.into(),
        sections_n: u32::try_from(SECTION_COUNT).expect("ten").into(),
        probe_max: probe_max.into(),
        image_id: [0; 32],
        tree_id: tree_id(tree, &numbers, layout),
        total_size: total_size.into(),
        hash_seed: hash_seed.into(),
        reserved: [0; 116],
        crc: 0.into(),
    };
    seal(&mut superblock, &sections);
    output.write_head(superblock.as_bytes())?;
    Ok(Finished {
        counts: numbers.counts(),
        unique_size: layout
            .rows
            .iter()
            .map(|&c| &layout.contents[c])
            .filter(|c| c.parts.is_empty())
            .map(|c| c.size)
            .sum(),
        metadata: output.at - data_end + DATA_START,
        classes: class_totals(layout, blocks),
        superblock,
    })
}

/// Strings, each once.
#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    known: HashMap<Box<[u8]>, u32>,
}

impl Strings {
    /// Offset of a string in STRINGS.
    fn add(&mut self, string: &[u8]) -> Result<u32, Error> {
        if let Some(&off) = self.known.get(string) {
            return Ok(off);
        }
        let off = limited(self.bytes.len(), "bytes of names")?;
        self.bytes.extend_from_slice(string);
        limited(self.bytes.len(), "bytes of names")?;
        self.known.insert(string.into(), off);
        Ok(off)
    }
}

/// A row number, or the error that there are too many.
fn limited(n: usize, what: &str) -> Result<u32, Error> {
    u32::try_from(n)
        .ok()
        .filter(|&n| n < NONE)
        .ok_or_else(|| Error::Limit {
            what: format!("number of {what}"),
            max: u64::from(NONE) - 1,
        })
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a tree has fewer than 2^32 nodes")
}

/// Rows of CONTENTS and SEGMENTS, and the row of each content of the layout.
type ContentRows = (Vec<Content>, Vec<Segment>, Vec<u32>);

/// Builds [`ContentRows`].
fn contents(layout: &Layout, strings: &mut Strings) -> Result<ContentRows, Error> {
    limited(layout.rows.len(), "contents")?;
    let mut rows = vec![NONE; layout.contents.len()];
    let mut contents = Vec::with_capacity(layout.rows.len());
    let mut segments = Vec::new();
    for (row, &content) in layout.rows.iter().enumerate() {
        rows[content] = limited(row, "contents")?;
        let plan = &layout.contents[content];
        let (mut first, mut count) = (plan.first, plan.count);
        if plan.class == Class::Inline {
            first = strings.add(&plan.inline)?;
        }
        if plan.class == Class::Sparse {
            first = limited(segments.len(), "data ranges")?;
            count = limited(plan.parts.len(), "data ranges")?;
            segments.extend(plan.parts.iter().map(|&(offset, part)| Segment {
                offset: offset.into(),
                content: rows[part].into(),
                reserved: 0.into(),
            }));
        }
        contents.push(Content {
            hash: plan.hash,
            size: plan.size.into(),
            first: first.into(),
            count: count.into(),
            slice_off: plan.slice_off.into(),
            class: plan.class as u8,
            reserved: [0; 3],
        });
    }
    Ok((contents, segments, rows))
}

fn renumber(mut inodes: Vec<Inode>, attrs: &AttrRows) -> Vec<Inode> {
    for inode in &mut inodes {
        inode.attr = attrs.moved[inode.attr.get() as usize].into();
    }
    inodes
}

fn inodes(
    tree: &Tree,
    numbers: &Numbers,
    content_row: &dyn Fn(NodeId) -> u32,
    attrs: &mut Attrs,
    strings: &mut Strings,
) -> Result<(Vec<Inode>, Vec<Dirent>), Error> {
    let mut inodes: Vec<Inode> = Vec::with_capacity(numbers.nodes.len());
    let mut dirents: Vec<Dirent> = Vec::with_capacity(numbers.nodes.len());
    let mut named_by = vec![0; numbers.dirs];
    for (ino, &id) in numbers.nodes.iter().enumerate() {
        let node = tree.node(id);
        let (attr, data, count, extra) = match node {
            Node::Dir { meta, entries, .. } => {
                let first = limited(dirents.len(), "directory entries")?;
                for (name, &child) in entries {
                    let inode = numbers.inode[child as usize];
                    if (inode as usize) < numbers.dirs {
                        named_by[inode as usize] = limited(dirents.len(), "directory entries")?;
                    }
                    dirents.push(Dirent {
                        name_off: strings.add(name)?.into(),
                        inode: inode.into(),
                        parent: number(ino).into(),
                        name_len: u16::try_from(name.len()).expect("at most 255").into(),
                        reserved: 0.into(),
                    });
                }
                (attrs.add(0o040_000, meta), first, number(entries.len()), 0)
            }
            Node::File { meta, .. } => (
                attrs.add(0o100_000, meta),
                content_row(id),
                numbers.links[ino],
                0,
            ),
            Node::Symlink { meta, target } => (
                attrs.add(0o120_000, meta),
                strings.add(target)?,
                number(target.len()),
                numbers.links[ino],
            ),
        };
        inodes.push(Inode {
            attr: attr.into(),
            data: data.into(),
            count: count.into(),
            extra: extra.into(),
        });
    }
    limited(dirents.len(), "directory entries")?;
    for (inode, &dirent) in inodes.iter_mut().zip(&named_by) {
        inode.extra = dirent.into();
    }
    Ok((inodes, dirents))
}

/// `tree_id` from the tree itself; the reader computes the same from the image.
fn tree_id(tree: &Tree, numbers: &Numbers, layout: &Layout) -> [u8; 32] {
    fn pairs(meta: &Meta) -> impl Iterator<Item = (&[u8], &[u8])> {
        meta.xattrs
            .iter()
            .flat_map(|set| set.iter())
            .map(|(name, value)| (&name[..], &value[..]))
    }
    let mut hashes = vec![[0; 32]; numbers.dirs];
    for dir in (0..numbers.dirs).rev() {
        let node = numbers.nodes[dir];
        let mut hasher = DirHasher::new(tree.node(node).meta().perm, pairs(tree.node(node).meta()));
        for (name, &id) in tree.entries(node) {
            let child = tree.node(id);
            let body = match child {
                Node::Dir { .. } => Body::Dir(hashes[numbers.inode[id as usize] as usize]),
                Node::Symlink { target, .. } => Body::Symlink(target),
                Node::File { .. } => {
                    let content = &layout.contents
                        [layout.content_of[numbers.file_index[id as usize] as usize]];
                    Body::File {
                        size: content.size,
                        hash: content.hash,
                    }
                }
            };
            hasher.entry(name, child.meta().perm, pairs(child.meta()), &body);
        }
        hashes[dir] = hasher.finish();
    }
    hashes[0]
}

/// Tool versions and options: with the tree, what the bytes of the image depend on.
fn build_info(work: &Work<'_>) -> String {
    let options = work.options;
    let classes: Vec<_> = options
        .classes
        .iter()
        .map(|(glob, class)| format!("{glob}={}", class.name()))
        .collect();
    serde_json::json!({
        "tool": options.tool,
        "zstd": zstd::zstd_safe::version_string(),
        "sqlite": sqlite::version(),
        "level": options.level,
        "given_mtime": options.given_mtime,
        "at": options.at,
        "classes": classes,
        "sqlite_mode": format!("{:?}", options.sqlite.mode).to_lowercase(),
    })
    .to_string()
}

fn class_totals(layout: &Layout, blocks: &[Block]) -> Vec<ClassTotal> {
    let mut totals: Vec<ClassTotal> = Class::ALL
        .map(|class| ClassTotal {
            class,
            contents: 0,
            plain: 0,
            stored: 0,
        })
        .into();
    let mut counted = vec![false; blocks.len()];
    for &content in &layout.rows {
        let plan = &layout.contents[content];
        let total = &mut totals[plan.class as usize];
        total.contents += 1;
        total.plain += plan.size;
        if matches!(plan.class, Class::None | Class::Inline | Class::Sparse) {
            total.stored += plan.inline.len() as u64;
            continue;
        }
        for block in plan.first as usize..(plan.first + plan.count) as usize {
            if !std::mem::replace(&mut counted[block], true) {
                total.stored += u64::from(blocks[block].clen.get());
            }
        }
    }
    totals.retain(|t| t.contents > 0);
    totals
}
