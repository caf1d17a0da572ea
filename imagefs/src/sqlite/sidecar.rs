//! The files SQLite keeps beside a database, and what a leftover one means.
//!
//! A sidecar belongs to `X` by name alone (`X-wal`, `X-journal`, `X-shm`), so none may enter the image beside the prepared
//! `X`: SQLite would try to recover from it. Whether it carries data is decided by its first bytes, as SQLite does:
//!
//! - a journal that is empty or begins with a zero byte is not hot (`journal_mode` truncate and persist leave those);
//! - a journal that begins otherwise but not with the magic is played back as nothing;
//! - a WAL without a valid header is ignored. The checksums of its frames are left to SQLite.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::SqliteError;

const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// The low bit tells the byte order of the checksums.
const WAL_MAGICS: [[u8; 4]; 2] = [[0x37, 0x7f, 0x06, 0x82], [0x37, 0x7f, 0x06, 0x83]];
const WAL_HEADER_LEN: u64 = 32;

/// Which sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SidecarKind {
    /// `X-wal`, the write-ahead log.
    Wal,
    /// `X-journal`, the rollback journal.
    Journal,
    /// `X-shm`, the shared index of the write-ahead log. Never holds data of its own.
    Shm,
}

impl SidecarKind {
    /// All of them, in the order they are looked for.
    pub const ALL: [SidecarKind; 3] = [SidecarKind::Wal, SidecarKind::Journal, SidecarKind::Shm];

    /// What is appended to the database's name.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            SidecarKind::Wal => "-wal",
            SidecarKind::Journal => "-journal",
            SidecarKind::Shm => "-shm",
        }
    }

    /// The name of this sidecar of the database called `database`.
    #[must_use]
    pub fn name_for(self, database: &OsStr) -> OsString {
        let mut name = database.to_owned();
        name.push(self.suffix());
        name
    }

    /// The database that a file of this name would be a sidecar of. Whether that database exists is another question.
    #[must_use]
    pub fn database_of(name: &[u8]) -> Option<(SidecarKind, &[u8])> {
        SidecarKind::ALL.into_iter().find_map(|kind| {
            let base = name.strip_suffix(kind.suffix().as_bytes())?;
            (!base.is_empty()).then_some((kind, base))
        })
    }
}

impl std::fmt::Display for SidecarKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.suffix())
    }
}

/// The sidecars of one database: their lengths, where they exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sidecars {
    bytes: [Option<u64>; 3],
}

impl Sidecars {
    /// Length of one sidecar; `None` when it does not exist.
    #[must_use]
    pub fn bytes(&self, kind: SidecarKind) -> Option<u64> {
        self.bytes[kind as usize]
    }

    /// Records that `kind` exists with this length.
    pub fn set(&mut self, kind: SidecarKind, bytes: u64) {
        self.bytes[kind as usize] = Some(bytes);
    }

    /// Leaves a sidecar out of account.
    pub(super) fn forget(&mut self, kind: SidecarKind) {
        self.bytes[kind as usize] = None;
    }

    /// The sidecars that exist and are not empty.
    pub fn nonempty(&self) -> impl Iterator<Item = (SidecarKind, u64)> {
        SidecarKind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, self.bytes(kind).filter(|&bytes| bytes > 0)?)))
    }

    pub(super) fn refuse_nonempty(&self, path: &Path) -> Result<(), SqliteError> {
        match self.nonempty().next() {
            None => Ok(()),
            Some((kind, bytes)) => Err(SqliteError::SidecarPresent {
                path: path.to_owned(),
                kind,
                bytes,
            }),
        }
    }
}

/// What a sidecar's bytes make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// SQLite will read it.
    Live,
    /// SQLite will ignore it, as it was left on purpose.
    Stale,
    /// Not SQLite's at all.
    Foreign,
}

/// Classifies a sidecar by its first bytes.
pub(super) fn classify(kind: SidecarKind, file: &mut File) -> io::Result<Content> {
    let len = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut head = [0; 8];
    let got = read_up_to(file, &mut head)?;
    let head = &head[..got];
    Ok(match kind {
        _ if head.first().is_none_or(|&first| first == 0) => Content::Stale,
        SidecarKind::Wal if WAL_MAGICS.iter().any(|magic| head.starts_with(magic)) => {
            if len > WAL_HEADER_LEN {
                Content::Live
            } else {
                Content::Stale
            }
        }
        SidecarKind::Journal if head == JOURNAL_MAGIC => Content::Live,
        SidecarKind::Shm => Content::Stale,
        _ => Content::Foreign,
    })
}

/// The super-journal's name at the end of a journal, when there is one.
///
/// ```text
/// ... u32 page number  name[n]  u32 n  u32 sum of the name's bytes  magic[8]
/// ```
/// The sum is over `char`, whose sign depends on the platform that wrote it: either reading counts.
#[expect(clippy::big_endian_bytes, reason = "the format is big-endian")]
pub(super) fn super_journal(journal: &mut File) -> io::Result<Option<Vec<u8>>> {
    const TRAILER: u64 = 16;
    let len = journal.seek(SeekFrom::End(0))?;
    if len < TRAILER {
        return Ok(None);
    }
    journal.seek(SeekFrom::Start(len - TRAILER))?;
    let mut trailer = [0; 16];
    journal.read_exact(&mut trailer)?;
    let word = |at: usize| {
        u32::from_be_bytes([
            trailer[at],
            trailer[at + 1],
            trailer[at + 2],
            trailer[at + 3],
        ])
    };
    let (name_len, sum) = (word(0), word(4));
    // A path: longer ones are page data that happens to look like a trailer.
    const NAME_BYTES_MAX: u32 = 64 * 1024;
    if trailer[8..] != JOURNAL_MAGIC || name_len == 0 || name_len > NAME_BYTES_MAX {
        return Ok(None);
    }
    let Some(start) = (len - TRAILER).checked_sub(u64::from(name_len)) else {
        return Ok(None);
    };
    journal.seek(SeekFrom::Start(start))?;
    let mut name = Vec::new();
    journal.take(u64::from(name_len)).read_to_end(&mut name)?;
    let unsigned = name
        .iter()
        .fold(0_u32, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    let signed = name.iter().fold(0_u32, |sum, &byte| {
        sum.wrapping_add_signed(i32::from(byte.cast_signed()))
    });
    Ok((sum == unsigned || sum == signed).then_some(name))
}

/// Reads until `buf` is full or the file ends.
pub(super) fn read_up_to(file: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buf.len() {
        match file.read(&mut buf[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
