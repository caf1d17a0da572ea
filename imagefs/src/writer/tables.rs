//! Builds and writes the metadata: tables, section table and superblock.

use std::collections::HashMap;

use zerocopy::IntoBytes;

use super::layout::Layout;
use super::output::Output;
use super::{ClassTotal, PackReport, Work};
use crate::error::Error;
use crate::format::{
    Attr, Block, Content, DATA_START, Dirent, Inode, MAGIC, NONE, PAGE, PROBE_MAX, SECTION_ALIGN,
    SECTION_COUNT, SUPERBLOCK_LEN, Section, SectionKind, Segment, Slot, Superblock, VERSION_MAJOR,
    VERSION_MINOR, Xattr,
};
use crate::reader::{Class, seal};
use crate::scan::Note;
use crate::tree::{Meta, Node, NodeId, Tree, Xattrs};
use crate::tree_id::{Body, DirHasher};
use crate::{index, sqlite};

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

/// Inode numbers: directories breadth-first, then files and symlinks by their first name in that order.
struct Numbers {
    /// Node of each inode.
    nodes: Vec<NodeId>,
    dirs: usize,
    /// Inode of each node.
    inode: Vec<u32>,
    /// Names that lead to each inode.
    links: Vec<u32>,
    /// For each file node, its position in the path order of the layout.
    file_index: Vec<u32>,
    symlinks: usize,
}

impl Numbers {
    fn new(tree: &Tree) -> Numbers {
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

    fn counts(&self) -> (u64, u64, u64) {
        let files = self.nodes.len() - self.dirs - self.symlinks;
        (self.dirs as u64, files as u64, self.symlinks as u64)
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a tree has fewer than 2^32 nodes")
}

/// The order in which [`super::examine::list`] numbers files.
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

/// Attribute rows in order of first use.
#[derive(Default)]
struct Attrs {
    rows: Vec<(u16, Meta)>,
    known: HashMap<(u16, u32, u32, i64, u32), Vec<u32>>,
}

/// The final rows, and where each of the first-use order went.
struct AttrRows {
    rows: Vec<Attr>,
    moved: Vec<u32>,
}

impl Attrs {
    fn add(&mut self, kind: u16, meta: &Meta) -> u32 {
        let mode = kind | meta.perm;
        let same = self
            .known
            .entry((mode, meta.uid, meta.gid, meta.mtime, meta.mtime_ns))
            .or_default();
        for &row in same.iter() {
            if self.rows[row as usize].1.xattrs == meta.xattrs {
                return row;
            }
        }
        let row = number(self.rows.len());
        same.push(row);
        self.rows.push((mode, meta.clone()));
        row
    }

    /// Sorts the rows, so that their order does not depend on the numbering, and lays out the attribute sets.
    fn finish(self, strings: &mut Strings) -> Result<(AttrRows, Vec<Xattr>), Error> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let key = |&i: &usize| {
            let (mode, meta) = &self.rows[i];
            (
                *mode,
                meta.uid,
                meta.gid,
                meta.mtime,
                meta.mtime_ns,
                meta.xattrs.as_deref(),
            )
        };
        order.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut moved = vec![0; order.len()];
        let mut rows = Vec::with_capacity(order.len());
        let mut xattrs = Vec::new();
        for (new, &old) in order.iter().enumerate() {
            moved[old] = number(new);
            let (mode, meta) = &self.rows[old];
            let first = match &meta.xattrs {
                None => NONE,
                Some(set) => xattr_set(set, &mut xattrs, strings)?,
            };
            rows.push(Attr {
                mode: (*mode).into(),
                reserved: 0.into(),
                uid: meta.uid.into(),
                gid: meta.gid.into(),
                mtime_ns: meta.mtime_ns.into(),
                mtime: meta.mtime.into(),
                xattr_first: first.into(),
                xattr_count: number(meta.xattrs.as_ref().map_or(0, |set| set.len())).into(),
            });
        }
        Ok((AttrRows { rows, moved }, xattrs))
    }
}

fn xattr_set(set: &Xattrs, rows: &mut Vec<Xattr>, strings: &mut Strings) -> Result<u32, Error> {
    let first = limited(rows.len(), "extended attributes")?;
    for (name, value) in set {
        // Name and value are one string: the value follows its name.
        rows.push(Xattr {
            off: strings.add(&[&name[..], &value[..]].concat())?.into(),
            name_len: number(name.len()).into(),
            value_len: number(value.len()).into(),
        });
    }
    Ok(first)
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

/// Tries seeds until no probe is longer than the format allows; the first one nearly always does.
fn path_index(
    dirents: &[Dirent],
    inodes: &[Inode],
    strings: &Strings,
) -> Result<(Vec<Slot>, u32, u64), Error> {
    const SEEDS: u64 = 64;
    for seed in 0..SEEDS {
        let (slots, probe) = index_with(dirents, inodes, strings, seed);
        if probe <= PROBE_MAX {
            return Ok((slots, probe, seed));
        }
    }
    Err(Error::Limit {
        what: "length of a probe in the path index".into(),
        max: PROBE_MAX.into(),
    })
}

fn index_with(
    dirents: &[Dirent],
    inodes: &[Inode],
    strings: &Strings,
    seed: u64,
) -> (Vec<Slot>, u32) {
    let mut slots = vec![
        Slot {
            tag: 0.into(),
            dirent: NONE.into()
        };
        index::slots(dirents.len())
    ];
    let mask = slots.len() - 1;
    let mut hashes: Vec<u64> = Vec::with_capacity(dirents.len());
    let mut probe_max = 0;
    for (row, dirent) in dirents.iter().enumerate() {
        let parent = match dirent.parent.get() {
            0 => seed,
            dir => hashes[inodes[dir as usize].extra.get() as usize],
        };
        let name_off = dirent.name_off.get() as usize;
        let hash = index::extend(
            parent,
            &strings.bytes[name_off..name_off + usize::from(dirent.name_len.get())],
        );
        hashes.push(hash);
        let home = index::home(hash, slots.len());
        let mut probe = 0;
        while slots[(home + probe) & mask].dirent.get() != NONE {
            probe += 1;
        }
        slots[(home + probe) & mask] = Slot {
            tag: index::tag(hash).into(),
            dirent: number(row).into(),
        };
        probe_max = probe_max.max(number(probe));
    }
    (slots, probe_max)
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
