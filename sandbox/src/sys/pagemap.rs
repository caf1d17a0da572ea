//! Which pages of a region are private to it: the set that reset must look at, and nothing else.
//!
//! A page counts when it is not file-backed and is present **or swapped out or being migrated**; a
//! scan for present pages alone misses some whenever the kernel compacts memory (review F1).

use super::guest::Region;
use super::inject;
use crate::address::{PageAligned, PageRange};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// An open view of this process's page tables.
#[derive(Debug)]
pub(crate) struct Pagemap {
    file: File,
    has_scan: bool,
}

const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
/// `_IOWR('f', 16, struct pm_scan_arg)` of linux/fs.h.
const PAGEMAP_SCAN: libc::Ioctl = 0xC060_6610;

#[derive(Default)]
#[repr(C)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

impl Pagemap {
    /// Opens the page map and finds out whether the kernel can scan it (6.7 and later).
    pub(crate) fn open() -> io::Result<Pagemap> {
        let file = File::open("/proc/self/pagemap")?;
        let mut map = Pagemap {
            file,
            has_scan: true,
        };
        let mut probe = ScanArguments {
            start: 0,
            end: 0,
            ..scan_arguments()
        };
        if let Err(error) = map.scan_once(&mut probe) {
            match error.raw_os_error() {
                Some(libc::ENOTTY) => map.has_scan = false,
                _ => return Err(error),
            }
        }
        Ok(map)
    }

    /// Appends the private pages of `range`, in order.
    pub(crate) fn private_pages(
        &self,
        region: &Region,
        range: PageRange,
        found: &mut Vec<PageRange>,
    ) -> io::Result<()> {
        let base = region.base() as u64;
        if self.has_scan {
            self.scan(base, range, found)
        } else {
            self.read_entries(base, range, found)
        }
    }

    fn scan(&self, base: u64, range: PageRange, found: &mut Vec<PageRange>) -> io::Result<()> {
        let mut regions = [PageRegion::default(); 128];
        let mut at = base + range.start().get();
        let end = base + range.end().get();
        while at < end {
            let mut arguments = ScanArguments {
                start: at,
                end,
                vec: regions.as_mut_ptr().expose_provenance() as u64,
                vec_len: regions.len() as u64,
                ..scan_arguments()
            };
            let count = self.scan_once(&mut arguments)?;
            for region in &regions[..count.min(regions.len())] {
                // What the kernel names lies in the range it was asked for.
                let start = region.start.checked_sub(base);
                let end = region.end.checked_sub(base);
                let pages = start
                    .zip(end)
                    .and_then(|(start, end)| PageRange::checked(start, end));
                let pages = pages.filter(|pages| range.covers(*pages));
                pages
                    .ok_or_else(|| io::Error::other("pages outside the range"))?
                    .append_to(found);
            }
            // A full answer stops early; `walk_end` says where (review F1).
            assert!(
                arguments.walk_end > at && arguments.walk_end <= end,
                "the scan advances"
            );
            at = arguments.walk_end;
        }
        Ok(())
    }

    fn scan_once(&self, arguments: &mut ScanArguments) -> io::Result<usize> {
        inject::chance()?;
        // SAFETY: the arguments describe a live array of the given length, or none at all.
        let count = unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                PAGEMAP_SCAN,
                std::ptr::from_mut(arguments),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// For kernels before 6.7: bit 63 present, 62 swapped, 61 file-backed or shared.
    fn read_entries(
        &self,
        base: u64,
        range: PageRange,
        found: &mut Vec<PageRange>,
    ) -> io::Result<()> {
        let mut buffer = vec![[0; 8]; 8 << 10];
        let mut rest = Some(range);
        while let Some(range) = rest {
            let pages = range.len().pages().min(buffer.len());
            let entries = &mut buffer[..pages];
            inject::chance()?;
            let page = (base + range.start().get()) / PageAligned::PAGE.get();
            self.file
                .read_exact_at(entries.as_flattened_mut(), page * 8)?;
            for (at, entry) in range.pages().zip(entries) {
                let entry = u64::from_le_bytes(*entry);
                if entry >> 62 != 0 && entry & (1 << 61) == 0 {
                    PageRange::holding(at).append_to(found);
                }
            }
            let len = PageAligned::PAGE.get() * pages as u64;
            rest = range.from(PageAligned::down(range.start().get() + len));
        }
        Ok(())
    }
}

fn scan_arguments() -> ScanArguments {
    ScanArguments {
        size: size_of::<ScanArguments>() as u64,
        category_inverted: PAGE_IS_FILE,
        category_mask: PAGE_IS_FILE,
        category_anyof_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        return_mask: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
        ..ScanArguments::default()
    }
}
