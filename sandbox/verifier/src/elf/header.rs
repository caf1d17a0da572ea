//! The bytes of ELF: the file's header, its program headers, and what each of them may say.

use super::{Access, ElfError, GUEST_START, HEADERS_MAX, Segment, TLS_MAX, Tls};
use crate::policy::{PAGE, SLOT_END, TEXT_MAX};

const HEADER_LEN: usize = 64;
const ENTRY_LEN: usize = 56;

pub(super) const PT_NULL: u32 = 0;
pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_DYNAMIC: u32 = 2;
pub(super) const PT_INTERP: u32 = 3;
pub(super) const PT_NOTE: u32 = 4;
pub(super) const PT_PHDR: u32 = 6;
pub(super) const PT_TLS: u32 = 7;
pub(super) const PT_GNU_EH_FRAME: u32 = 0x6474_E550;
pub(super) const PT_GNU_STACK: u32 = 0x6474_E551;
pub(super) const PT_GNU_RELRO: u32 = 0x6474_E552;
pub(super) const PT_GNU_PROPERTY: u32 = 0x6474_E553;

pub(super) const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// The ELF header and the table of program headers it points to.
pub(super) struct Table<'a> {
    bytes: &'a [u8],
    offset: u64,
    pub(super) count: u16,
    pub(super) entry: u64,
}

impl<'a> Table<'a> {
    pub(super) fn of(file: &'a [u8]) -> Result<Table<'a>, ElfError> {
        let header = file
            .get(..HEADER_LEN)
            .ok_or(ElfError::Truncated { what: "header" })?;
        let expected: [(&str, u64, &[u64]); 9] = [
            ("e_ident magic", u32_at(header, 0).into(), &[0x464C_457F]),
            ("e_ident class", header[4].into(), &[2]),
            ("e_ident data", header[5].into(), &[1]),
            ("e_ident version", header[6].into(), &[1]),
            // System V, and GNU when a guest has indirect functions or unique symbols.
            ("e_ident os abi", header[7].into(), &[0, 3]),
            ("e_type", u16_at(header, 16).into(), &[2]),
            ("e_machine", u16_at(header, 18).into(), &[62]),
            ("e_version", u32_at(header, 20).into(), &[1]),
            (
                "e_phentsize",
                u16_at(header, 54).into(),
                &[ENTRY_LEN as u64],
            ),
        ];
        for (field, value, allowed) in expected {
            if !allowed.contains(&value) {
                return Err(ElfError::Header { field, value });
            }
        }
        let count = u16_at(header, 56);
        if count == 0 || count > HEADERS_MAX {
            return Err(ElfError::Header {
                field: "e_phnum",
                value: count.into(),
            });
        }
        let offset = u64_at(header, 32);
        let bytes = slice(file, offset, u64::from(count) * ENTRY_LEN as u64).ok_or(
            ElfError::Truncated {
                what: "program headers",
            },
        )?;
        Ok(Table {
            bytes,
            offset,
            count,
            entry: u64_at(header, 24),
        })
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = Header> {
        self.bytes.chunks_exact(ENTRY_LEN).map(Header::of)
    }

    /// Where a read-only segment maps the table, found by its place in the file.
    pub(super) fn mapped_at(&self, segments: &[Segment<'_>]) -> Option<u32> {
        let end = self.offset.checked_add(self.bytes.len() as u64)?;
        for header in self.headers().filter(|h| h.kind == PT_LOAD) {
            let loaded = header.offset..header.offset.checked_add(header.file_size)?;
            if loaded.start <= self.offset && end <= loaded.end {
                let address = header.address.checked_add(self.offset - loaded.start)?;
                let address = u32::try_from(address).ok()?;
                return segments
                    .iter()
                    .any(|s| s.pages().contains(&address.into()))
                    .then_some(address);
            }
        }
        None
    }
}

/// A program header, as it stands in the file.
pub(super) struct Header {
    pub(super) kind: u32,
    pub(super) flags: u32,
    offset: u64,
    address: u64,
    pub(super) file_size: u64,
    pub(super) memory_size: u64,
    align: u64,
}

impl Header {
    fn of(bytes: &[u8]) -> Header {
        Header {
            kind: u32_at(bytes, 0),
            flags: u32_at(bytes, 4),
            offset: u64_at(bytes, 8),
            address: u64_at(bytes, 16),
            file_size: u64_at(bytes, 32),
            memory_size: u64_at(bytes, 40),
            align: u64_at(bytes, 48),
        }
    }

    /// The segment that a PT_LOAD describes.
    pub(super) fn segment<'a>(
        &self,
        file: &'a [u8],
        index: usize,
    ) -> Result<Segment<'a>, ElfError> {
        let access = match self.flags {
            PF_R => Access::Read,
            f if f == PF_R | PF_W => Access::ReadWrite,
            f if f == PF_R | PF_X => Access::Execute,
            flags => return Err(ElfError::Rights { index, flags }),
        };
        let problem = |problem| ElfError::Segment { index, problem };
        let page = u64::from(PAGE);
        if !self.align.is_power_of_two() || self.align < page {
            return Err(problem(
                "alignment is not a power of two of at least a page",
            ));
        }
        if self.address % self.align != self.offset % self.align {
            return Err(problem("address and file offset disagree about the page"));
        }
        if self.file_size > self.memory_size {
            return Err(problem("larger in the file than in memory"));
        }
        let end = self.address.checked_add(self.memory_size);
        if self.address < GUEST_START.into() || end.is_none_or(|end| end > SLOT_END) {
            return Err(problem("outside the guest's part of the slot"));
        }
        let bytes = slice(file, self.offset, self.file_size).ok_or(problem("outside the file"))?;
        if access == Access::Execute {
            if self.file_size != self.memory_size {
                return Err(problem("text has bytes that are not in the file"));
            }
            if !self.address.is_multiple_of(page) || !self.file_size.is_multiple_of(page) {
                return Err(problem("text is not whole pages"));
            }
            if self.file_size > TEXT_MAX.into() {
                return Err(problem("text is too long"));
            }
        }
        // Both are below 2^32 by the range check above.
        let (Ok(address), Ok(memory_size)) =
            (u32::try_from(self.address), u32::try_from(self.memory_size))
        else {
            return Err(problem("outside the guest's part of the slot"));
        };
        Ok(Segment {
            address,
            bytes,
            memory_size,
            access,
        })
    }

    /// The thread-local storage that a PT_TLS describes: bytes of one of `segments`.
    pub(super) fn tls<'a>(&self, segments: &[Segment<'a>]) -> Result<Tls<'a>, ElfError> {
        let problem = |problem| ElfError::Tls { problem };
        if self.flags & PF_X != 0 {
            return Err(problem("executable"));
        }
        let align = u32::try_from(self.align.max(1)).unwrap_or(u32::MAX);
        if !align.is_power_of_two() || align > PAGE {
            return Err(problem("alignment is not a power of two of at most a page"));
        }
        if self.file_size > self.memory_size {
            return Err(problem("larger in the file than in memory"));
        }
        // The block grows down from the thread pointer, so its aligned size is what it needs.
        let aligned = self.memory_size.checked_next_multiple_of(align.into());
        if aligned.is_none_or(|size| size > TLS_MAX.into()) {
            return Err(problem("does not fit below the thread pointer"));
        }
        if self.file_size == 0 {
            let address = u32::try_from(self.address).map_err(|_| problem("outside the slot"))?;
            let memory_size = u32::try_from(self.memory_size).unwrap_or(TLS_MAX);
            return Ok(Tls {
                address,
                bytes: &[],
                memory_size,
                align,
            });
        }
        let end = self.address.checked_add(self.file_size);
        let home = segments.iter().find(|s| {
            let start = u64::from(s.address);
            start <= self.address && end.is_some_and(|end| end <= start + s.bytes.len() as u64)
        });
        let home = home.ok_or(problem("its initial bytes are in no segment"))?;
        let bytes = slice(
            home.bytes,
            self.address - u64::from(home.address),
            self.file_size,
        );
        let (Some(bytes), Ok(address), Ok(memory_size)) = (
            bytes,
            u32::try_from(self.address),
            u32::try_from(self.memory_size),
        ) else {
            return Err(problem("its initial bytes are in no segment"));
        };
        Ok(Tls {
            address,
            bytes,
            memory_size,
            align,
        })
    }
}

/// `len` bytes from `offset`, if they are there.
fn slice(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(start..end)
}

/// Little-endian fields of a header whose length has been checked.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}
