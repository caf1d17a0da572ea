//! The only unsafe code of the reader: the file map, and a zstd dictionary that borrows from its own buffer.
#![allow(
    unsafe_code,
    reason = "maps files and keeps a self-referential dictionary; nothing else"
)]

use std::fs::File;
use std::sync::Arc;

use zstd::zstd_safe::DDict;

/// A read-only shared map of a whole file.
#[derive(Debug)]
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps a file.
    ///
    /// The bytes stay what they are only as long as nobody writes to the file or truncates it: callers who do not
    /// own the file copy it into a sealed memfd first (`Image::ingest`). All arithmetic on map contents is checked
    /// and every index is bounds-checked, so a file that changes gives wrong bytes or SIGBUS, not memory unsafety of
    /// the usual kind; the residual risk is written down in `docs/format.md`.
    pub(crate) fn new(file: &File) -> std::io::Result<Map> {
        // SAFETY: the map is read-only and lives as long as this value; the risk of a concurrent writer is the
        // documented contract of `Image::open`, and excluded by the seals for `Image::ingest`.
        let map = unsafe { memmap2::MmapOptions::new().map(file)? };
        Ok(Map(map))
    }
}

impl std::ops::Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A decoded dictionary block, ready for decompression and readable as plain bytes, in one buffer.
pub(crate) struct Dictionary {
    // Declared first, so it is dropped before the bytes it points into.
    ddict: DDict<'static>,
    bytes: Arc<[u8]>,
}

impl Dictionary {
    /// Takes the plain bytes; they are referenced, not copied. `None` when zstd refuses them.
    pub(crate) fn new(bytes: Arc<[u8]>) -> Option<Dictionary> {
        // SAFETY: the slice lives in the heap allocation of `bytes`, which this value owns a count of, never mutates
        // and drops after `ddict`; the 'static never leaves this type (see `ddict`, which shortens it to the borrow).
        let forever: &'static [u8] =
            unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        Some(Dictionary {
            ddict: DDict::try_create_by_reference(forever)?,
            bytes,
        })
    }

    /// The digested dictionary.
    pub(crate) fn ddict(&self) -> &DDict<'_> {
        &self.ddict
    }

    /// The plain bytes.
    pub(crate) fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dictionary({} bytes)", self.bytes.len())
    }
}
