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
    bytes: Arc<memmap2::Mmap>,
}

impl Dictionary {
    /// Lets `decode` fill a new buffer of `len` bytes and makes a dictionary of it. `Ok(None)` when zstd refuses the
    /// bytes.
    ///
    /// # Errors
    /// No memory, or the error of `decode`.
    pub(crate) fn new<E: From<std::io::Error>>(
        len: usize,
        decode: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Option<Dictionary>, E> {
        let mut buffer = memmap2::MmapMut::map_anon(len)?;
        // Sixteen megabytes that are read at random: large pages save thousands of faults. Only a hint.
        drop(buffer.advise(memmap2::Advice::HugePage));
        decode(&mut buffer)?;
        let bytes = Arc::new(buffer.make_read_only()?);
        // SAFETY: the slice lives in the mapping of `bytes`, which this value owns a count of, which nobody can write
        // to any more, and which is dropped after `ddict`; the 'static never leaves this type (see `ddict`, which
        // shortens it to the borrow).
        let forever: &'static [u8] =
            unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        Ok(DDict::try_create_by_reference(forever).map(|ddict| Dictionary { ddict, bytes }))
    }

    /// The digested dictionary.
    pub(crate) fn ddict(&self) -> &DDict<'_> {
        &self.ddict
    }

    /// The plain bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dictionary({} bytes)", self.bytes.len())
    }
}
