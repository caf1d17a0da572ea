//! What an instance's own files cost against the scratch limit.

use crate::abi::Errno;
use crate::limits::Limits;

/// What an inode, a name or an open file costs against the scratch limit (review F11).
const RECORD_BYTES: u64 = 512;

/// What may be added to a view, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) now_ns: i64,
}

impl Room {
    pub(crate) fn of(limits: &Limits, now_ns: i64) -> Room {
        Room {
            bytes: limits.scratch_bytes,
            files: limits.files.into(),
            now_ns,
        }
    }
}

/// Scratch space in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    page_bytes: u64,
    records: u64,
    peak_bytes: u64,
}

/// The peak is history: two instances with the same files are the same.
impl PartialEq for Account {
    fn eq(&self, other: &Account) -> bool {
        (self.page_bytes, self.records) == (other.page_bytes, other.records)
    }
}

impl Eq for Account {}

impl Account {
    /// Bytes that count against the scratch limit.
    pub(super) fn bytes(&self) -> u64 {
        self.page_bytes + self.records * RECORD_BYTES
    }

    /// The most there ever were.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.max(self.bytes())
    }

    /// Counts an inode or a name.
    pub(super) fn add_record(&mut self) {
        self.records += 1;
    }

    /// Counts one fewer.
    pub(super) fn remove_record(&mut self) {
        self.records -= 1;
    }

    /// Counts the bytes of a file that had `before` and has `after`.
    pub(super) fn replace(&mut self, before: u64, after: u64) {
        self.page_bytes = self.page_bytes + after - before;
        self.peak_bytes = self.peak_bytes.max(self.bytes());
    }

    /// What is there before the program starts costs it nothing.
    pub(super) fn start(&mut self) {
        self.records = 0;
    }

    /// Refuses an inode and its name, with `bytes` of content, when there is no room for them.
    pub(super) fn check(&self, bytes: u64, room: &Room) -> Result<(), Errno> {
        let is_full = self.bytes() + 2 * RECORD_BYTES + bytes > room.bytes;
        if is_full || self.records / 2 >= room.files {
            return Err(Errno(libc::ENOSPC));
        }
        Ok(())
    }
}
