//! Classes of bytes: `[…]`, and what `\` makes of the byte behind it.

use super::error::PatternError;
use super::tree::Set;

/// The set of `\d`, `\w`, `\s`, `\h`, `\v` and their opposites.
pub(super) fn escaped_set(byte: u8) -> Option<Set> {
    let set = match byte.to_ascii_lowercase() {
        b'd' => Set::of(b'0'..=b'9'),
        b'w' => word(),
        b's' => Set::of([b' ', b'\t', b'\n', 0x0b, 0x0c, b'\r']),
        b'h' => Set::of([b' ', b'\t', 0xa0]),
        b'v' => Set::of([b'\n', 0x0b, 0x0c, b'\r', 0x85]),
        _ => return None,
    };
    Some(if byte.is_ascii_uppercase() {
        set.inverted()
    } else {
        set
    })
}

fn word() -> Set {
    Set::of((0..=u8::MAX).filter(|b| b.is_ascii_alphanumeric() || *b == b'_'))
}

/// The byte that an escape stands for, and how long the escape is without its `\`.
pub(super) fn escaped_byte(rest: &[u8]) -> Result<(u8, usize), PatternError> {
    let &byte = rest.first().ok_or(PatternError::Syntax("\\ at the end"))?;
    Ok(match byte {
        b'a' => (0x07, 1),
        b'e' => (0x1b, 1),
        b'f' => (0x0c, 1),
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'c' => {
            let &control = rest.get(1).ok_or(PatternError::Syntax("\\c at the end"))?;
            (control.to_ascii_uppercase() ^ 0x40, 2)
        }
        b'x' => hexadecimal(&rest[1..])?,
        b'o' if rest.get(1) == Some(&b'{') => {
            let (digits, used) = braced(&rest[1..])?;
            (value(digits, 8)?, used + 1)
        }
        b'0'..=b'7' => {
            let is_octal = |b: &&u8| (b'0'..=b'7').contains(*b);
            let digits = rest.iter().take(3).take_while(is_octal).count();
            (value(&rest[..digits], 8)?, digits)
        }
        _ if byte.is_ascii_alphanumeric() => {
            return Err(PatternError::Syntax("unknown letter or digit after \\"));
        }
        _ => (byte, 1),
    })
}

fn hexadecimal(rest: &[u8]) -> Result<(u8, usize), PatternError> {
    if rest.first() == Some(&b'{') {
        let (digits, used) = braced(rest)?;
        return Ok((value(digits, 16)?, used + 1));
    }
    let digits = rest
        .iter()
        .take(2)
        .take_while(|b| b.is_ascii_hexdigit())
        .count();
    Ok((value(&rest[..digits], 16)?, digits + 1))
}

fn braced(rest: &[u8]) -> Result<(&[u8], usize), PatternError> {
    let end = rest.iter().position(|&b| b == b'}');
    let end = end.ok_or(PatternError::Syntax("missing }"))?;
    Ok((&rest[1..end], end + 1))
}

fn value(digits: &[u8], radix: u32) -> Result<u8, PatternError> {
    let mut value: u32 = 0;
    for &digit in digits {
        let digit = char::from(digit).to_digit(radix);
        let digit = digit.ok_or(PatternError::Syntax("not a digit of this number"))?;
        value = value.saturating_mul(radix).saturating_add(digit);
    }
    u8::try_from(value).map_err(|_| PatternError::Syntax("a number above 255"))
}

/// A member of a class.
enum Member {
    Byte(u8),
    Set(Set),
}

/// Reads a class behind its `[`. Gives its set and how many bytes were read, `]` included.
pub(super) fn parse(text: &[u8], any_case: bool) -> Result<(Set, usize), PatternError> {
    let negative = text.first() == Some(&b'^');
    let mut at = usize::from(negative);
    let mut set = Set::default();
    let mut first = true;
    loop {
        let &byte = text.get(at).ok_or(PatternError::Syntax("missing ]"))?;
        if byte == b']' && !first {
            at += 1;
            break;
        }
        first = false;
        if text[at..].starts_with(br"\E") {
            at += 2;
            continue;
        }
        if text[at..].starts_with(br"\Q") {
            let rest = &text[at + 2..];
            let end = rest.windows(2).position(|pair| pair == br"\E");
            let end = end.ok_or(PatternError::Syntax("missing ]"))?;
            set.union(&Set::of(rest[..end].iter().copied()));
            at += 2 + end + 2;
            continue;
        }
        let (member, used) = member(&text[at..])?;
        at += used;
        let start = match member {
            Member::Set(other) => {
                set.union(&other);
                continue;
            }
            Member::Byte(byte) => byte,
        };
        let is_range = text.get(at) == Some(&b'-') && text.get(at + 1).is_some_and(|&b| b != b']');
        if !is_range {
            set.insert(start);
            continue;
        }
        let (end, used) = self::member(&text[at + 1..])?;
        match end {
            Member::Byte(end) if end < start => {
                return Err(PatternError::Syntax("range out of order in a class"));
            }
            Member::Byte(end) => {
                set.union(&Set::of(start..=end));
                at += 1 + used;
            }
            // `[a-\d]`: the hyphen stands for itself.
            Member::Set(_) => set.insert(start),
        }
    }
    if any_case {
        set = set.any_case();
    }
    Ok((if negative { set.inverted() } else { set }, at))
}

fn member(text: &[u8]) -> Result<(Member, usize), PatternError> {
    let &byte = text.first().ok_or(PatternError::Syntax("missing ]"))?;
    if byte == b'['
        && text.get(1) == Some(&b':')
        && let Some(found) = named(text)?
    {
        return Ok(found);
    }
    if byte != b'\\' {
        return Ok((Member::Byte(byte), 1));
    }
    let rest = &text[1..];
    match rest.first() {
        Some(b'b') => Ok((Member::Byte(0x08), 2)),
        Some(&b) if escaped_set(b).is_some() => {
            Ok((Member::Set(escaped_set(b).expect("just seen")), 2))
        }
        Some(b'p' | b'P') => Err(PatternError::Unsupported("\\p in a class")),
        _ => {
            let (byte, used) = escaped_byte(rest)?;
            Ok((Member::Byte(byte), used + 1))
        }
    }
}

/// `[:alpha:]`; `None` when it only looks like one.
fn named(text: &[u8]) -> Result<Option<(Member, usize)>, PatternError> {
    let rest = &text[2..];
    let Some(end) = rest.windows(2).position(|pair| pair == b":]") else {
        return Ok(None);
    };
    let (negative, name) = match rest[..end].strip_prefix(b"^") {
        Some(name) => (true, name),
        None => (false, &rest[..end]),
    };
    if !name.iter().all(u8::is_ascii_lowercase) {
        return Ok(None);
    }
    let is: fn(&u8) -> bool = match name {
        b"alpha" => u8::is_ascii_alphabetic,
        b"digit" => u8::is_ascii_digit,
        b"alnum" => u8::is_ascii_alphanumeric,
        b"upper" => u8::is_ascii_uppercase,
        b"lower" => u8::is_ascii_lowercase,
        b"punct" => u8::is_ascii_punctuation,
        b"xdigit" => u8::is_ascii_hexdigit,
        b"cntrl" => u8::is_ascii_control,
        b"graph" => u8::is_ascii_graphic,
        b"print" => |b| b.is_ascii_graphic() || *b == b' ',
        b"space" => |b| crate::text::is_space(*b),
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"ascii" => u8::is_ascii,
        b"word" => |b| b.is_ascii_alphanumeric() || *b == b'_',
        _ => return Err(PatternError::Syntax("unknown class name")),
    };
    let set = Set::of((0..=u8::MAX).filter(|b| is(b) != negative));
    Ok(Some((Member::Set(set), end + 4)))
}
