//! From an instance that waits in `accept` to a snapshot.
//!
//! The memory of the instance is the snapshot it came from plus its private pages. Pages that hold
//! anything go to a new memory file, densely packed and sealed; everything else is anonymous, so that
//! reading it never makes the file grow (review F6). Short stretches of zeroes between two such pages
//! are written out: each mapping counts against a limit of the process.

use crate::address::{GuestAddr, PageAligned, PageRange, size};
use crate::contents::{Backing, Part, Span};
use crate::error::{Error, Unfreezable};
use crate::slot::Slot;
use crate::snapshot::{Frozen, Snapshot};
use crate::state::State;
use crate::sys::linux::PAGE;
use crate::sys::memfd::SealedFile;
use crate::sys::registers::Registers;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of zeroes between two pages that are stored rather than given a mapping of their own, if fewer.
const ZERO_RUN_MIN: u64 = 32 * PAGE as u64;

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
        return reject(Unfreezable::Fiber);
    }
    if state.has_read_random && !reseeds {
        return reject(Unfreezable::RandomBytes);
    }
    let Some(returns) = relative_returns(origin, slot, registers) else {
        return reject(Unfreezable::ReturnStack);
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
        spans.push(Span {
            range: window.shown,
            backing: Backing::Window(window.window.clone()),
        });
    }
    spans.sort_by_key(|span| span.range.first());
    let frozen = Frozen {
        registers: *registers,
        returns,
    };
    Ok(origin.freeze(merge_zeroes(spans), frozen, state))
}

/// The return addresses as offsets, all of them in the text, without the exit stub.
fn relative_returns(
    origin: &Snapshot,
    slot: &Slot,
    registers: &Registers,
) -> Option<Vec<GuestAddr>> {
    let mut entries = slot.stack.entries(size(registers.rsp))?;
    entries.pop()?;
    let text = origin.program().text_range();
    let base = slot.region.base();
    entries
        .into_iter()
        .map(|entry| {
            let target = GuestAddr::checked(entry.checked_sub(base)? as u64)?;
            text.contains(&target.into()).then_some(target)
        })
        .collect()
}

/// Pages that hold anything, by their place.
type Pages = BTreeMap<GuestAddr, Box<[u8]>>;

/// Every page of writable memory that is not all zeroes.
fn filled_pages(origin: &Snapshot, slot: &Slot) -> Result<Pages, Error> {
    let mut pages = BTreeMap::new();
    let contents = origin.contents();
    for span in contents.spans() {
        if !matches!(span.backing, Backing::Data(_) | Backing::Frozen(_)) {
            continue;
        }
        let (bytes, _) = contents.bytes(span.range.address(), span.range.len().get());
        let stored = bytes.unwrap_or_default().chunks_exact(PAGE);
        for (page, at) in stored.zip(span.range.pages()) {
            pages.insert(at, Box::from(page));
        }
    }
    let mut private = Vec::new();
    slot.scan(contents, &mut private)?;
    for at in private.into_iter().flat_map(PageRange::pages) {
        let mut page = vec![0; PAGE].into_boxed_slice();
        slot.region
            .copy_in(at.into(), &mut page)
            .map_err(|_| Error::CannotFreeze {
                reason: Unfreezable::Page,
            })?;
        pages.insert(at, page);
    }
    pages.retain(|_, page| page.iter().any(|byte| *byte != 0));
    Ok(pages)
}

/// Writable memory split into stored pages and zeroes.
#[derive(Default)]
struct Packed {
    /// Each stretch, and where its bytes begin when it is stored.
    stretches: Vec<(PageRange, Option<PageAligned>)>,
    bytes: Vec<u8>,
}

impl Packed {
    /// Adds a writable span.
    fn add(&mut self, span: &Span, pages: &Pages) {
        let mut rest = Some(span.range);
        for run in runs(span.range, pages) {
            let before = rest.and_then(|rest| rest.until(run.start()));
            self.stretches.extend(before.map(|before| (before, None)));
            let stored = PageAligned::down(self.bytes.len() as u64);
            self.stretches.push((run, Some(stored)));
            for at in run.pages() {
                match pages.get(&at) {
                    Some(page) => self.bytes.extend_from_slice(page),
                    None => self.bytes.resize(self.bytes.len() + PAGE, 0),
                }
            }
            rest = span.range.from(run.end());
        }
        self.stretches.extend(rest.map(|rest| (rest, None)));
    }

    /// The spans, whose stored bytes lie in `file`.
    fn spans(self, file: &Arc<SealedFile>) -> impl Iterator<Item = Span> {
        let stretches = self.stretches.into_iter();
        stretches.map(|(range, stored)| Span {
            range,
            backing: stored.map_or(Backing::Zero, |start| {
                let file = Arc::clone(file);
                Backing::Frozen(Part { file, start })
            }),
        })
    }
}

/// The stretches of `range` that are to be stored: pages that hold anything, and few zeroes between them.
fn runs(range: PageRange, pages: &Pages) -> Vec<PageRange> {
    let mut runs: Vec<PageRange> = Vec::new();
    let filled = pages.range(range.address()..).map(|(at, _)| *at);
    for at in filled.take_while(|at| range.contains((*at).into())) {
        let page = PageRange::holding(at);
        match runs.last_mut() {
            Some(last) if page.start().get() - last.end().get() < ZERO_RUN_MIN => {
                *last = last.through(page);
            }
            _ => runs.push(page),
        }
    }
    runs
}

/// Joins neighbouring stretches of zeroes: each span is a mapping.
fn merge_zeroes(spans: Vec<Span>) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last)
                if last.backing == Backing::Zero
                    && span.backing == Backing::Zero
                    && last.range.end() == span.range.start() =>
            {
                last.range = last.range.through(span.range);
            }
            _ => merged.push(span),
        }
    }
    merged
}
