//! A program: an ELF file whose machine code has been proved confined, ready to be mapped.
//!
//! The text is copied to a memory file, sealed, and **then** read back and verified; that very file
//! is what slots map. Verdicts are remembered in memory by the verifier's key, so that loading the
//! same program again verifies nothing.

use crate::contents::{Backing, Part, Span};
use crate::error::Error;
use crate::layout;
use crate::sys::linux::PAGE;
use crate::sys::memfd::SealedFile;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use verifier::elf::{Access, Segment};
use verifier::{Policy, ProgramError};

/// A verified program, cheap to clone.
#[derive(Clone)]
pub struct Program(Arc<Inner>);

struct Inner {
    text: Arc<SealedFile>,
    /// Offset of the text.
    text_start: u32,
    spans: Vec<Span>,
    entry: u32,
    headers: Option<(u32, u16)>,
    end: u64,
    /// The verdict's key: text, place, entry, policy and verifier.
    key: [u8; 32],
}

/// A run of pages of the program's memory, before its files are sealed.
struct Piece {
    start: u32,
    len: usize,
    content: Content,
}

/// What a piece holds at start.
enum Content {
    /// The sealed text.
    Text,
    /// Read-only bytes at this offset of the data file.
    ReadOnly(u64),
    /// Private writable bytes at this offset of the data file.
    Writable(u64),
    /// Private writable zeroes.
    Zero,
}

/// Verdicts of one sandbox, by key.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    known: Mutex<HashSet<[u8; 32]>>,
}

/// What an accepted program may rely on and we therefore ask of the processor.
fn check_processor(policy: &Policy) -> Result<(), Error> {
    let features = [
        ("SSE4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("POPCNT", std::arch::is_x86_feature_detected!("popcnt")),
        (
            "BMI1",
            !policy.features().tzcnt || std::arch::is_x86_feature_detected!("bmi1"),
        ),
        (
            "LZCNT",
            !policy.features().lzcnt || std::arch::is_x86_feature_detected!("lzcnt"),
        ),
    ];
    match features.iter().find(|(_, present)| !present) {
        Some((feature, _)) => Err(Error::Processor { feature }),
        None => Ok(()),
    }
}

impl Program {
    /// Parses, seals and verifies the ELF file `bytes`.
    pub(crate) fn load(bytes: &[u8], verdicts: &Verdicts) -> Result<Program, Error> {
        let policy = Policy::DEFAULT;
        check_processor(&policy)?;
        let parsed = verifier::Program::parse(bytes).map_err(ProgramError::from)?;
        let text = parsed.text();
        let sealed = SealedFile::text(text.bytes, text.address)
            .map_err(Error::system("sealing the text"))?;
        assert_eq!(
            sealed.len(),
            text.bytes.len(),
            "the parser accepts whole pages of text only"
        );
        let entries = [parsed.entry()];
        let key = verifier::verdict_key(sealed.bytes(), text.address, &policy, &entries);
        if !verdicts.contains(&key) {
            let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            let verdict =
                verifier::verify_on(threads, sealed.bytes(), text.address, &policy, &entries)
                    .map_err(ProgramError::from)?;
            verdicts.insert(verdict.key());
        }
        let mut pieces = Vec::new();
        let mut data = Vec::new();
        for segment in parsed.segments() {
            place(segment, &mut pieces, &mut data);
        }
        let data = SealedFile::new(c"zapp-data", &data, 0, false)
            .map_err(Error::system("sealing the data"))?;
        let (sealed, data) = (Arc::new(sealed), Arc::new(data));
        let part = |file, start| Part {
            file: Arc::clone(file),
            start,
        };
        let span = |piece: Piece| Span {
            start: piece.start,
            len: piece.len,
            backing: match piece.content {
                Content::Text => Backing::Text(part(&sealed, 0)),
                Content::ReadOnly(at) => Backing::ReadOnly(part(&data, at)),
                Content::Writable(at) => Backing::Data(part(&data, at)),
                Content::Zero => Backing::Zero,
            },
        };
        let spans = pieces.into_iter().map(span).collect();
        let end = parsed
            .segments()
            .last()
            .map_or(0, |segment| segment.pages().end);
        let headers = parsed.headers();
        Ok(Program(Arc::new(Inner {
            text_start: text.address,
            text: sealed,
            spans,
            entry: parsed.entry(),
            headers: headers.address.map(|address| (address, headers.count)),
            end,
            key,
        })))
    }

    /// Text, data and zeroes of its segments, in order.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.0.spans
    }

    pub(crate) fn entry(&self) -> u32 {
        self.0.entry
    }

    /// Offset and number of the program headers, if a segment holds them.
    pub(crate) fn headers(&self) -> Option<(u32, u16)> {
        self.0.headers
    }

    /// One past the last page of the program.
    pub(crate) fn end(&self) -> u64 {
        self.0.end
    }

    /// Bytes of the segments a guest may write.
    pub(crate) fn writable_bytes(&self) -> u64 {
        let spans = self.0.spans.iter();
        let writable = spans.filter(|span| span.backing.is_writable());
        writable.map(|span| span.len as u64).sum()
    }

    /// Names the text and everything its verdict rests on.
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.0.key
    }

    /// Whether a return stack of its instances can hold this offset.
    pub(crate) fn follows_call(&self, offset: u32) -> bool {
        let text = self.0.text.bytes();
        verifier::follows_call(text, self.0.text_start, &Policy::DEFAULT, offset)
    }

    /// Offsets of the text.
    pub(crate) fn text_range(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.0.text_start);
        start..start + self.0.text.len() as u64
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("entry", &self.0.entry)
            .finish_non_exhaustive()
    }
}

impl Verdicts {
    fn contains(&self, key: &[u8; 32]) -> bool {
        self.known
            .lock()
            .expect("no panic while held")
            .contains(key)
    }

    fn insert(&self, key: [u8; 32]) {
        self.known.lock().expect("no panic while held").insert(key);
    }

    /// How many programs have been verified.
    pub(crate) fn len(&self) -> usize {
        self.known.lock().expect("no panic while held").len()
    }
}

/// Splits a segment into pages with bytes of the file, which are appended to `data`, and zeroes.
fn place(segment: &Segment<'_>, pieces: &mut Vec<Piece>, data: &mut Vec<u8>) {
    let pages = segment.pages();
    let start = layout::offset(pages.start);
    let len = layout::size(pages.end - pages.start);
    if segment.access == Access::Execute {
        pieces.push(Piece {
            start,
            len,
            content: Content::Text,
        });
        return;
    }
    let lead = layout::size(u64::from(segment.address) - pages.start);
    let filled = match segment.bytes.len() {
        0 => 0,
        bytes => (lead + bytes).next_multiple_of(PAGE).min(len),
    };
    if filled > 0 {
        let at = data.len();
        data.resize(at + filled, 0);
        data[at + lead..at + lead + segment.bytes.len()].copy_from_slice(segment.bytes);
        let content = match segment.access {
            Access::Read => Content::ReadOnly(at as u64),
            _ => Content::Writable(at as u64),
        };
        pieces.push(Piece {
            start,
            len: filled,
            content,
        });
    }
    if filled < len {
        let rest = layout::offset(pages.start + filled as u64);
        pieces.push(Piece {
            start: rest,
            len: len - filled,
            content: Content::Zero,
        });
    }
}
