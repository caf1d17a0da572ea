//! The only unsafe code of the reader: the file map.
#![allow(unsafe_code, reason = "maps files; nothing else")]

use std::fs::File;

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
