//! Checks that a slot is clean after a reset. Debug builds check each time, release builds now and
//! then and after every instance that did not end by itself.
//!
//! Content needs no comparison beyond the hot set: a page that is not private is either the sealed
//! file's or has never been touched since it was given back.

use crate::address::{Claimed, PageRange};
use crate::contents::{Backing, Contents};
use crate::error::Error;
use crate::layout::{GUEST, TABLE};
use crate::slot::Slot;
use crate::sys::gate::GatePage;
use crate::sys::linux::PAGE;
use crate::sys::memfd::SealedFile;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// One reset in so many is checked in release builds.
const SAMPLE: u64 = 1_000;

/// One check in so many also reads the process's whole list of mappings.
const MAPS_SAMPLE: u64 = 64;

/// True when this reset should be checked.
pub(crate) fn is_due(ended_normally: bool) -> bool {
    static RESETS: AtomicU64 = AtomicU64::new(0);
    let number = RESETS.fetch_add(1, Ordering::Relaxed);
    cfg!(debug_assertions) || !ended_normally || number.is_multiple_of(SAMPLE)
}

/// Says what is wrong with a slot, if anything.
pub(crate) fn check(slot: &Slot, contents: &Contents) -> Result<(), Error> {
    let mut private = Vec::new();
    slot.scan_all(&mut private)?;
    check_all(slot, contents, &private).map_err(|reason| Error::Unclean { reason })
}

fn check_all(slot: &Slot, contents: &Contents, private: &[PageRange]) -> Result<(), String> {
    static CHECKS: AtomicU64 = AtomicU64::new(0);
    check_private_pages(private, contents)?;
    check_hot_content(slot, contents)?;
    check_table(slot)?;
    if CHECKS
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(MAPS_SAMPLE)
    {
        check_files(contents)?;
        check_mappings(slot, contents)?;
    }
    Ok(())
}

/// Row 3: the private pages are the hot set, nothing else, nothing less.
fn check_private_pages(private: &[PageRange], contents: &Contents) -> Result<(), String> {
    if private != contents.hot() {
        return Err(format!(
            "private pages {private:x?}, hot set {:x?}",
            contents.hot()
        ));
    }
    Ok(())
}

/// Row 2: every private page holds what the snapshot says.
fn check_hot_content(slot: &Slot, contents: &Contents) -> Result<(), String> {
    let mut page = [0; PAGE];
    for range in contents.hot() {
        for at in range.pages() {
            slot.region
                .copy_in(at.into(), &mut page)
                .map_err(|_| format!("hot page {at:x?} cannot be read"))?;
            let (wanted, _) = contents.bytes(at, PAGE as u64);
            if page.as_slice() != wanted.unwrap_or(&[0; PAGE]) {
                return Err(format!("hot page {at:x?} differs from the snapshot"));
            }
        }
    }
    Ok(())
}

/// Row 8: the call table is the template, and its neighbours cannot be read.
fn check_table(slot: &Slot) -> Result<(), String> {
    let gate = GatePage::get().map_err(|error| error.to_string())?;
    let mut page = [0; PAGE];
    let read = slot.region.copy_in(TABLE.address().into(), &mut page);
    if read.is_err() || page != *gate.table().bytes() {
        return Err("the call table differs from the template".to_owned());
    }
    for at in [
        0,
        TABLE.start().get() - 1,
        u32::MAX.into(),
        GUEST.end().get(),
    ] {
        let at = Claimed::in_register(at);
        if slot.region.copy_in(at, &mut [0]).is_ok() {
            return Err(format!("{at:x?} can be read"));
        }
    }
    Ok(())
}

/// Row 6: the files are sealed and have no holes.
fn check_files(contents: &Contents) -> Result<(), String> {
    match contents.files().all(SealedFile::is_sealed_and_dense) {
        true => Ok(()),
        false => Err("a memory file is not sealed or not dense".to_owned()),
    }
}

/// Rows 1 and 7: the mappings of the slot are the snapshot's, with their rights.
pub(crate) fn check_mappings(slot: &Slot, contents: &Contents) -> Result<(), String> {
    let base = slot.region.base() as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let mut found: Vec<(Range<u64>, String)> = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else {
            continue;
        };
        let Some((start, end)) = range.split_once('-') else {
            continue;
        };
        let parse = |text| u64::from_str_radix(text, 16).map_err(|error| error.to_string());
        let (start, end) = (parse(start)?, parse(end)?);
        if start >= base && end <= base + (1 << 32) && !rights.starts_with("---") {
            push(&mut found, start - base..end - base, rights.to_owned());
        }
    }
    let mut wanted = Vec::new();
    push(&mut wanted, offsets(TABLE), "r--s".to_owned());
    for span in contents.spans() {
        let rights = match span.backing {
            Backing::Text(_) => "r-xs",
            Backing::ReadOnly(_) | Backing::Window(_) => "r--s",
            Backing::Data(_) | Backing::Frozen(_) | Backing::Zero => "rw-p",
        };
        push(&mut wanted, offsets(span.range), rights.to_owned());
    }
    if found != wanted {
        return Err(format!("mappings {found:x?}, wanted {wanted:x?}"));
    }
    for span in contents.spans() {
        if matches!(span.backing, Backing::Text(_) | Backing::ReadOnly(_))
            && slot.region.can_become_writable(span.range)
        {
            return Err(format!("{:x?} can be made writable", span.range));
        }
    }
    Ok(())
}

fn offsets(range: PageRange) -> Range<u64> {
    range.start().get()..range.end().get()
}

/// Adds a range; the kernel may show neighbours with equal rights as one.
fn push(list: &mut Vec<(Range<u64>, String)>, range: Range<u64>, rights: String) {
    match list.last_mut() {
        Some((last, same)) if last.end == range.start && *same == rights => last.end = range.end,
        _ => list.push((range, rights)),
    }
}
