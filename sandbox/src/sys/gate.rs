//! The gate page: where every trap of every slot leaves guest code.

use super::entry::{Tcb, tcb_offset};
use super::linux::{Mapping, PAGE};
use super::memfd::{self, SealedFile};
use std::io;
use std::mem::offset_of;
use std::sync::OnceLock;

/// The page of stubs that the call tables of all slots point to.
#[derive(Debug)]
pub(crate) struct GatePage {
    mapping: Mapping,
    table: SealedFile,
}

/// Entries of the call table page.
const TABLE_ENTRIES: usize = PAGE / 8;

impl GatePage {
    /// The process's gate page, made on first use. Its address is random and it names no address of
    /// the host's text: each stub is `jmp *%fs:offset` (review F19).
    pub(crate) fn get() -> io::Result<&'static GatePage> {
        static PAGE_OF_STUBS: OnceLock<GatePage> = OnceLock::new();
        if let Some(page) = PAGE_OF_STUBS.get() {
            return Ok(page);
        }
        let made = GatePage::make()?;
        Ok(PAGE_OF_STUBS.get_or_init(|| made))
    }

    fn make() -> io::Result<GatePage> {
        let mut code = vec![0xCC; PAGE];
        let offsets = [
            offset_of!(Tcb, gate),
            offset_of!(Tcb, kill),
            offset_of!(Tcb, exit),
        ];
        for (index, field) in offsets.into_iter().enumerate() {
            let stub = &mut code[index * STUB..][..8];
            // 64 FF 24 25 disp32: jmp *%fs:disp32
            stub[..4].copy_from_slice(&[0x64, 0xFF, 0x24, 0x25]);
            let at = tcb_offset() + (field as u64).cast_signed();
            let at = i32::try_from(at)
                .expect("thread-local storage lies within 2 GiB of the thread pointer");
            stub[4..].copy_from_slice(&at.to_le_bytes());
        }
        let file = SealedFile::new(c"zapp-gate", &code, 0xCC, true)?;
        let mapping = memfd::map_gate_page(&file)?;
        let mut entries = vec![0; PAGE];
        for (index, entry) in entries.chunks_exact_mut(8).enumerate() {
            let stub = if index == 0 { 0 } else { STUB };
            entry.copy_from_slice(&((mapping.address() + stub) as u64).to_le_bytes());
        }
        debug_assert_eq!(entries.len(), TABLE_ENTRIES * 8);
        let table = SealedFile::new(c"zapp-table", &entries, 0, false)?;
        Ok(GatePage { mapping, table })
    }

    /// The sealed page mapped read-only into every slot.
    pub(crate) fn table(&self) -> &SealedFile {
        &self.table
    }

    /// Where the page is.
    #[cfg(test)]
    pub(crate) fn address(&self) -> usize {
        self.mapping.address()
    }

    /// What the first entry of a return stack holds.
    pub(crate) fn exit_stub(&self) -> usize {
        self.mapping.address() + 2 * STUB
    }
}

/// Distance between two stubs of the gate page.
const STUB: usize = 32;
