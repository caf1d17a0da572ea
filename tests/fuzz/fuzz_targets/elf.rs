//! Any bytes as a guest program. Invariants:
//! - reading and verifying end in a program or a typed error, without panic;
//! - what is accepted has one text of whole pages, its entry inside, and segments in rising order
//!   that share no page and leave the thread area and both zones of the slot alone;
//! - thread-local storage lies in a loaded segment and fits below the thread pointer.
//!
//! Half of the inputs are put into the headers of a good program, so that the checks behind the
//! magic number are reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verifier::elf::{Access, GUEST_START, Program, TLS_MAX};
use verifier::{Policy, verify_program};

fuzz_target!(|input: &[u8]| {
    check(input);
    let mut program = good();
    for change in input.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (64 + 56 * 4);
        program[at] = change[2];
    }
    check(&program);
});

fn check(bytes: &[u8]) {
    let _ = verify_program(bytes, &Policy::DEFAULT);
    let Ok(program) = Program::parse(bytes) else {
        return;
    };
    let mut below = u64::from(GUEST_START);
    for segment in program.segments() {
        let pages = segment.pages();
        assert!(pages.start >= below && pages.end <= (1 << 32) - 0x1_0000);
        assert!(segment.bytes.len() as u64 <= u64::from(segment.memory_size));
        below = pages.end;
    }
    let text = program.text();
    let texts = program
        .segments()
        .iter()
        .filter(|s| s.access == Access::Execute)
        .count();
    assert_eq!((texts, text.bytes.len() % 4096), (1, 0));
    assert_eq!(text.bytes.len() as u64, u64::from(text.memory_size));
    assert!(text.pages().contains(&u64::from(program.entry())));
    if let Some(tls) = program.tls() {
        assert!(tls.memory_size <= TLS_MAX && tls.bytes.len() as u64 <= u64::from(tls.memory_size));
        assert!(tls.align.is_power_of_two());
    }
}

/// A program with text, data and thread-local storage.
fn good() -> Vec<u8> {
    let mut file = vec![0; 0x3000];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x7F, b'E', b'L', b'F', 2, 1, 1]);
    put(16, &[2, 0, 62, 0, 1]);
    put(24, &0x2_0000_u64.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(52, &[64, 0, 56, 0, 4]);
    let headers: [(u32, u32, [u64; 6]); 4] = [
        (1, 5, [0x1000, 0x2_0000, 0x2_0000, 0x1000, 0x1000, 0x1000]),
        (1, 6, [0x2000, 0x3_0000, 0x3_0000, 0x800, 0x2345, 0x1000]),
        (7, 4, [0x2000, 0x3_0000, 0x3_0000, 0x20, 0x40, 16]),
        (0x6474_E551, 6, [0, 0, 0, 0, 0, 16]),
    ];
    for (number, (kind, flags, fields)) in headers.into_iter().enumerate() {
        let at = 64 + number * 56;
        put(at, &kind.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        for (field, value) in fields.into_iter().enumerate() {
            put(at + 8 + field * 8, &value.to_le_bytes());
        }
    }
    put(0x1000, &[0xCC; 0x1000]);
    file
}
