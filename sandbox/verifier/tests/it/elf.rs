//! Hostile programs: one field at a time, then any bytes.

use verifier::elf::{Access, Program, THREAD_POINTER};
use verifier::{ElfError, Policy, ProgramError, Rule, verify_program};

use crate::random::Random;

const TEXT: u64 = 0x2_0000;
const DATA: u64 = 0x3_0000;

/// A program header to be written.
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// A change to a header.
type Change = fn(&mut Header);

/// A file to be written: headers in the first page, text in the second, data in the third.
#[derive(Clone)]
struct File {
    entry: u64,
    headers: Vec<Header>,
    text: Vec<u8>,
}

impl File {
    /// The smallest program with text, data and thread-local storage.
    fn good() -> File {
        let load = |flags, offset, address, file_size, memory_size| Header {
            kind: 1,
            flags,
            offset,
            address,
            file_size,
            memory_size,
            align: 0x1000,
        };
        let tls = Header {
            kind: 7,
            flags: 4,
            align: 16,
            ..load(4, 0x2000, DATA, 0x20, 0x40)
        };
        let stack = Header {
            kind: 0x6474_E551,
            flags: 6,
            offset: 0,
            address: 0,
            file_size: 0,
            memory_size: 0,
            align: 16,
        };
        let mut text = vec![0xCC; 0x1000];
        // movl $60, %eax; call *0xF000(%r14); hlt
        text[..13].copy_from_slice(&[0xB8, 60, 0, 0, 0, 0x41, 0xFF, 0x96, 0, 0xF0, 0, 0, 0xF4]);
        let headers = vec![
            load(5, 0x1000, TEXT, 0x1000, 0x1000),
            load(6, 0x2000, DATA, 0x800, 0x2345),
            tls,
            stack,
        ];
        File {
            entry: TEXT,
            headers,
            text,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0; 0x3000];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0x7F, b'E', b'L', b'F', 2, 1, 1, 0]);
        put(16, &2_u16.to_le_bytes());
        put(18, &62_u16.to_le_bytes());
        put(20, &1_u32.to_le_bytes());
        put(24, &self.entry.to_le_bytes());
        put(32, &64_u64.to_le_bytes());
        put(52, &64_u16.to_le_bytes());
        put(54, &56_u16.to_le_bytes());
        put(
            56,
            &u16::try_from(self.headers.len())
                .expect("few")
                .to_le_bytes(),
        );
        for (number, h) in self.headers.iter().enumerate() {
            let at = 64 + number * 56;
            put(at, &h.kind.to_le_bytes());
            put(at + 4, &h.flags.to_le_bytes());
            for (field, value) in [
                h.offset,
                h.address,
                h.address,
                h.file_size,
                h.memory_size,
                h.align,
            ]
            .iter()
            .enumerate()
            {
                put(at + 8 + field * 8, &value.to_le_bytes());
            }
        }
        put(0x1000, &self.text);
        file
    }

    fn refusal(&self) -> ElfError {
        match verify_program(&self.bytes(), &Policy::DEFAULT) {
            Err(ProgramError::Elf(error)) => error,
            other => panic!("not refused by the ELF checks: {other:?}"),
        }
    }
}

/// The good program with one change.
fn with(change: impl FnOnce(&mut File)) -> File {
    let mut file = File::good();
    change(&mut file);
    file
}

/// The good program's bytes with some bytes changed.
fn patched(at: usize, bytes: &[u8]) -> Result<(), ProgramError> {
    let mut file = File::good().bytes();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    verify_program(&file, &Policy::DEFAULT).map(|_| ())
}

#[test]
fn good_program_is_read_and_verified() {
    let bytes = File::good().bytes();
    let (program, verdict) = verify_program(&bytes, &Policy::DEFAULT).expect("it is good");
    assert_eq!(program.entry(), 0x2_0000);
    assert_eq!(
        (program.text().address, program.text().bytes.len()),
        (0x2_0000, 0x1000)
    );
    assert_eq!(program.text().access, Access::Execute);
    let data = &program.segments()[1];
    assert_eq!((data.bytes.len(), data.memory_size), (0x800, 0x2345));
    assert_eq!(data.pages(), 0x3_0000..0x3_3000);
    let tls = program.tls().expect("it has thread-local storage");
    assert_eq!(
        (tls.bytes.len(), tls.memory_size, tls.align),
        (0x20, 0x40, 16)
    );
    assert_eq!(verdict.instructions(), 4096 - 13 + 3);
    assert_eq!(
        (program.headers().count, program.headers().address),
        (4, None)
    );
}

#[test]
fn mapped_program_headers_are_found() {
    let file = with(|f| {
        let header = Header {
            flags: 4,
            offset: 0,
            address: 0x4_0000,
            file_size: 0x1000,
            memory_size: 0x1000,
            ..f.headers[1]
        };
        f.headers.insert(2, header);
    });
    let bytes = file.bytes();
    let program = Program::parse(&bytes).expect("headers may be mapped");
    assert_eq!(program.headers().address, Some(0x4_0040));
}

#[test]
fn code_that_breaks_a_rule_is_refused_by_its_rule() {
    let file = with(|f| f.text[32..34].copy_from_slice(&[0x0F, 0x05]));
    match verify_program(&file.bytes(), &Policy::DEFAULT) {
        Err(ProgramError::Rejected(r)) => {
            assert_eq!((r.rule, r.address), (Rule::AllowList, 0x2_0020))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn entry_in_the_middle_of_a_bundle_is_refused() {
    match verify_program(&with(|f| f.entry = TEXT + 16).bytes(), &Policy::DEFAULT) {
        Err(ProgramError::Rejected(r)) => assert_eq!(r.rule, Rule::Entry),
        other => panic!("{other:?}"),
    }
    for entry in [
        0,
        TEXT - 32,
        TEXT + 0x1000,
        DATA,
        1 << 32,
        (1 << 32) + TEXT,
        u64::MAX,
    ] {
        assert_eq!(
            with(|f| f.entry = entry).refusal(),
            ElfError::Entry { entry }
        );
    }
}

#[test]
fn other_kinds_of_elf_are_refused() {
    // magic, 32 bits, big endian, version, OS; shared object, relocatable, core; other machines.
    for (at, bytes) in [
        (0, &[0x7E][..]),
        (4, &[1]),
        (5, &[2]),
        (6, &[0]),
        (7, &[9]),
        (16, &[3]),
        (16, &[1]),
        (16, &[4]),
        (18, &[3]),
        (18, &[0xB7]),
        (20, &[2]),
        (54, &[32]),
        (54, &[57]),
        (56, &[0]),
        (56, &[65, 0]),
        (56, &[0xFF, 0xFF]),
    ] {
        let refusal = patched(at, bytes).expect_err("refused");
        assert!(
            matches!(refusal, ProgramError::Elf(ElfError::Header { .. })),
            "{at}: {refusal}"
        );
    }
    assert!(patched(7, &[3]).is_ok(), "the GNU variant is accepted");
    for offset in [0x3000_u64, 0x2FFF, u64::MAX, u64::MAX - 100] {
        let refusal = patched(32, &offset.to_le_bytes()).expect_err("refused");
        assert!(
            matches!(refusal, ProgramError::Elf(ElfError::Truncated { .. })),
            "{refusal}"
        );
    }
}

#[test]
fn dynamic_loading_is_refused() {
    for kind in [2, 3] {
        let refusal = with(|f| f.headers[3].kind = kind).refusal();
        assert_eq!(refusal, ElfError::Dynamic { index: 3, kind });
    }
    for kind in [5, 8, 0x6474_E554, 0x7000_0001, u32::MAX] {
        let refusal = with(|f| f.headers[3].kind = kind).refusal();
        assert_eq!(refusal, ElfError::UnknownHeader { index: 3, kind });
    }
}

#[test]
fn rights_other_than_three_are_refused() {
    for flags in [0, 1, 2, 3, 7, 4 | 8, 6 | 1 << 20] {
        let refusal = with(|f| f.headers[1].flags = flags).refusal();
        assert_eq!(refusal, ElfError::Rights { index: 1, flags });
    }
    let refusal = with(|f| f.headers[3].flags = 7).refusal();
    assert_eq!(refusal, ElfError::Rights { index: 3, flags: 7 });
    assert!(verify_program(&with(|f| f.headers[1].flags = 4).bytes(), &Policy::DEFAULT).is_ok());
}

#[test]
fn one_text_and_no_second() {
    assert_eq!(
        with(|f| f.headers[0].flags = 4).refusal(),
        ElfError::TextCount { count: 0 }
    );
    let second = with(|f| {
        f.headers[1] = Header {
            address: DATA,
            offset: 0x1000,
            ..f.headers[0]
        };
        f.headers.truncate(2);
    });
    assert_eq!(second.refusal(), ElfError::TextCount { count: 2 });
}

/// Each of these changes to one segment makes it impossible.
#[test]
fn impossible_segments_are_refused() {
    let cases: &[(&str, usize, Change)] = &[
        ("text starts inside a page", 0, |h| {
            h.address += 32;
            h.offset += 32;
        }),
        ("text ends inside a page", 0, |h| {
            h.file_size -= 32;
            h.memory_size -= 32;
        }),
        ("text is longer in memory", 0, |h| h.memory_size += 0x1000),
        ("text beyond the file", 0, |h| {
            h.file_size = 0x3000;
            h.memory_size = 0x3000;
        }),
        ("text in the thread area", 0, |h| h.address = 0x1_F000),
        ("text at zero", 0, |h| h.address = 0),
        ("text in the call table", 0, |h| h.address = 0xF000),
        ("data before the text", 1, |h| h.address = 0x1_0000),
        ("data in the upper zone", 1, |h| h.address = 0xFFFE_F000),
        ("data beyond 4 GiB", 1, |h| h.address = 1 << 32),
        ("data at the end of the address space", 1, |h| {
            h.address = u64::MAX - 0xFFF
        }),
        ("data longer in the file", 1, |h| h.memory_size = 0x7FF),
        ("data beyond the file", 1, |h| h.offset = 0x3000),
        ("file offset overflows", 1, |h| h.offset = u64::MAX - 0xFFF),
        ("file size overflows", 1, |h| {
            h.file_size = u64::MAX;
            h.memory_size = u64::MAX;
        }),
        ("memory size overflows", 1, |h| h.memory_size = u64::MAX),
        ("memory size reaches the upper zone", 1, |h| {
            h.memory_size = (1 << 32) - DATA - 0x1_0000 + 1
        }),
        ("negative hole", 1, |h| {
            h.memory_size = 0x8000_0000_0000_0000
        }),
        ("data overlaps text", 1, |h| h.address = TEXT),
        ("data shares a page with text", 1, |h| {
            h.address = TEXT + 0xFF0;
            h.offset = 0x2FF0;
            h.file_size = 0x10;
        }),
        ("address and offset disagree", 1, |h| h.offset += 8),
        ("alignment is zero", 1, |h| h.align = 0),
        ("alignment is no power of two", 1, |h| h.align = 0x1800),
        ("alignment is below a page", 1, |h| h.align = 8),
        ("alignment is absurd", 1, |h| {
            h.align = 1 << 63;
            h.offset += 0x1000;
        }),
    ];
    for (what, index, change) in cases {
        let file = with(|f| {
            change(&mut f.headers[*index]);
            f.headers.truncate(2);
        });
        let refusal = file.refusal();
        assert!(
            matches!(refusal, ElfError::Segment { index: i, .. } if i == *index || i == 1),
            "{what}: {refusal}"
        );
    }
}

#[test]
fn edges_of_what_is_possible_are_accepted() {
    let cases: &[Change] = &[
        |h| h.memory_size = (1 << 32) - DATA - 0x1_0000,
        |h| h.memory_size = h.file_size,
        |h| {
            h.address += 0x10;
            h.offset += 0x10;
        },
        |h| h.address = TEXT + 0x1000,
        |h| h.file_size = 0,
    ];
    for (number, change) in cases.iter().enumerate() {
        let file = with(|f| {
            change(&mut f.headers[1]);
            f.headers.truncate(2);
        });
        let verdict = verify_program(&file.bytes(), &Policy::DEFAULT).map(|_| ());
        assert_eq!(verdict, Ok(()), "case {number}");
    }
}

#[test]
fn segments_out_of_order_are_refused() {
    let refusal = with(|f| f.headers.swap(0, 1)).refusal();
    assert!(
        matches!(refusal, ElfError::Segment { index: 1, .. }),
        "{refusal}"
    );
}

#[test]
fn impossible_thread_local_storage_is_refused() {
    let room = u64::from(THREAD_POINTER) - 0x1_0000;
    let cases: &[(&str, Change)] = &[
        ("executable", |h| h.flags = 5),
        ("longer in the file", |h| h.memory_size = 0x1F),
        ("too long", |h| h.memory_size = 0xF001),
        ("length overflows", |h| h.memory_size = u64::MAX),
        ("alignment is no power of two", |h| h.align = 24),
        ("alignment above a page", |h| h.align = 0x2000),
        ("alignment overflows", |h| h.align = 1 << 32),
        ("outside every segment", |h| h.address = 0x5_0000),
        ("before its segment", |h| h.address = DATA - 1),
        ("beyond its segment's bytes", |h| h.address = DATA + 0x7F0),
        ("address overflows", |h| h.address = u64::MAX),
    ];
    for (what, change) in cases {
        let refusal = with(|f| change(&mut f.headers[2])).refusal();
        assert!(matches!(refusal, ElfError::Tls { .. }), "{what}: {refusal}");
    }
    let twice = with(|f| f.headers[3] = f.headers[2]).refusal();
    assert!(matches!(twice, ElfError::Tls { .. }));
    let full = with(|f| f.headers[2].memory_size = room);
    assert!(verify_program(&full.bytes(), &Policy::DEFAULT).is_ok());
}

#[test]
fn text_above_the_limit_is_refused() {
    let file = with(|f| {
        f.headers[0].file_size = (256 << 20) + 0x1000;
        f.headers[0].memory_size = (256 << 20) + 0x1000;
        f.headers.truncate(1);
    });
    let mut bytes = file.bytes();
    bytes.resize(0x1000 + (256 << 20) + 0x1000, 0xCC);
    let refusal = Program::parse(&bytes).expect_err("too long");
    assert!(
        matches!(refusal, ElfError::Segment { index: 0, .. }),
        "{refusal}"
    );
}

#[test]
fn file_truncated_anywhere_is_refused_or_the_same() {
    let bytes = File::good().bytes();
    // The last used byte is the last of the data.
    for len in (0..300).chain((300..0x2800).step_by(61)) {
        assert!(
            verify_program(&bytes[..len], &Policy::DEFAULT).is_err(),
            "{len} bytes"
        );
    }
    assert!(verify_program(&bytes[..0x2800], &Policy::DEFAULT).is_ok());
}

/// Any bytes in the headers: never a panic, and whatever is accepted keeps every promise.
#[test]
fn mutated_headers_keep_the_promises() {
    let good = File::good().bytes();
    let mut random = Random::new(5);
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(64 + 4 * 56);
            bytes[at] = match random.below(3) {
                0 => random.byte(),
                1 => 0xFF,
                _ => bytes[at].wrapping_add(1),
            };
        }
        let Ok((program, _)) = verify_program(&bytes, &Policy::DEFAULT) else {
            continue;
        };
        accepted += 1;
        let mut below = u64::from(verifier::elf::GUEST_START);
        for segment in program.segments() {
            assert!(segment.pages().start >= below && segment.pages().end <= 0xFFFF_0000);
            assert!(segment.bytes.len() as u64 <= u64::from(segment.memory_size));
            below = segment.pages().end;
        }
        let texts = program
            .segments()
            .iter()
            .filter(|s| s.access == Access::Execute);
        assert_eq!(texts.count(), 1);
        assert!(program.text().pages().contains(&program.entry().into()));
    }
    assert!(accepted > 1000, "mutation leaves too little: {accepted}");
}
