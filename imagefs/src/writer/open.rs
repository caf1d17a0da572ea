//! Opening and reading the bytes of a tree's files, with a look for changes before and after.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{OFlags, SeekFrom};

use crate::error::{Error, printable};
use crate::scan::disk_file;
use crate::tree::{DiskFile, Node, Source, Tree};

/// Holes smaller than this in all are stored as zeros: a sparse table costs more than they do.
const HOLES_MIN: u64 = 64 << 10;

/// How much of a file is read at once.
const PIECE: usize = 64 << 10;

/// A file's bytes, ready for positioned reads.
pub(super) struct Opened {
    bytes: Bytes,
    size: u64,
    path: Vec<u8>,
    /// For files on disk: what the scan saw.
    seen: Option<DiskFile>,
}

enum Bytes {
    File {
        file: Arc<File>,
        offset: u64,
        data: Option<Arc<[Range<u64>]>>,
    },
    Memory(Arc<[u8]>),
}

/// What a file of a tree holds; `None` when the path leads to no regular file, or to one larger than `max`. Symlinks are
/// not followed.
///
/// # Errors
/// It cannot be read, or is not what the scan saw.
pub fn contents(tree: &Tree, path: &[u8], max: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut names = path.split(|&b| b == b'/');
    let Some(id) = names.try_fold(0, |dir, name| tree.child(dir, name)) else {
        return Ok(None);
    };
    let (size, source) = match tree.node(id) {
        Node::File { size, source, .. } if *size <= max => (*size, source),
        _ => return Ok(None),
    };
    let opened = Opened::new(tree, path, size, source)?;
    let mut bytes = Vec::new();
    opened.for_each_piece(opened.data_ranges()?.as_deref(), PIECE, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    opened.check_unchanged()?;
    Ok(Some(bytes))
}

impl Opened {
    /// Opens a file of `tree`.
    ///
    /// # Errors
    /// It cannot be opened, or is another file or has another size or time than the scan saw.
    pub(super) fn new(
        tree: &Tree,
        path: &[u8],
        size: u64,
        source: &Source,
    ) -> Result<Opened, Error> {
        let path = path.to_vec();
        let (bytes, seen) = match source {
            Source::Bytes(bytes) => (Bytes::Memory(Arc::clone(bytes)), None),
            Source::Stored { file, offset, data } => (
                Bytes::File {
                    file: Arc::clone(file),
                    offset: *offset,
                    data: data.clone(),
                },
                None,
            ),
            Source::Disk(seen) => {
                let fd = tree
                    .open_below_root(&path, OFlags::empty())
                    .map_err(|e| io_error("open", &path, e.into()))?;
                let file = Arc::new(File::from(fd));
                (
                    Bytes::File {
                        file,
                        offset: 0,
                        data: None,
                    },
                    Some(*seen),
                )
            }
        };
        let opened = Opened {
            bytes,
            size,
            path,
            seen,
        };
        opened.check_unchanged()?;
        Ok(opened)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// # Errors
    /// The file on disk is no longer what the scan saw.
    pub(super) fn check_unchanged(&self) -> Result<(), Error> {
        if let (Some(seen), Bytes::File { file, .. }) = (self.seen, &self.bytes) {
            let stat =
                rustix::fs::fstat(file).map_err(|e| io_error("stat", &self.path, e.into()))?;
            if disk_file(&stat) != seen || u64::try_from(stat.st_size) != Ok(self.size) {
                return Err(self.changed());
            }
        }
        Ok(())
    }

    pub(super) fn changed(&self) -> Error {
        Error::Changed {
            path: printable(&self.path),
        }
    }

    /// Fills `buf` from an offset in the plain bytes of a file that is not sparse, or of a data range.
    ///
    /// # Errors
    /// The system says no, or the file has become shorter.
    pub(super) fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let start = usize::try_from(offset).ok();
                let range = start.and_then(|start| bytes.get(start..)?.get(..buf.len()));
                buf.copy_from_slice(range.ok_or_else(|| self.changed())?);
                Ok(())
            }
            Bytes::File {
                file,
                offset: base,
                data,
            } => {
                let at = base
                    + data
                        .as_ref()
                        .map_or(offset, |data| stored_offset(data, offset));
                file.read_exact_at(buf, at).map_err(|e| match e.kind() {
                    io::ErrorKind::UnexpectedEof => self.changed(),
                    _ => io_error("read", &self.path, e),
                })
            }
        }
    }

    /// Reads the whole plain bytes in order, holes as zeros, in pieces of at most `piece` bytes.
    ///
    /// # Errors
    /// As [`Opened::read_exact_at`], and those of `each`.
    pub(super) fn for_each_piece(
        &self,
        data: Option<&[Range<u64>]>,
        piece: usize,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let whole = std::array::from_fn::<_, 1, _>(|_| 0..self.size);
        let mut buf = vec![0; usize::try_from(self.size).map_or(piece, |size| size.min(piece))];
        let mut at = 0;
        let zeros = |from: u64, to: u64, each: &mut dyn FnMut(&[u8]) -> Result<(), Error>| {
            let block = vec![0; piece.min(usize::try_from(to - from).unwrap_or(piece))];
            let mut left = to - from;
            while left > 0 {
                let n = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
                each(&block[..n])?;
                left -= n as u64;
            }
            Ok::<(), Error>(())
        };
        for range in data.unwrap_or(&whole) {
            zeros(at, range.start, each)?;
            at = range.start;
            while at < range.end {
                let n =
                    usize::try_from(range.end - at).map_or(buf.len(), |left| left.min(buf.len()));
                self.read_exact_at(&mut buf[..n], at)?;
                each(&buf[..n])?;
                at += n as u64;
            }
        }
        zeros(at, self.size, each)
    }

    /// Data ranges when the file has holes worth keeping.
    ///
    /// # Errors
    /// The system says no while the holes are listed.
    pub(super) fn data_ranges(&self) -> Result<Option<Arc<[Range<u64>]>>, Error> {
        let file = match (&self.bytes, self.seen) {
            (
                Bytes::File {
                    data: Some(data), ..
                },
                _,
            ) => return Ok(Some(Arc::clone(data))),
            (Bytes::File { file, .. }, Some(seen)) if seen.sparse => file,
            _ => return Ok(None),
        };
        let failed = |e: rustix::io::Errno| io_error("lseek", &self.path, e.into());
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < self.size {
            let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(rustix::io::Errno::NXIO) => break,
                Err(e) => return Err(failed(e)),
            };
            let end = rustix::fs::seek(file, SeekFrom::Hole(start))
                .map_err(failed)?
                .min(self.size);
            if start >= end {
                break;
            }
            ranges.push(start..end);
            at = end;
        }
        let data: u64 = ranges.iter().map(|r| r.end - r.start).sum();
        Ok((self.size - data >= HOLES_MIN).then(|| ranges.into()))
    }
}

/// Where the byte at a plain offset lies when data ranges are stored back to back.
fn stored_offset(data: &[Range<u64>], offset: u64) -> u64 {
    let mut before = 0;
    for range in data {
        if offset < range.end {
            return before + offset.saturating_sub(range.start);
        }
        before += range.end - range.start;
    }
    before
}

fn io_error(call: &'static str, path: &[u8], e: io::Error) -> Error {
    Error::io(call, PathBuf::from(printable(path)), e)
}
