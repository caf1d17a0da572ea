//! First reading: hash and storage class.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use globset::GlobSet;
use rayon::prelude::*;

use super::codec::incompressible;
use super::layout::SHARED;
use super::open::Opened;
use super::{Phase, Work};
use crate::error::Error;
use crate::format::{FRAME_ULEN_MAX, INLINE_MAX};
use crate::reader::Class;
use crate::tree::{Node, NodeId, Tree};

/// Bytes read at once; the class is chosen by the first of them.
const PIECE: usize = 4 << 20;
/// Length of each of the samples that tell whether a file is compressed already, and how many are taken.
const SAMPLE: usize = 16 << 10;
const SAMPLES: usize = 4;

/// A regular file by its first name.
pub(super) struct FileRef {
    pub(super) node: NodeId,
    pub(super) path: Vec<u8>,
}

/// What the first reading found out about a file, or about a data range of a sparse file.
pub(super) struct Examined {
    pub(super) hash: [u8; 32],
    pub(super) size: u64,
    pub(super) class: Class,
    /// The bytes, for class inline.
    pub(super) inline: Vec<u8>,
    /// For class sparse: offset and description of each data range.
    pub(super) parts: Vec<(u64, Examined)>,
}

/// Lists the files of a tree in path order, each once.
pub(super) fn list(tree: &Tree) -> Result<Vec<FileRef>, Error> {
    let mut seen = vec![false; tree.len()];
    let mut files = Vec::new();
    tree.walk(&mut |path, node, what| {
        if matches!(what, Node::File { .. }) && !std::mem::replace(&mut seen[node as usize], true) {
            files.push(FileRef {
                node,
                path: path.to_vec(),
            });
        }
        Ok(())
    })?;
    Ok(files)
}

/// Reads all files.
pub(super) fn all(work: &Work<'_>, tree: &Tree, files: &[FileRef]) -> Result<Vec<Examined>, Error> {
    let total: u64 = files.iter().map(|f| size(tree, f)).sum();
    let patterns: Vec<String> = work
        .options
        .classes
        .iter()
        .map(|(glob, _)| glob.clone())
        .collect();
    let examiner = Examiner {
        work,
        globs: crate::scan::globs(&patterns)?,
    };
    let done = AtomicU64::new(0);
    work.pool.install(|| {
        files
            .par_iter()
            .map(|file| {
                work.check_stop()?;
                let examined = examiner.file(tree, file)?;
                let done = done.fetch_add(examined.size, Ordering::Relaxed) + examined.size;
                work.say(Phase::Examine, done, total, 0);
                Ok(examined)
            })
            .collect()
    })
}

fn size(tree: &Tree, file: &FileRef) -> u64 {
    match tree.node(file.node) {
        Node::File { size, .. } => *size,
        _ => 0,
    }
}

struct Examiner<'a> {
    work: &'a Work<'a>,
    globs: GlobSet,
}

impl Examiner<'_> {
    fn file(&self, tree: &Tree, file: &FileRef) -> Result<Examined, Error> {
        let Node::File { size, source, .. } = tree.node(file.node) else {
            return Err(Error::source(&file.path, "is not a regular file"));
        };
        let opened = Opened::new(tree, &file.path, *size, source)?;
        let wanted = self.wanted(&file.path);
        let examined = match opened.data_ranges()? {
            None => self.range(&opened, 0..*size, wanted)?,
            Some(ranges) => self.sparse(&opened, &ranges, wanted)?,
        };
        opened.check_unchanged()?;
        Ok(examined)
    }

    /// The class that an option names for a path.
    fn wanted(&self, path: &[u8]) -> Option<Class> {
        use std::os::unix::ffi::OsStrExt;
        let matches = self.globs.matches(std::ffi::OsStr::from_bytes(path));
        matches.first().map(|&i| self.work.options.classes[i].1)
    }

    fn sparse(
        &self,
        opened: &Opened,
        ranges: &Arc<[Range<u64>]>,
        wanted: Option<Class>,
    ) -> Result<Examined, Error> {
        let mut hasher = blake3::Hasher::new();
        opened.for_each_piece(Some(ranges), PIECE, &mut |piece| {
            self.work.check_stop()?;
            hasher.update(piece);
            Ok(())
        })?;
        let mut parts = Vec::new();
        for range in ranges.iter() {
            parts.push((range.start, self.range(opened, range.clone(), wanted)?));
        }
        Ok(Examined {
            hash: *hasher.finalize().as_bytes(),
            size: opened.size(),
            class: Class::Sparse,
            inline: Vec::new(),
            parts,
        })
    }

    /// Examines a stretch of a file that has no holes.
    fn range(
        &self,
        opened: &Opened,
        range: Range<u64>,
        wanted: Option<Class>,
    ) -> Result<Examined, Error> {
        let size = range.end - range.start;
        let mut hasher = blake3::Hasher::new();
        let mut buf = vec![0; usize::try_from(size).map_or(PIECE, |size| size.min(PIECE))];
        let mut class = None;
        let mut at = range.start;
        while at < range.end {
            self.work.check_stop()?;
            let n = usize::try_from(range.end - at).map_or(buf.len(), |left| left.min(buf.len()));
            let piece = &mut buf[..n];
            opened.read_exact_at(piece, at)?;
            hasher.update(piece);
            if class.is_none() {
                class = Some(classify(piece, size, wanted));
            }
            at += n as u64;
        }
        let class = class.unwrap_or(Class::None);
        let inline = if class == Class::Inline {
            buf
        } else {
            Vec::new()
        };
        Ok(Examined {
            hash: *hasher.finalize().as_bytes(),
            size,
            class,
            inline,
            parts: Vec::new(),
        })
    }
}

/// Storage class of a file from its first bytes, its size and what the user asked for.
fn classify(head: &[u8], size: u64, wanted: Option<Class>) -> Class {
    match wanted {
        Some(Class::Raw) => return Class::Raw,
        Some(Class::Frame) if size <= u64::from(FRAME_ULEN_MAX) => return Class::Frame,
        Some(Class::PackedRaw) => return Class::PackedRaw,
        Some(Class::Blocks) => return Class::Blocks,
        Some(Class::Packed) if size <= SHARED => return Class::Packed,
        _ => {}
    }
    let mappable = crate::sqlite::detect(head, size) || head.starts_with(b"\x7fELF");
    if mappable {
        Class::Raw
    } else if size <= INLINE_MAX as u64 {
        Class::Inline
    } else if looks_compressed(head) {
        Class::PackedRaw
    } else if size <= SHARED {
        Class::Packed
    } else {
        Class::Blocks
    }
}

fn looks_compressed(head: &[u8]) -> bool {
    // Short files are judged by the block they are packed into.
    if head.len() < 1024 {
        return false;
    }
    if head.len() <= SAMPLE * SAMPLES {
        return incompressible(&[head]);
    }
    let step = (head.len() - SAMPLE) / (SAMPLES - 1);
    let samples: Vec<&[u8]> = (0..SAMPLES)
        .map(|i| &head[i * step..i * step + SAMPLE])
        .collect();
    incompressible(&samples)
}
