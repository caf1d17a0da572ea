//! What lies on the stack when a program starts: the block of the System V ABI, with 32-bit offsets
//! for pointers.
//!
//! ```text
//! rbx, rdi -> argc | argv... 0 | envp... 0 | auxv... AT_NULL | random bytes | strings | stack_end
//! ```

use crate::address::{GuestAddr, size};
use crate::error::Error;
use crate::outside::Outside;
use crate::snapshot::Snapshot;
use crate::sys::linux;

/// Most bytes of arguments and environment, as a part of the stack.
const PART_OF_STACK: usize = 4;

/// The start block and where it belongs.
pub(crate) struct StartBlock {
    pub(crate) start: GuestAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Builds the block for a fresh start; the 16 bytes of `AT_RANDOM` differ each time.
pub(crate) fn block(
    snapshot: &Snapshot,
    outside: &mut Outside,
    arguments: &[Vec<u8>],
    environment: &[Vec<u8>],
) -> Result<StartBlock, Error> {
    let layout = snapshot.layout();
    let strings: usize = arguments
        .iter()
        .chain(environment)
        .map(|text| text.len() + 1)
        .sum();
    let words = 1 + arguments.len() + 1 + environment.len() + 1;
    let max = layout.stack.size() / PART_OF_STACK;
    let estimate = strings.saturating_add(words * 8 + 512);
    let too_long = Error::ArgumentsTooLong {
        bytes: estimate,
        max,
    };
    if estimate > max {
        return Err(too_long);
    }
    // Strings from the top down, the random bytes below them, then the words, 16-byte aligned.
    let strings_start = layout.stack.end().get() - strings as u64;
    let random_start = (strings_start - 16) / 16 * 16;
    let auxiliary = auxiliary_vector(snapshot, random_start);
    let words_len = 8 * (words + auxiliary.len()) as u64;
    let start = (random_start - words_len) / 16 * 16;
    let start_address = GuestAddr::checked(start).ok_or(too_long)?;

    let mut block = Vec::with_capacity(estimate);
    let mut word = |value: u64| block.extend_from_slice(&value.to_le_bytes());
    word(arguments.len() as u64);
    let mut string = strings_start;
    for list in [arguments, environment] {
        for text in list {
            word(string);
            string += text.len() as u64 + 1;
        }
        word(0);
    }
    auxiliary.into_iter().for_each(&mut word);
    block.resize(size(random_start - start), 0);
    let mut random = [0; 16];
    outside.random(&mut random);
    block.extend_from_slice(&random);
    block.resize(size(strings_start - start), 0);
    for text in arguments.iter().chain(environment) {
        block.extend_from_slice(text);
        block.push(0);
    }
    Ok(StartBlock {
        start: start_address,
        bytes: block,
    })
}

fn auxiliary_vector(snapshot: &Snapshot, random: u64) -> Vec<u64> {
    let program = snapshot.program();
    let (headers, count) = program.headers().unwrap_or((0, 0));
    let pairs = [
        (libc::AT_PAGESZ, linux::PAGE as u64),
        (libc::AT_RANDOM, random),
        (libc::AT_PHDR, headers.into()),
        (libc::AT_PHENT, 56),
        (libc::AT_PHNUM, count.into()),
        (libc::AT_ENTRY, program.entry().into()),
        (libc::AT_UID, 0),
        (libc::AT_EUID, 0),
        (libc::AT_GID, 0),
        (libc::AT_EGID, 0),
        (libc::AT_SECURE, 0),
        (libc::AT_CLKTCK, 100),
        (libc::AT_NULL, 0),
    ];
    pairs
        .into_iter()
        .flat_map(|(kind, value)| [kind, value])
        .collect()
}
