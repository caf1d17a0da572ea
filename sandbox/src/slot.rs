//! A slot: a region filled with one snapshot's contents, with its return stack, used by one instance after another.
//!
//! After [`Slot::reset`] the private pages of the region are exactly the snapshot's hot set and hold
//! exactly what the snapshot says; every other page has been given back. So neither content nor the
//! time a store takes tells an instance anything about the one before it (review F1, F2). A slot
//! never serves a second snapshot: it is unmapped and a new one is reserved.

use crate::address::{PageAligned, PageRange, size};
use crate::budget::{Budget, Mappings};
use crate::contents::{Backing, Contents, Span};
use crate::error::Error;
use crate::layout::{GUEST, TABLE};
use crate::memory::OpenWindow;
use crate::sys::gate::GatePage;
use crate::sys::guest::{Region, Source};
use crate::sys::pagemap::Pagemap;
use crate::sys::stack::ReturnStack;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A region bound to the contents of one snapshot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) region: Region,
    pub(crate) stack: ReturnStack,
    #[expect(dead_code, reason = "gives the mappings back when the slot is gone")]
    mappings: Mappings,
    pagemap: Arc<Pagemap>,
    /// Number of hot pages when the slot was last reset; the hot set is recorded only once.
    hot_pages: u64,
    /// Reused for the ranges a scan finds.
    found: Vec<PageRange>,
}

impl Slot {
    /// Reserves a region and places all of the contents.
    pub(crate) fn bind(
        contents: &Contents,
        budget: &Budget,
        pagemap: &Arc<Pagemap>,
    ) -> Result<Slot, Error> {
        let mappings = budget.take_mappings(contents.mappings())?;
        let region = Region::reserve().map_err(Error::system("reserving a slot"))?;
        let gate = GatePage::get().map_err(Error::system("making the gate page"))?;
        region
            .place(
                TABLE,
                Source::ReadOnly(gate.table().as_fd(), PageAligned::ZERO),
            )
            .map_err(Error::system("mapping the call table"))?;
        for span in contents.spans() {
            place(&region, span).map_err(Error::system("mapping a slot"))?;
        }
        region
            .advise_all()
            .map_err(Error::system("madvise of a slot"))?;
        for span in contents.spans() {
            if matches!(span.backing, Backing::Text(_)) {
                region.use_huge_pages(span.range);
            }
        }
        let stack = ReturnStack::new(contents.return_stack())
            .map_err(Error::system("mapping a return stack"))?;
        let mut slot = Slot {
            region,
            stack,
            mappings,
            pagemap: Arc::clone(pagemap),
            hot_pages: 0,
            found: Vec::new(),
        };
        slot.fill_hot_pages(contents)?;
        Ok(slot)
    }

    /// Brings the slot to the state in which the next instance may have it. After an error it must
    /// not be used again. Answers how many private pages the instance had.
    pub(crate) fn reset(&mut self, contents: &Contents) -> Result<u64, Error> {
        let mut found = std::mem::take(&mut self.found);
        self.scan(contents, &mut found)?;
        let private = found.iter().map(|range| u64::from(range.count())).sum();
        self.discard_all_but(contents.hot(), &found)?;
        self.found = found;
        self.stack
            .reset()
            .map_err(Error::system("madvise of a return stack"))?;
        self.fill_hot_pages(contents)?;
        Ok(private)
    }

    /// Closes the windows that are open, and opens those of the contents, unless they are the same.
    pub(crate) fn restore_windows(
        &self,
        contents: &Contents,
        open: &[OpenWindow],
        wanted: &[OpenWindow],
    ) -> Result<(), Error> {
        if open == wanted {
            return Ok(());
        }
        let system = || Error::system("mapping a window");
        for window in open {
            close_window(&self.region, window).map_err(system())?;
        }
        for span in contents.spans() {
            if matches!(span.backing, Backing::Window(_)) {
                place(&self.region, span)
                    .and_then(|()| self.region.mark(span.range))
                    .map_err(system())?;
            }
        }
        Ok(())
    }

    /// True when the slot was reset since the hot set was recorded.
    pub(crate) fn is_current(&self, contents: &Contents) -> bool {
        self.hot_pages == contents.hot_pages()
    }

    /// The private pages now, in order. Only writable memory can have any, and the kernel takes its
    /// time over the rest of a slot, so the rest is not asked for.
    pub(crate) fn scan(
        &self,
        contents: &Contents,
        found: &mut Vec<PageRange>,
    ) -> Result<(), Error> {
        found.clear();
        for range in contents.writable() {
            self.scan_range(*range, found)?;
        }
        Ok(())
    }

    /// The private pages of the whole slot, for those who believe nothing.
    pub(crate) fn scan_all(&self, found: &mut Vec<PageRange>) -> Result<(), Error> {
        found.clear();
        self.scan_range(GUEST, found)
    }

    fn scan_range(&self, range: PageRange, found: &mut Vec<PageRange>) -> Result<(), Error> {
        self.pagemap
            .private_pages(&self.region, range, found)
            .map_err(Error::system("PAGEMAP_SCAN"))
    }

    /// Gives back every page of `found` outside `hot`; both are in order.
    fn discard_all_but(&self, hot: &[PageRange], found: &[PageRange]) -> Result<(), Error> {
        let mut hot = hot.iter().peekable();
        for range in found {
            let mut rest = Some(*range);
            while let Some(range) = rest {
                while hot.next_if(|keep| keep.end() <= range.start()).is_some() {}
                let keep = hot.peek().filter(|keep| keep.overlaps(range));
                let before = keep.map_or(Some(range), |keep| range.until(keep.start()));
                if let Some(before) = before {
                    self.region
                        .discard(before)
                        .map_err(Error::system("MADV_DONTNEED"))?;
                }
                rest = keep.and_then(|keep| range.from(keep.end()));
            }
        }
        Ok(())
    }

    /// Makes every hot page present with the bytes it has in the contents.
    fn fill_hot_pages(&mut self, contents: &Contents) -> Result<(), Error> {
        let fault = |_| Error::Host {
            reason: "a hot page cannot be written".to_owned(),
        };
        for range in contents.hot() {
            let mut rest = Some(*range);
            while let Some(range) = rest {
                let (bytes, len) = contents.bytes(range.address(), range.len().get());
                let place = range.address().into();
                match bytes {
                    Some(bytes) => self.region.copy_out(place, bytes).map_err(fault)?,
                    None => self.region.zero(place, size(len)).map_err(fault)?,
                }
                // Spans are whole pages.
                rest = range.from(PageAligned::down(range.start().get() + len));
            }
        }
        self.hot_pages = contents.hot_pages();
        Ok(())
    }
}

/// Takes a window away, without a trace among the slot's mappings.
pub(crate) fn close_window(region: &Region, window: &OpenWindow) -> io::Result<()> {
    region.place(window.range, Source::Nothing)?;
    region.mark(window.range)
}

/// Places one span.
fn place(region: &Region, span: &Span) -> io::Result<()> {
    let source = match &span.backing {
        Backing::Text(part) => Source::Text(part.file.as_fd(), part.file.start()),
        Backing::ReadOnly(part) => Source::ReadOnly(part.file.as_fd(), part.start),
        Backing::Data(part) | Backing::Frozen(part) => {
            Source::CopyOnWrite(part.file.as_fd(), part.start)
        }
        Backing::Window(window) => Source::ReadOnly(window.file.as_fd(), window.offset),
        Backing::Zero => Source::Zero,
    };
    region.place(span.range, source)
}
