//! The last step of a link: padding is merged into long NOPs, then the verifier reads the program.
//!
//! The assembler keeps instructions inside bundles by putting runs of one-byte NOPs in front of them; decoding those costs
//! up to six percent of a program's time. Here each run becomes one or two long NOPs. Nothing moves, and no NOP spans a
//! place where control can arrive: a branch target or a bundle start.

use std::path::Path;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind};
use verifier::{Policy, verify_program};

use crate::error::Error;

/// Bytes in a bundle.
const BUNDLE: usize = 32;

/// The recommended NOPs by length (Intel SDM volume 2B, NOP; up to two 66 prefixes more), the only ones the verifier
/// knows.
const NOPS: [&[u8]; 11] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0F, 0x1F, 0x00],
    &[0x0F, 0x1F, 0x40, 0x00],
    &[0x0F, 0x1F, 0x44, 0x00, 0x00],
    &[0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00],
    &[0x0F, 0x1F, 0x80, 0, 0, 0, 0],
    &[0x0F, 0x1F, 0x84, 0x00, 0, 0, 0, 0],
    &[0x66, 0x0F, 0x1F, 0x84, 0x00, 0, 0, 0, 0],
    &[0x66, 0x2E, 0x0F, 0x1F, 0x84, 0x00, 0, 0, 0, 0],
    &[0x66, 0x66, 0x2E, 0x0F, 0x1F, 0x84, 0x00, 0, 0, 0, 0],
];

/// Reads the linked file, merges padding, lets the verifier judge it, and writes the program under its name at once.
pub(crate) fn finish(linked: &Path, output: &Path) -> Result<(), Error> {
    let mut file = std::fs::read(linked).map_err(Error::io(linked))?;
    let refuse = |what: String| Error::Link {
        path: output.to_owned(),
        what,
    };
    show_headers(&mut file).ok_or_else(|| refuse("no room for its program headers".into()))?;
    let (offset, address, length) =
        segment(&file, |flags| flags & 1 != 0).ok_or_else(|| refuse("no text segment".into()))?;
    let text = file
        .get_mut(offset..offset + length)
        .ok_or_else(|| refuse("text is cut off".into()))?;
    merge_nops(text, u64::try_from(address).unwrap_or(0));
    verify_program(&file, &Policy::DEFAULT).map_err(|error| refuse(error.to_string()))?;
    write_executable(&file, output)
}

fn write_executable(bytes: &[u8], output: &Path) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    if std::fs::metadata(output).is_ok_and(|meta| meta.file_type().is_char_device()) {
        // `-o /dev/null`, as configure scripts do.
        return std::fs::write(output, bytes).map_err(Error::io(output));
    }
    let folder = output
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io(folder))?;
    file.write_all(bytes).map_err(Error::io(output))?;
    let mode = 0o777 & !rustix::process::umask(rustix::fs::Mode::empty()).bits();
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o777 & !mode));
    file.as_file()
        .set_permissions(PermissionsExt::from_mode(mode))
        .map_err(Error::io(output))?;
    file.persist(output)
        .map_err(|error| Error::io(output)(error.error))?;
    Ok(())
}

/// Bytes the linker script keeps free for the program headers at the start of the read-only data.
const HEADERS_ROOM: usize = 224;

/// Moves the program headers to where the guest can read them: the libc finds its thread-local data by them.
fn show_headers(file: &mut [u8]) -> Option<()> {
    let table = number(file, 32, 8)?;
    let length = number(file, 56, 2)? * 56;
    let place = segment(file, |flags| flags == 4)?.0;
    if length > HEADERS_ROOM
        || file
            .get(place..place + length)?
            .iter()
            .any(|&byte| byte != 0)
    {
        return None;
    }
    file.copy_within(table..table + length, place);
    let place = u64::try_from(place).ok()?;
    file.get_mut(32..40)?.copy_from_slice(&place.to_le_bytes());
    Some(())
}

/// A little-endian number in the file.
fn number(file: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = file.get(at..at + length)?;
    let value = bytes
        .iter()
        .rev()
        .fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    usize::try_from(value).ok()
}

/// File offset, address and length of the first loaded segment with flags that `wanted` accepts.
fn segment(file: &[u8], wanted: impl Fn(usize) -> bool) -> Option<(usize, usize, usize)> {
    let table = number(file, 32, 8)?;
    let count = number(file, 56, 2)?;
    (0..count)
        .map(|index| table + index * 56)
        .find_map(|header| {
            let loaded = number(file, header, 4)? == 1 && wanted(number(file, header + 4, 4)?);
            loaded.then_some(())?;
            Some((
                number(file, header + 8, 8)?,
                number(file, header + 16, 8)?,
                number(file, header + 32, 8)?,
            ))
        })
}

/// Replaces each run of NOPs by as few as possible.
pub fn merge_nops(text: &mut [u8], address: u64) {
    let (targets, mut runs) = scan(text, address);
    for run in &mut runs {
        let mut start = run.start;
        while start < run.end {
            let bundle_end = (start / BUNDLE + 1) * BUNDLE;
            let limit = run.end.min(bundle_end);
            let end = (start + 1..limit).find(|&at| targets[at]).unwrap_or(limit);
            fill(&mut text[start..end]);
            start = end;
        }
    }
}

/// Where branches go, and where NOPs stand.
fn scan(text: &[u8], address: u64) -> (Vec<bool>, Vec<std::ops::Range<usize>>) {
    let mut targets = vec![false; text.len()];
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let mut decoder = Decoder::with_ip(64, text, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        let start = decoder.position();
        decoder.decode_out(&mut instruction);
        let end = decoder.position();
        if is_nop(instruction.code()) {
            match runs.last_mut().filter(|run| run.end == start) {
                Some(run) => run.end = end,
                None => runs.push(start..end),
            }
        } else if instruction.op_count() > 0 && instruction.op_kind(0) == OpKind::NearBranch64 {
            let target = instruction.near_branch_target().wrapping_sub(address);
            if let Some(mark) = usize::try_from(target)
                .ok()
                .and_then(|at| targets.get_mut(at))
            {
                *mark = true;
            }
        }
    }
    (targets, runs)
}

fn is_nop(code: Code) -> bool {
    matches!(
        code,
        Code::Nopd | Code::Nopw | Code::Nopq | Code::Nop_rm16 | Code::Nop_rm32 | Code::Nop_rm64
    )
}

fn fill(mut gap: &mut [u8]) {
    while !gap.is_empty() {
        let length = gap.len().min(NOPS.len());
        let (nop, rest) = gap.split_at_mut(length);
        nop.copy_from_slice(NOPS[length - 1]);
        gap = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_becomes_long_nops_that_respect_targets_and_bundles() {
        let mut text = vec![0x90; 64];
        // jmp to offset 7; ret at the end.
        text[..2].copy_from_slice(&[0xEB, 5]);
        text[63] = 0xC3;
        merge_nops(&mut text, 0x2_0000);
        assert_eq!(&text[2..7], NOPS[4]);
        assert_eq!(&text[7..18], NOPS[10]);
        assert_eq!(&text[29..32], NOPS[2]);
        assert_eq!(&text[32..43], NOPS[10]);
        assert_eq!(text[63], 0xC3);
    }

    #[test]
    fn other_instructions_stay_as_they_are() {
        let mut text = vec![0x48, 0x01, 0xC8, 0x90, 0x90, 0x66, 0x90, 0xF3, 0x90, 0xC3];
        merge_nops(&mut text, 0);
        assert_eq!(
            text,
            [0x48, 0x01, 0xC8, 0x0F, 0x1F, 0x40, 0x00, 0xF3, 0x90, 0xC3]
        );
    }
}
