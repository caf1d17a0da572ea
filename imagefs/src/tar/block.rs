//! One header block, read strictly.
//!
//! ```text
//!   0 name[100]  100 mode[8]  108 uid[8]  116 gid[8]  124 size[12]  136 mtime[12]  148 checksum[8]  156 type
//! 157 link[100]  257 magic[8]
//! ustar: 345 prefix[155]        GNU: 386 sparse[4×24]  482 extended  483 real size[12]
//! ```

use super::BLOCK;
use super::error::TarError;

/// Whose extensions the block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Before POSIX: no magic.
    Old,
    /// POSIX: `ustar\0` and version 00.
    Ustar,
    /// GNU: `ustar  \0`.
    Gnu,
}

/// The fields of a header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: i64,
    pub(super) mtime: i64,
    pub(super) dialect: Dialect,
}

/// Whether the block's checksum is right. Old programs summed signed bytes; either counts.
pub(super) fn checksum_holds(block: &[u8; BLOCK]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let Some(wanted) = number(&block[CHECKSUM]) else {
        return false;
    };
    let summed = |byte_value: fn(u8) -> i64| -> i64 {
        let spaces = 8 * i64::from(b' ');
        let all: i64 = block.iter().map(|&byte| byte_value(byte)).sum();
        all - block[CHECKSUM]
            .iter()
            .map(|&byte| byte_value(byte))
            .sum::<i64>()
            + spaces
    };
    wanted == summed(i64::from) || wanted == summed(|byte| i64::from(byte.cast_signed()))
}

impl Header {
    /// Reads a block whose checksum holds.
    pub(super) fn parse(block: &[u8; BLOCK], at: u64) -> Result<Header, TarError> {
        let bad = |what| TarError::Header { at, what };
        let field = |range: std::ops::Range<usize>, what| number(&block[range]).ok_or(bad(what));
        let dialect = match &block[257..265] {
            b"ustar\x0000" => Dialect::Ustar,
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar") => return Err(bad("magic of no known format")),
            _ => Dialect::Old,
        };
        let mut name = text(&block[..100]).to_vec();
        if dialect == Dialect::Ustar && block[345] != 0 {
            name = [text(&block[345..500]), b"/", &name].concat();
        }
        let id = |range, what| {
            field(range, what).and_then(|id| u32::try_from(id).map_err(|_| bad(what)))
        };
        // Mode bits above the permissions repeat the type; some programs set them, nobody reads them.
        let mode = field(100..108, "mode is no number")? & 0o7777;
        Ok(Header {
            name,
            link: text(&block[157..257]).to_vec(),
            kind: block[156],
            mode: u32::try_from(mode).expect("twelve bits"),
            uid: id(108..116, "owner is no number of 32 bits")?,
            gid: id(116..124, "group is no number of 32 bits")?,
            size: field(124..136, "size is no number")?,
            mtime: field(136..148, "time is no number")?,
            dialect,
        })
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A numeric field: octal digits between blanks, or base-256 in two's complement when the top bit is set. `None` for
/// anything else, and for values beyond 64 bits.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // Bit 6 of the first byte is the sign.
        let start = i128::from(first & 0x3f) - i128::from(first & 0x40);
        return rest
            .iter()
            .try_fold(start, |value, &byte| {
                value.checked_mul(256)?.checked_add(i128::from(byte))
            })
            .and_then(|value| i64::try_from(value).ok());
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| *byte != b' ')
        .unwrap_or(field.len());
    let digits = field[start..]
        .iter()
        .take_while(|byte| (b'0'..=b'7').contains(byte))
        .count();
    if !field[start + digits..].iter().all(blank) {
        return None;
    }
    field[start..start + digits]
        .iter()
        .try_fold(0_i64, |value, byte| {
            value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_numbers_are_read() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(
            number(b"77777777777"),
            Some(0o77_777_777_777),
            "no terminator"
        );
        assert_eq!(number(&[0; 12]), Some(0));
        assert_eq!(number(b"        "), Some(0));
    }

    #[test]
    fn base_256_numbers_are_read() {
        assert_eq!(
            number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]),
            Some(1 << 33)
        );
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 5]), Some(5), "short field");
        assert_eq!(
            number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
            Some(-2)
        );
    }

    #[test]
    fn numbers_that_programs_read_differently_are_refused() {
        for field in [
            &b"0000648\0"[..],
            b"-000001\0",
            b"644\0 644",
            b"0x1ff\0\0\0",
            b"12 34\0\0\0",
            b"\x00000644\x00",
        ] {
            assert_eq!(number(field), None, "{}", field.escape_ascii());
        }
        let mut wide = [0; 12];
        (wide[0], wide[2]) = (0x80, 1);
        assert_eq!(
            number(&wide),
            None,
            "more than 64 bits: the low ones alone would be 0"
        );
        assert_eq!(number(b"7777777777777777777777777"), None);
    }
}
