//! Tar archives in and out, without root and without unpacking anything.
//!
//! [`read`] turns an archive into a [`Tree`](crate::tree::Tree): names and metadata in memory, file bodies in one anonymous
//! spool file. No path of the archive is ever given to the operating system, so there is nothing to traverse.
//! [`write`] turns an image into an archive that GNU tar extracts without a difference; the same image gives the same bytes.
//!
//! An archive means the same to every reader, or it is refused. Where formats and programs disagree (a link with a size, a
//! header field with garbage, global extended headers that rename), guessing is how files get smuggled past a check:
//! ```text
//! header 512 ─ checksum, numbers strict      x/g  PAX records, length-prefixed    L/K  GNU long name / link
//! body, padded to 512                        S    GNU sparse, old format          ...  others skipped with a note, or refused
//! two zero blocks, then only zeros
//! ```
//! The records are parsed here and not by the crate `tar`: that splits PAX records at newlines (which names and attribute values
//! may contain), keeps only the low 8 bytes of large numbers, and hands out sparse files with their holes filled.
//!
//! Left out: multi-volume and incremental archives, ACLs, attributes outside `user.*`, owners by name. Devices,
//! FIFOs and sockets are refused, or skipped with a [`Note`].

mod block;
mod error;
mod export;
mod import;
mod member;
mod note;
mod pax;
mod prune;
mod sparse;
mod spool;
mod stream;

pub use self::error::TarError;
pub use self::export::{End, write};
pub use self::import::{Archive, ReadOptions, read};
pub use self::note::Note;

/// Bytes a block: headers are one, bodies are padded to whole ones.
const BLOCK: usize = 512;

/// The same for stream positions.
const BLOCK_LEN: u64 = 512;

/// Bytes that fill the last block of a body of `len` bytes.
fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK_LEN) - len
}
