//! From an instance that waits in `accept` to a snapshot.
//!
//! The memory of the instance is the snapshot it came from plus its private pages. Pages that hold
//! anything go to a new memory file, densely packed and sealed; everything else is anonymous, so that
//! reading it never makes the file grow (review F6). Short stretches of zeroes between two such pages
//! are written out: each mapping counts against a limit of the process.

use crate::contents::{Backing, Part, Span};
use crate::error::Error;
use crate::layout::{offset, size};
use crate::slot::Slot;
use crate::snapshot::{Frozen, Snapshot};
use crate::state::State;
use crate::sys::entry::Registers;
use crate::sys::linux::PAGE;
use crate::sys::memfd::SealedFile;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

const PAGE_U64: u64 = PAGE as u64;

/// Zero pages between two others that are stored rather than given a mapping of their own.
const ZERO_RUN_MIN: u64 = 32;

/// Takes a snapshot of what is in `slot`.
pub(crate) fn freeze(
    origin: &Snapshot,
    slot: &Slot,
    registers: &Registers,
    state: &State,
    reseeds: bool,
) -> Result<Snapshot, Error> {
    let reject = |reason| Err(Error::CannotFreeze { reason });
    if state.jumps.has_fibers() {
        return reject("a fiber is alive");
    }
    if state.has_read_random && !reseeds {
        return reject("the guest has read random bytes and does not declare that it reseeds");
    }
    let Some(returns) = relative_returns(origin, slot, registers) else {
        return reject("the return stack is damaged");
    };
    let mut state = state.clone();
    state.release(origin.mounts())?;
    let pages = filled_pages(origin, slot)?;
    let mut spans = Vec::new();
    let mut packed = Packed::default();
    for span in origin.contents().spans() {
        match span.backing {
            Backing::Text(_) | Backing::ReadOnly(_) => spans.push(span.clone()),
            Backing::Window(_) => {}
            Backing::Data(_) | Backing::Frozen(_) | Backing::Zero => packed.add(span, &pages),
        }
    }
    let file = SealedFile::new(c"zapp-frozen", &packed.bytes, 0, false)
        .map_err(Error::system("sealing a snapshot"))?;
    spans.extend(packed.spans(&Arc::new(file)));
    for window in &state.memory.windows {
        let backing = Backing::Window(window.window.clone());
        spans.push(Span {
            start: offset(window.start),
            len: size(window.shown),
            backing,
        });
    }
    spans.sort_by_key(|span| span.start);
    let frozen = Frozen {
        registers: *registers,
        returns,
    };
    Ok(origin.freeze(merge_zeroes(spans), frozen, state))
}

/// The return addresses as offsets, all of them in the text, without the exit stub.
fn relative_returns(origin: &Snapshot, slot: &Slot, registers: &Registers) -> Option<Vec<u32>> {
    let rsp = usize::try_from(registers.rsp).ok()?;
    let mut entries = slot.stack.entries(rsp)?;
    entries.pop()?;
    let text = origin.program().text_range();
    let base = slot.region.base();
    entries
        .into_iter()
        .map(|entry| {
            let target = u32::try_from(entry.checked_sub(base)?).ok()?;
            text.contains(&target.into()).then_some(target)
        })
        .collect()
}

/// Every page of writable memory that is not all zeroes.
fn filled_pages(origin: &Snapshot, slot: &Slot) -> Result<BTreeMap<u64, Box<[u8]>>, Error> {
    let mut pages = BTreeMap::new();
    let contents = origin.contents();
    for span in contents.spans() {
        if !matches!(span.backing, Backing::Data(_) | Backing::Frozen(_)) {
            continue;
        }
        let start = u64::from(span.start);
        let (bytes, _) = contents.bytes(start, start + span.len as u64);
        for (page, at) in bytes
            .unwrap_or_default()
            .chunks_exact(PAGE)
            .zip((start..).step_by(PAGE))
        {
            pages.insert(at, Box::from(page));
        }
    }
    let mut private = Vec::new();
    slot.scan(contents, &mut private)?;
    for range in private {
        for at in range.step_by(PAGE) {
            let mut page = vec![0; PAGE].into_boxed_slice();
            slot.region
                .copy_in(offset(at), &mut page)
                .map_err(|_| Error::CannotFreeze {
                    reason: "a page of the instance cannot be read",
                })?;
            pages.insert(at, page);
        }
    }
    pages.retain(|_, page| page.iter().any(|byte| *byte != 0));
    Ok(pages)
}

/// Writable memory split into stored pages and zeroes.
#[derive(Default)]
struct Packed {
    /// Each stretch, and where its bytes begin when it is stored.
    stretches: Vec<(Range<u64>, Option<u64>)>,
    bytes: Vec<u8>,
}

impl Packed {
    /// Adds a writable span.
    fn add(&mut self, span: &Span, pages: &BTreeMap<u64, Box<[u8]>>) {
        let start = u64::from(span.start);
        let end = start + span.len as u64;
        let mut at = start;
        let mut filled = pages
            .range(start..end)
            .map(|(at, page)| (*at, page))
            .peekable();
        while let Some((first, _)) = filled.peek().copied() {
            self.stretches.push((at..first, None));
            let stored = self.bytes.len() as u64;
            let mut next = first;
            while let Some((page_at, page)) =
                filled.next_if(|(at, _)| at - next < ZERO_RUN_MIN * PAGE_U64)
            {
                self.bytes
                    .resize(self.bytes.len() + size(page_at - next), 0);
                self.bytes.extend_from_slice(page);
                next = page_at + PAGE_U64;
            }
            self.stretches.push((first..next, Some(stored)));
            at = next;
        }
        self.stretches.push((at..end, None));
    }

    /// The spans, whose stored bytes lie in `file`.
    fn spans(self, file: &Arc<SealedFile>) -> impl Iterator<Item = Span> {
        let stretches = self.stretches.into_iter();
        stretches
            .filter(|(range, _)| range.start < range.end)
            .map(|(range, stored)| Span {
                start: offset(range.start),
                len: size(range.end - range.start),
                backing: stored.map_or(Backing::Zero, |start| {
                    let file = Arc::clone(file);
                    Backing::Frozen(Part { file, start })
                }),
            })
    }
}

/// Joins neighbouring stretches of zeroes: each span is a mapping.
fn merge_zeroes(spans: Vec<Span>) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last)
                if last.backing == Backing::Zero
                    && span.backing == Backing::Zero
                    && u64::from(last.start) + last.len as u64 == u64::from(span.start) =>
            {
                last.len += span.len;
            }
            _ => merged.push(span),
        }
    }
    merged
}
