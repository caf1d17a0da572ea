//! A snapshot in a file: what a guest had made of its memory, to be taken up by another process.
//!
//! The file is as trusted as the guest that wrote it, which is not at all (review F5). It holds only what a guest could
//! have set itself: bytes of its writable memory, general and vector registers, how much of the heap it uses. Everything
//! the proof of confinement rests on is made anew: text and read-only data come from the verified program, base, control
//! words and descriptors from the host, and each return address must follow a call of the verified text.
//!
//! ```text
//! magic 8 | version u32 | length of the head u32 | head, JSON | zeroes to a whole page | pages, one run after the other
//! ```
//! Numbers are little-endian. Runs are in order and do not overlap; a writable page in no run is zero.

use crate::address::{GuestAddr, PageAligned, PageRange, size};
use crate::contents::{Backing, Part, Span};
use crate::error::{Error, Unstorable};
use crate::files::Files;
use crate::hot;
use crate::jumps::{Jumps, StoredJumps};
use crate::layout::Edges;
use crate::memory::Memory;
use crate::outside::Clocks;
use crate::snapshot::{Frozen, Snapshot, Start};
use crate::state::State;
use crate::sys::linux::PAGE;
use crate::sys::memfd::SealedFile;
use crate::sys::registers::Registers;
use crate::tree::process::Process;
use crate::tree::view::View;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"\x89zwarm\r\n";
const VERSION: u32 = 2;
/// Magic, version and length of the head.
const PREFIX: usize = 16;
/// The largest head: one run for every other page of a slot would take less.
const HEAD_MAX: usize = 16 << 20;

/// Everything but the pages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// Key of the program's verdict.
    program: [u8; 32],
    layout: Edges,
    /// Start and length of each run of stored pages.
    runs: Vec<(u64, u64)>,
    /// Start and end of the stretches that every clean slot holds privately.
    hot: Vec<(u64, u64)>,
    brk: u64,
    taken: Vec<u64>,
    registers: [u64; 12],
    /// Low and high half of each.
    vectors: [(u64, u64); 16],
    returns: Vec<GuestAddr>,
    jumps: StoredJumps,
    working_directory: Vec<u8>,
    umask: u32,
    has_read_random: bool,
    clocks: Clocks,
}

impl Snapshot {
    /// Writes the snapshot of a guest that waits in `accept`, to be taken up by [`Snapshot::restore`].
    ///
    /// The file shows to whoever reads it all that the guest knew, random numbers included.
    ///
    /// # Errors
    /// [`Error::CannotStore`] when the guest holds more than memory: open or mapped files, files of its own;
    /// [`Error::System`] when writing fails.
    pub fn store(&self, to: &mut dyn Write) -> Result<(), Error> {
        let (head, pages) = self.to_store()?;
        let json = serde_json::to_vec(&head).map_err(|_| Error::CannotStore {
            reason: Unstorable::Description,
        })?;
        let len = u32::try_from(json.len())
            .ok()
            .filter(|_| json.len() <= HEAD_MAX)
            .ok_or(Error::CannotStore {
                reason: Unstorable::Description,
            })?;
        let padding = (PREFIX + json.len()).next_multiple_of(PAGE) - PREFIX - json.len();
        let mut write = || -> io::Result<()> {
            to.write_all(&MAGIC)?;
            to.write_all(&VERSION.to_le_bytes())?;
            to.write_all(&len.to_le_bytes())?;
            to.write_all(&json)?;
            to.write_all(&vec![0; padding])?;
            to.write_all(pages)?;
            to.flush()
        };
        write().map_err(Error::system("writing a snapshot"))
    }

    fn to_store(&self) -> Result<(Head, &[u8]), Error> {
        let cannot = |reason| Error::CannotStore { reason };
        let Start::Accept(frozen) = self.start() else {
            return Err(cannot(Unstorable::Start));
        };
        let state = self.state();
        if !state.memory.windows.is_empty() {
            return Err(cannot(Unstorable::Mapping));
        }
        if !state.files.are_default() {
            return Err(cannot(Unstorable::OpenFiles));
        }
        let working_directory = state.process.path().unwrap_or_default().to_vec();
        if !state.has_no_files(self.mounts(), self.trees()) {
            return Err(cannot(Unstorable::Files));
        }
        let mut runs = Vec::new();
        let mut stored = PageAligned::ZERO;
        let mut pages = &[][..];
        for span in self.contents().spans() {
            if let Backing::Frozen(part) = &span.backing {
                // Freezing packs them so.
                assert_eq!(part.start, stored, "runs lie one after the other");
                runs.push((span.range.start().get(), span.range.len().get()));
                stored = PageAligned::down(stored.get() + span.range.len().get());
                pages = part.file.bytes();
            }
        }
        let (brk, taken) = state.memory.to_store();
        let (registers, vectors) = frozen.registers.of_guest();
        let head = Head {
            program: *self.program().key(),
            layout: self.layout().edges(),
            runs,
            hot: self
                .contents()
                .hot()
                .iter()
                .map(|range| (range.start().get(), range.end().get()))
                .collect(),
            brk,
            taken,
            registers,
            vectors: vectors.map(halves),
            returns: frozen.returns.clone(),
            jumps: state.jumps.to_store(depth(&frozen.returns)),
            working_directory,
            umask: state.process.umask(),
            has_read_random: state.has_read_random,
            clocks: state.clocks,
        };
        Ok((head, &pages[..stored.size()]))
    }

    /// Takes up a stored snapshot of the same program, mounts and limits of memory, of which this is the start.
    ///
    /// # Errors
    /// [`Error::Stored`] when the bytes are no such snapshot; [`Error::System`] when there is no memory for it.
    pub fn restore(&self, bytes: &[u8]) -> Result<Snapshot, Error> {
        let (head, pages) = split(bytes)?;
        if head.program != *self.program().key() {
            return Err(refused("it is of another program"));
        }
        if head.layout != self.layout().edges() {
            return Err(refused("it was made with other limits of memory"));
        }
        let runs = head.runs.into_iter();
        let runs = runs.map(|(start, len)| (start, start.saturating_add(len)));
        let spans = self.contents().spans();
        let runs = ranges(runs, spans).ok_or(refused("a run lies outside writable memory"))?;
        let stored: u64 = runs.iter().map(|run| run.len().get()).sum();
        if stored != pages.len() as u64 {
            return Err(refused("its pages are cut short, or too many"));
        }
        let hot =
            ranges(head.hot, spans).ok_or(refused("a hot page lies outside writable memory"))?;
        if hot::pages(&hot) > hot::PAGES_MAX {
            return Err(refused("it has too many hot pages"));
        }
        let memory = Memory::from_store(self.layout(), head.brk, head.taken)
            .ok_or(refused("the heap in use lies outside the heap"))?;
        let stack = self.contents().return_stack();
        let depth = depth(&head.returns);
        let follows_call = |address| self.program().follows_call(address);
        if depth > stack.size() || !head.returns.iter().all(|&at| follows_call(at)) {
            return Err(refused("a return address follows no call"));
        }
        let jumps = Jumps::from_store(head.jumps, depth, follows_call)
            .ok_or(refused("a record of setjmp is none"))?;
        let mut view = View::new(self.mounts(), self.trees())?;
        let directory = &head.working_directory;
        let process = Process::resumed(&mut view, self.trees(), directory, head.umask)
            .map_err(|_| refused("its working directory is none"))?;
        if !head.clocks.is_sound() {
            return Err(refused("its clocks are those of nobody"));
        }
        let mut state = State {
            files: Files::default(),
            view,
            process,
            memory,
            jumps,
            has_read_random: head.has_read_random,
            clocks: head.clocks,
            // It is for programs with streams of the host, which are not stored.
            survives_broken_pipes: false,
        };
        // With no tree bound yet, only the current directory can lie in one.
        (state.release(self.mounts())).map_err(|_| refused("its working directory is none"))?;
        let sealed = SealedFile::new(c"zapp-frozen", pages, 0, false)
            .map_err(Error::system("sealing a snapshot"))?;
        let frozen = Frozen {
            registers: Registers::with_guest(head.registers, head.vectors.map(whole)),
            returns: head.returns,
        };
        let restored = self.freeze(place(spans, runs, &Arc::new(sealed)), frozen, state);
        if restored.slots_at_once() == 0 {
            return Err(refused(
                "it has more runs than the process may have mappings",
            ));
        }
        restored.contents().fix_hot(hot);
        Ok(restored)
    }
}

fn refused(reason: &'static str) -> Error {
    Error::Stored { reason }
}

/// Bytes of a return stack with these entries and the exit stub.
fn depth(returns: &[GuestAddr]) -> usize {
    (returns.len() + 1) * 8
}

fn halves(vector: u128) -> (u64, u64) {
    let [low, high] = [vector, vector >> 64].map(|half| {
        let [a, b, c, d, e, f, g, h, ..] = half.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    });
    (low, high)
}

fn whole((low, high): (u64, u64)) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

/// The head and the pages of a file.
fn split(bytes: &[u8]) -> Result<(Head, &[u8]), Error> {
    let too_short = || refused("it is too short");
    let (magic, rest) = bytes.split_first_chunk().ok_or_else(too_short)?;
    let (version, rest) = rest.split_first_chunk().ok_or_else(too_short)?;
    let (len, rest) = rest.split_first_chunk().ok_or_else(too_short)?;
    if *magic != MAGIC {
        return Err(refused("it is no snapshot"));
    }
    if u32::from_le_bytes(*version) != VERSION {
        return Err(refused("it is of another version"));
    }
    let len = size(u32::from_le_bytes(*len).into());
    let pages = (PREFIX + len).next_multiple_of(PAGE) - PREFIX;
    if len > HEAD_MAX || pages > rest.len() {
        return Err(refused("its head is too long"));
    }
    let head =
        serde_json::from_slice(&rest[..len]).map_err(|_| refused("its head is malformed"))?;
    Ok((head, &rest[pages..]))
}

fn is_writable(span: &Span) -> bool {
    matches!(span.backing, Backing::Data(_) | Backing::Zero)
}

/// Page ranges in order, each inside the writable memory of a program's start; adjacent spans are one.
fn ranges(pairs: impl IntoIterator<Item = (u64, u64)>, start: &[Span]) -> Option<Vec<PageRange>> {
    let mut writable = Vec::new();
    for span in start.iter().filter(|span| is_writable(span)) {
        span.range.append_to(&mut writable);
    }
    let mut last = PageAligned::ZERO;
    let mut ranges = Vec::new();
    for (start, end) in pairs {
        let range = PageRange::checked(start, end)?;
        let is_inside = writable.iter().any(|other| other.covers(range));
        if range.start() < last || !is_inside {
            return None;
        }
        last = range.end();
        ranges.push(range);
    }
    Some(ranges)
}

/// The spans of a program's start with `runs`, which [`ranges`] has checked, in its writable memory: their bytes lie in
/// `file`, one after the other. A run may lie in several adjacent spans.
fn place(start: &[Span], runs: Vec<PageRange>, file: &Arc<SealedFile>) -> Vec<Span> {
    let mut spans = Vec::with_capacity(start.len() + 2 * runs.len());
    let mut stored = 0;
    let runs: Vec<(PageRange, u64)> = runs
        .into_iter()
        .map(|run| {
            let from = stored;
            stored += run.len().get();
            (run, from)
        })
        .collect();
    for span in start {
        if !is_writable(span) {
            spans.push(span.clone());
            continue;
        }
        let mut push = |range: Option<PageRange>, backing| {
            spans.extend(range.map(|range| Span { range, backing }));
        };
        let mut rest = Some(span.range);
        for (run, from) in &runs {
            let Some(inside) = run.intersection(span.range) else {
                continue;
            };
            let from = from + inside.start().get() - run.start().get();
            let part = Part {
                file: Arc::clone(file),
                start: PageAligned::down(from),
            };
            push(
                rest.and_then(|rest| rest.until(inside.start())),
                Backing::Zero,
            );
            push(Some(inside), Backing::Frozen(part));
            rest = span.range.from(inside.end());
        }
        push(rest, Backing::Zero);
    }
    spans
}
