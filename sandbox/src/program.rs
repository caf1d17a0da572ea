//! A program: an ELF file whose machine code has been proved confined, ready to be mapped.
//!
//! The text is copied to a memory file, sealed, and **then** read back and verified; that very file
//! is what slots map. Verdicts are remembered in memory by the verifier's key, so that loading the
//! same program again verifies nothing.

use crate::address::{GuestAddr, PageAligned, PageRange, size};
use crate::contents::{Backing, Part, Span};
use crate::error::Error;
use crate::lock::lock;
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
    /// Where the text belongs.
    text_start: GuestAddr,
    spans: Vec<Span>,
    entry: GuestAddr,
    headers: Option<(u32, u16)>,
    end: u64,
    /// The verdict's key: text, place, entry, policy and verifier.
    key: [u8; 32],
}

/// A run of pages of the program's memory, before its files are sealed.
struct Piece {
    range: PageRange,
    content: Content,
}

/// What a piece holds at start.
enum Content {
    /// The sealed text.
    Text,
    /// Read-only bytes at this offset of the data file.
    ReadOnly(PageAligned),
    /// Private writable bytes at this offset of the data file.
    Writable(PageAligned),
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
            range: piece.range,
            backing: match piece.content {
                Content::Text => Backing::Text(part(&sealed, PageAligned::ZERO)),
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
            text_start: GuestAddr::new(text.address),
            text: sealed,
            spans,
            entry: GuestAddr::new(parsed.entry()),
            headers: headers.address.map(|address| (address, headers.count)),
            end,
            key,
        })))
    }

    /// Text, data and zeroes of its segments, in order.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.0.spans
    }

    pub(crate) fn entry(&self) -> GuestAddr {
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
        writable.map(|span| span.range.len().get()).sum()
    }

    /// Names the text and everything its verdict rests on.
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.0.key
    }

    /// Whether a return stack of its instances can hold this offset.
    pub(crate) fn follows_call(&self, at: GuestAddr) -> bool {
        let text = self.0.text.bytes();
        verifier::follows_call(text, self.0.text_start.get(), &Policy::DEFAULT, at.get())
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
        lock(&self.known).contains(key)
    }

    fn insert(&self, key: [u8; 32]) {
        lock(&self.known).insert(key);
    }

    /// How many programs have been verified.
    pub(crate) fn len(&self) -> usize {
        lock(&self.known).len()
    }
}

/// Splits a segment into pages with bytes of the file, which are appended to `data`, and zeroes.
fn place(segment: &Segment<'_>, pieces: &mut Vec<Piece>, data: &mut Vec<u8>) {
    let pages = segment.pages();
    let range = PageRange::checked(pages.start, pages.end)
        .expect("the parser accepts no segment that is empty or leaves the slot");
    let mut push = |range: Option<PageRange>, content| {
        pieces.extend(range.map(|range| Piece { range, content }));
    };
    if segment.access == Access::Execute {
        push(Some(range), Content::Text);
        return;
    }
    let lead = size(u64::from(segment.address) - pages.start);
    let mut filled = range.start();
    if !segment.bytes.is_empty() {
        let at = PageAligned::down(data.len() as u64);
        data.resize(data.len() + lead, 0);
        data.extend_from_slice(segment.bytes);
        data.resize(data.len().next_multiple_of(PAGE), 0);
        let end = range.start().get() + data.len() as u64 - at.get();
        filled = PageAligned::down(end);
        let content = match segment.access {
            Access::Read => Content::ReadOnly(at),
            _ => Content::Writable(at),
        };
        push(range.until(filled), content);
    }
    push(range.from(filled), Content::Zero);
}
