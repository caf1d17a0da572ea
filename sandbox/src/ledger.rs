//! The books of one instance: what the host keeps because of a guest, against the scratch limit.
//!
//! Nothing of the kind can be made without a piece of paper from here: whoever adds a name, an inode, a copy of a file or
//! other facts about one hands over a [`Leave`], whoever keeps memory beside the files holds a [`Held`], and both are
//! given out only while there is room. So what costs is written down before it is kept. `docs/isolation.md` has the table
//! of everything that is kept, these and what has a fixed bound instead.

use crate::abi::Errno;
use crate::limits::Limits;

/// What a record costs: an inode, a name, a private copy, changed facts. More than the host's memory for any of them
/// (review F11).
pub(crate) const RECORD_BYTES: u64 = 512;

/// How much may be kept, and the time it is kept at.
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

/// Leave to keep one record, which has been charged.
#[derive(Debug)]
#[must_use = "a record that is not made is to be struck out again"]
pub(crate) struct Leave(());

/// Leave to keep so many bytes beside the files, which have been charged.
#[derive(Debug)]
#[must_use = "what is not kept is to be given back"]
pub(crate) struct Held(u64);

/// What one instance has the host keep.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    content_bytes: u64,
    records: u64,
    /// Records that were there before the program started, which cost it nothing.
    given: u64,
    held_bytes: u64,
    peak_bytes: u64,
}

/// The peak is history: two instances with the same files are the same.
impl PartialEq for Ledger {
    fn eq(&self, other: &Ledger) -> bool {
        let of = |it: &Ledger| (it.content_bytes, it.records, it.given, it.held_bytes);
        of(self) == of(other)
    }
}

impl Eq for Ledger {}

impl Ledger {
    /// Bytes that count against the scratch limit.
    pub(crate) fn bytes(&self) -> u64 {
        self.content_bytes + self.charged_records() * RECORD_BYTES + self.held_bytes
    }

    /// The most there ever were.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.max(self.bytes())
    }

    /// All records, given ones too.
    #[cfg(test)]
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The contents of files alone.
    #[cfg(test)]
    pub(crate) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// A guest may also remove what was given to it.
    fn charged_records(&self) -> u64 {
        self.records.saturating_sub(self.given)
    }

    /// Charges one record.
    pub(crate) fn enter(&mut self, room: &Room) -> Result<Leave, Errno> {
        self.check(RECORD_BYTES, room)?;
        Ok(self.record())
    }

    /// Charges a new file: its inode, its first name, and `bytes` of content.
    pub(crate) fn enter_file(&mut self, bytes: u64, room: &Room) -> Result<[Leave; 2], Errno> {
        self.check(2 * RECORD_BYTES + bytes, room)?;
        if self.charged_records() / 2 >= room.files {
            return Err(Errno(libc::ENOSPC));
        }
        self.content_bytes += bytes;
        Ok([self.record(), self.record()])
    }

    /// Leave for a record that is there before the program starts.
    pub(crate) fn give(&mut self) -> Leave {
        self.given += 1;
        self.record()
    }

    fn record(&mut self) -> Leave {
        self.records += 1;
        self.peak_bytes = self.peak_bytes.max(self.bytes());
        Leave(())
    }

    /// Takes back a leave that was not needed.
    pub(crate) fn strike(&mut self, leave: Leave) {
        let Leave(()) = leave;
        self.remove_record();
    }

    /// A record that was kept is gone.
    pub(crate) fn remove_record(&mut self) {
        self.records -= 1;
    }

    /// Counts the bytes of a file that had `before` and has `after`.
    pub(crate) fn replace(&mut self, before: u64, after: u64) {
        self.content_bytes = self.content_bytes + after - before;
        self.peak_bytes = self.peak_bytes.max(self.bytes());
    }

    /// Charges memory that is kept beside the files.
    pub(crate) fn hold(&mut self, bytes: u64, room: &Room) -> Result<Held, Errno> {
        self.check(bytes, room)?;
        self.held_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.bytes());
        Ok(Held(bytes))
    }

    /// Gives back what is not kept any more.
    pub(crate) fn give_back(&mut self, held: Held) {
        let Held(bytes) = held;
        self.held_bytes -= bytes;
    }

    /// Takes over what `other` keeps beside its files: the books of the same instance, in which the files are others now.
    pub(crate) fn keep_held_of(&mut self, other: &Ledger) {
        self.held_bytes = other.held_bytes;
        self.peak_bytes = self.peak_bytes.max(other.peak_bytes);
    }

    /// Refuses more bytes than there is room for.
    pub(crate) fn check(&self, bytes: u64, room: &Room) -> Result<(), Errno> {
        match self.bytes().checked_add(bytes) {
            Some(sum) if sum <= room.bytes => Ok(()),
            _ => Err(Errno(libc::ENOSPC)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        bytes: 4 * RECORD_BYTES,
        files: 100,
        now_ns: 0,
    };

    #[test]
    fn what_has_no_room_gets_no_leave() {
        let mut ledger = Ledger::default();
        let _kept = ledger.enter_file(RECORD_BYTES, &ROOM).unwrap();
        let held = ledger.hold(RECORD_BYTES, &ROOM).unwrap();
        assert_eq!(ledger.bytes(), ROOM.bytes);
        assert!(ledger.enter(&ROOM).is_err());
        assert!(ledger.hold(1, &ROOM).is_err());
        ledger.give_back(held);
        let leave = ledger.enter(&ROOM).unwrap();
        ledger.strike(leave);
        assert_eq!(ledger.bytes(), 3 * RECORD_BYTES);
        assert_eq!(ledger.peak_bytes(), ROOM.bytes);
        assert!(
            ledger.hold(u64::MAX, &ROOM).is_err(),
            "the sum does not wrap"
        );
    }

    #[test]
    fn what_was_given_can_be_removed_and_costs_nothing() {
        let mut ledger = Ledger::default();
        let _given = [ledger.give(), ledger.give()];
        assert_eq!(ledger.bytes(), 0);
        ledger.remove_record();
        ledger.remove_record();
        assert_eq!(ledger.bytes(), 0);
        let _kept = ledger.enter_file(0, &ROOM).unwrap();
        assert_eq!(ledger.bytes(), 0, "as many as were given");
        let _more = ledger.enter(&ROOM).unwrap();
        assert_eq!(ledger.bytes(), RECORD_BYTES);
    }

    #[test]
    fn number_of_files_is_bounded() {
        let mut ledger = Ledger::default();
        let room = Room {
            bytes: 1 << 20,
            files: 2,
            now_ns: 0,
        };
        let _two = [
            ledger.enter_file(0, &room).unwrap(),
            ledger.enter_file(0, &room).unwrap(),
        ];
        assert!(ledger.enter_file(0, &room).is_err());
    }
}
