//! Where file bodies wait until they are packed: one anonymous file, gone with its last reader.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::error::TarError;

/// An anonymous file that only grows.
pub(super) struct Spool {
    file: Arc<File>,
    writer: BufWriter<Arc<File>>,
    len: u64,
}

impl Spool {
    /// Makes the file in `dir`, without a name where the file system can.
    pub(super) fn create(dir: &Path) -> Result<Spool, TarError> {
        let file = tempfile::tempfile_in(dir).map_err(|source| TarError::Io {
            op: "make spool file",
            source,
        })?;
        let file = Arc::new(file);
        Ok(Spool {
            writer: BufWriter::with_capacity(256 << 10, Arc::clone(&file)),
            file,
            len: 0,
        })
    }

    /// The file, and where the next byte goes.
    pub(super) fn position(&self) -> (Arc<File>, u64) {
        (Arc::clone(&self.file), self.len)
    }

    /// Everything written is in the file afterwards.
    pub(super) fn finish(mut self) -> Result<(), TarError> {
        self.writer.flush().map_err(|source| TarError::Io {
            op: "write spool file",
            source,
        })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
