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

mod header;

use std::ops::Range;

use crate::policy::{PAGE, Policy, ZONE};
use crate::rejection::Rejection;
use crate::{Verdict, verify};
use header::{
    PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_PROPERTY, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP,
    PT_LOAD, PT_NOTE, PT_NULL, PT_PHDR, PT_TLS, Table,
};

/// Lowest slot offset of a segment: the thread area lies between [`ZONE`] and it.
pub const GUEST_START: u32 = 0x2_0000;

/// Slot offset of the thread pointer; the program's TLS block ends below it.
pub const THREAD_POINTER: u32 = 0x1_F000;

/// Room for the TLS block.
pub const TLS_MAX: u32 = THREAD_POINTER - ZONE;

/// Most program headers accepted.
pub const HEADERS_MAX: u16 = 64;

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
            address: table.mapped_at(&segments),
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
