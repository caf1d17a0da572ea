//! Reads a guest program: a static ELF64 executable linked at slot offsets, and nothing else.
//!
//! The same stance as the verifier's: what is not expected is refused. Section headers and symbols
//! are not looked at; loading needs only the program headers. Sums are made in 64 bits and checked.
//!
//! ```text
//! one     R+X  whole pages, all of them in the file (the linker pads with int3), at most 256 MiB
//! any     R    any number of segments,
//! any     RW   the rest of the last page, and up to the memory size, is zero
//! at most one PT_TLS  describes bytes of a loaded segment and fits below the thread pointer
//! ```
//!
//! Segments are in rising order, no two share a page, all lie in [`GUEST_START`]..[`SLOT_END`].

use std::ops::Range;

use crate::policy::{PAGE, Policy, SLOT_END, TEXT_MAX, ZONE};
use crate::rejection::Rejection;
use crate::{Verdict, verify};

/// Lowest slot offset of a segment: the thread area lies between [`ZONE`] and it.
pub const GUEST_START: u32 = 0x2_0000;

/// Slot offset of the thread pointer; the program's TLS block ends below it.
pub const THREAD_POINTER: u32 = 0x1_F000;

/// Room for the TLS block.
pub const TLS_MAX: u32 = THREAD_POINTER - ZONE;

/// Most program headers accepted.
pub const HEADERS_MAX: u16 = 64;

const HEADER_LEN: usize = 64;
const ENTRY_LEN: usize = 56;

const PT_NULL: u32 = 0;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_PHDR: u32 = 6;
const PT_TLS: u32 = 7;
const PT_GNU_EH_FRAME: u32 = 0x6474_E550;
const PT_GNU_STACK: u32 = 0x6474_E551;
const PT_GNU_RELRO: u32 = 0x6474_E552;
const PT_GNU_PROPERTY: u32 = 0x6474_E553;

const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Why a file is no guest program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file ends before something it must contain.
    #[error("file ends inside its {what}")]
    Truncated {
        /// What is cut off.
        what: &'static str,
    },
    /// A field of the ELF header has a value that no guest program has.
    #[error("not a guest program: {field} is {value:#x}")]
    Header {
        /// The field, as `elf.h` calls it.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The program wants a loader: an interpreter, dynamic linking.
    #[error("program header {index} asks for dynamic loading (type {kind:#x})")]
    Dynamic {
        /// Which program header.
        index: usize,
        /// Its type.
        kind: u32,
    },
    /// A program header of a type that is not known here.
    #[error("program header {index} has unknown type {kind:#x}")]
    UnknownHeader {
        /// Which program header.
        index: usize,
        /// Its type.
        kind: u32,
    },
    /// Access rights other than R, RW and R+X, or an executable stack.
    #[error("program header {index} has access rights {flags:#x}")]
    Rights {
        /// Which program header.
        index: usize,
        /// Its flags.
        flags: u32,
    },
    /// A segment's place in file or memory is impossible.
    #[error("program header {index}: {problem}")]
    Segment {
        /// Which program header.
        index: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no executable segment, or more than one.
    #[error("{count} executable segments instead of one")]
    TextCount {
        /// How many there are.
        count: usize,
    },
    /// The TLS segment is impossible.
    #[error("thread-local storage: {problem}")]
    Tls {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The entry point is not in the text.
    #[error("entry point {entry:#x} is outside the text")]
    Entry {
        /// The entry point.
        entry: u64,
    },
}

/// Why a program is refused: its container or its code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The file is no guest program.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The machine code breaks a rule.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// What a guest may do with a segment's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    Execute,
}

/// A loaded segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Slot offset of its first byte; the start of its page is zero-filled.
    pub address: u32,
    /// Its bytes in the file.
    pub bytes: &'a [u8],
    /// Its size in memory: zeros follow the bytes.
    pub memory_size: u32,
    /// What the guest may do with it.
    pub access: Access,
}

impl Segment<'_> {
    /// The slot offsets of the whole pages it occupies.
    #[must_use]
    pub fn pages(&self) -> Range<u64> {
        let page = u64::from(PAGE);
        let end = u64::from(self.address) + u64::from(self.memory_size);
        u64::from(self.address) / page * page..end.next_multiple_of(page)
    }
}

/// The initial image of thread-local storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls<'a> {
    /// Slot offset of the initial bytes, inside a loaded segment.
    pub address: u32,
    /// The initial bytes.
    pub bytes: &'a [u8],
    /// Size of the block: zeros follow the bytes.
    pub memory_size: u32,
    /// Alignment of the block, a power of two of at most a page.
    pub align: u32,
}

/// The program headers as the guest sees them in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Slot offset of the first, where a segment maps them.
    pub address: Option<u32>,
    /// How many there are.
    pub count: u16,
}

/// A guest program whose container has been checked, and whose code has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    segments: Vec<Segment<'a>>,
    text: usize,
    entry: u32,
    tls: Option<Tls<'a>>,
    headers: Headers,
}

impl<'a> Program<'a> {
    /// Reads a program from the bytes of its file.
    ///
    /// # Errors
    ///
    /// Whatever is not as the module's drawing has it.
    pub fn parse(file: &'a [u8]) -> Result<Program<'a>, ElfError> {
        let table = Table::of(file)?;
        let mut segments: Vec<Segment<'a>> = Vec::new();
        let mut tls = None;
        for (index, header) in table.headers().enumerate() {
            match header.kind {
                PT_LOAD if header.memory_size == 0 && header.file_size == 0 => {}
                PT_LOAD => {
                    let segment = header.segment(file, index)?;
                    let below = segments.last().map_or(0, |s| s.pages().end);
                    if segment.pages().start < below {
                        let problem = "overlaps the one before it or comes out of order";
                        return Err(ElfError::Segment { index, problem });
                    }
                    segments.push(segment);
                }
                PT_TLS if tls.is_some() => {
                    return Err(ElfError::Tls {
                        problem: "described twice",
                    });
                }
                PT_TLS => tls = Some(header),
                PT_INTERP | PT_DYNAMIC => {
                    return Err(ElfError::Dynamic {
                        index,
                        kind: header.kind,
                    });
                }
                PT_GNU_STACK if header.flags & PF_X != 0 => {
                    return Err(ElfError::Rights {
                        index,
                        flags: header.flags,
                    });
                }
                PT_NULL | PT_NOTE | PT_PHDR | PT_GNU_EH_FRAME | PT_GNU_STACK | PT_GNU_RELRO
                | PT_GNU_PROPERTY => {}
                kind => return Err(ElfError::UnknownHeader { index, kind }),
            }
        }
        let text = only_text(&segments)?;
        let entry = entry_in(&segments[text], table.entry)?;
        let tls = tls.map(|header| header.tls(&segments)).transpose()?;
        let headers = Headers {
            address: table.mapped_at(file, &segments),
            count: table.count,
        };
        Ok(Program {
            segments,
            text,
            entry,
            tls,
            headers,
        })
    }

    /// The segment that holds the code.
    #[must_use]
    pub fn text(&self) -> &Segment<'a> {
        &self.segments[self.text]
    }

    /// All segments, in rising order, the text among them.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// Slot offset where the program starts. That it is a bundle start is for [`verify`] to say.
    #[must_use]
    pub fn entry(&self) -> u32 {
        self.entry
    }

    /// Thread-local storage, if the program has any.
    #[must_use]
    pub fn tls(&self) -> Option<Tls<'a>> {
        self.tls
    }

    /// The program headers, for the auxiliary vector.
    #[must_use]
    pub fn headers(&self) -> Headers {
        self.headers
    }
}

/// Reads a program and proves its code confined.
///
/// # Errors
///
/// What [`Program::parse`] or [`verify`] found.
pub fn verify_program<'a>(
    file: &'a [u8],
    policy: &Policy,
) -> Result<(Program<'a>, Verdict), ProgramError> {
    let program = Program::parse(file)?;
    let text = program.text();
    let verdict = verify(text.bytes, text.address, policy, &[program.entry])?;
    Ok((program, verdict))
}

/// The one executable segment.
fn only_text(segments: &[Segment<'_>]) -> Result<usize, ElfError> {
    let mut texts = (0..segments.len()).filter(|&i| segments[i].access == Access::Execute);
    match (texts.next(), texts.count()) {
        (Some(text), 0) => Ok(text),
        (first, more) => Err(ElfError::TextCount {
            count: more + usize::from(first.is_some()),
        }),
    }
}

fn entry_in(text: &Segment<'_>, entry: u64) -> Result<u32, ElfError> {
    u32::try_from(entry)
        .ok()
        .filter(|&e| {
            e.checked_sub(text.address)
                .is_some_and(|at| at < text.memory_size)
        })
        .ok_or(ElfError::Entry { entry })
}

/// The ELF header and the table of program headers it points to.
struct Table<'a> {
    bytes: &'a [u8],
    offset: u64,
    count: u16,
    entry: u64,
}

impl<'a> Table<'a> {
    fn of(file: &'a [u8]) -> Result<Table<'a>, ElfError> {
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

    fn headers(&self) -> impl Iterator<Item = Header> {
        self.bytes.chunks_exact(ENTRY_LEN).map(Header::of)
    }

    /// Where a read-only segment maps the table, found by its place in the file.
    fn mapped_at(&self, file: &[u8], segments: &[Segment<'_>]) -> Option<u32> {
        let end = self.offset.checked_add(self.bytes.len() as u64)?;
        for header in self.headers().filter(|h| h.kind == PT_LOAD) {
            let loaded = header.offset..header.offset.checked_add(header.file_size)?;
            if loaded.start <= self.offset && end <= loaded.end {
                let address = header.address.checked_add(self.offset - loaded.start)?;
                debug_assert!(slice(file, self.offset, end - self.offset).is_some());
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
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
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
    fn segment<'a>(&self, file: &'a [u8], index: usize) -> Result<Segment<'a>, ElfError> {
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
    fn tls<'a>(&self, segments: &[Segment<'a>]) -> Result<Tls<'a>, ElfError> {
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
