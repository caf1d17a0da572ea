//! Whether output is what a test expects, by the rules of `run-tests.php`.

use regex::bytes::{Regex, RegexBuilder};

use super::case::{Broken, Case};

/// The largest compiled expectation; a few tests have long ones.
const REGEX_SIZE_MAX: usize = 256 << 20;

/// What PHP's `trim` takes away.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| b" \t\n\r\0\x0b".contains(byte);
    while let [first, rest @ ..] = bytes
        && blank(first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && blank(last)
    {
        bytes = rest;
    }
    bytes
}

/// Trimmed, with line ends as on Unix.
fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut plain = trim(bytes).to_vec();
    let mut at = 0;
    while let Some(found) = plain[at..].windows(2).position(|pair| pair == b"\r\n") {
        at += found;
        plain.remove(at);
    }
    plain
}

/// Whether `output` is what `case` wants.
pub(super) fn is_met(case: &Case, output: &[u8]) -> Result<bool, Broken> {
    let output = plain(output);
    if let Some(wanted) = case.sections.get("EXPECT") {
        return Ok(output == plain(wanted));
    }
    let pattern = match case.sections.get("EXPECTF") {
        Some(wanted) => from_format(&plain(wanted)),
        None => translated(&plain(&case.sections["EXPECTREGEX"])),
    };
    Ok(compile(&pattern)?.is_match(&output))
}

/// `/^...$/s` of PHP: bytes, not characters.
fn compile(pattern: &str) -> Result<Regex, Broken> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(REGEX_SIZE_MAX)
        .build()
        .map_err(|e| Broken(format!("pattern: {e}")))
}

/// Bytes as the text of a pattern.
fn latin(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii() {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// A pattern of PCRE for the engine used here: `\0` is a byte, and a brace that begins no repetition is itself.
fn translated(pattern: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = pattern;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after.first()) {
            (b'\\', Some(b'0')) if !after.get(1).is_some_and(u8::is_ascii_digit) => {
                text.push_str("\\x00");
                rest = &after[1..];
            }
            (b'\\', Some(next)) => {
                text.push('\\');
                text.push_str(&latin(&[*next]));
                rest = &after[1..];
            }
            (b'{', _) if !begins_repetition(after) => text.push_str("\\{"),
            _ => text.push_str(&latin(&[*first])),
        }
    }
    text
}

fn begins_repetition(after: &[u8]) -> bool {
    let end = after.iter().position(|b| *b == b'}');
    end.is_some_and(|end| {
        let inside = &after[..end];
        inside.first().is_some_and(u8::is_ascii_digit)
            && inside.iter().all(|b| b.is_ascii_digit() || *b == b',')
    })
}

/// The pattern that an EXPECTF section stands for; `%r` encloses parts that are patterns already.
fn from_format(wanted: &[u8]) -> String {
    let mut pattern = String::new();
    let mut rest = wanted;
    while let Some(start) = find(rest, b"%r") {
        let Some(len) = find(&rest[start + 2..], b"%r") else {
            break;
        };
        directives(&rest[..start], &mut pattern);
        pattern.push('(');
        // Directives hold inside as well, because they are replaced last.
        let inner = &rest[start + 2..start + 2 + len];
        with_directives(
            translated(inner).as_bytes(),
            &mut pattern,
            |byte, pattern| {
                pattern.push(char::from(byte));
            },
        );
        pattern.push(')');
        rest = &rest[start + 4 + len..];
    }
    // An unbalanced %r stands for itself.
    directives(rest, &mut pattern);
    pattern
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

fn directives(bytes: &[u8], pattern: &mut String) {
    with_directives(bytes, pattern, |byte, pattern| {
        let text = latin(&[byte]);
        pattern.push_str(&if byte.is_ascii() {
            regex::escape(&text)
        } else {
            text
        });
    });
}

/// Replaces `%s` and its like, and hands every other byte to `other`.
fn with_directives(bytes: &[u8], pattern: &mut String, other: impl Fn(u8, &mut String)) {
    let mut at = 0;
    while at < bytes.len() {
        let directive = (bytes[at] == b'%').then(|| bytes.get(at + 1)).flatten();
        if let Some(meaning) = directive.and_then(|letter| meaning(*letter)) {
            pattern.push_str(meaning);
            at += 2;
        } else {
            other(bytes[at], pattern);
            at += 1;
        }
    }
}

fn meaning(letter: u8) -> Option<&'static str> {
    Some(match letter {
        b'e' => "/",
        b's' => r"[^\r\n]+",
        b'S' => r"[^\r\n]*",
        b'a' => ".+",
        b'A' => ".*",
        b'w' => r"\s*",
        b'i' => r"[+-]?\d+",
        b'd' => r"\d+",
        b'x' => "[0-9a-fA-F]+",
        b'f' => r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[Ee][+-]?\d+)?",
        b'c' => ".",
        b'0' => r"\x00",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(format: &str, output: &str) -> bool {
        compile(&from_format(format.as_bytes()))
            .unwrap()
            .is_match(output.as_bytes())
    }

    #[test]
    fn formats_match_what_they_should_and_nothing_else() {
        for (format, good, bad) in [
            ("int(%d)", "int(12)", "int(-12)"),
            ("int(%i)", "int(-12)", "int(x)"),
            ("%s on line %d", "a b on line 3", " on line x"),
            ("a%Sb", "ab", "a\nb"),
            ("a%ab", "a\n\nb", "ab"),
            ("a%Ab", "ab", "ac"),
            ("%f", "-1.5E-7", "1."),
            ("%f", ".5", "."),
            ("%x%e%c", "fF/\n", "g/a"),
            ("a.b*(c)", "a.b*(c)", "axbb(c)"),
            ("%r(a|b){2}%r.%r\\d%r", "ab.7", "ab.x"),
            ("100%", "100%", "100"),
            ("%unicode", "%unicode", "unicode"),
            ("%0", "\0", "0"),
            ("a%r\\0%rb", "a\0b", "a0b"),
        ] {
            assert!(matches(format, good), "{format} {good}");
            assert!(!matches(format, bad), "{format} {bad}");
        }
        let brace = compile(&translated(br"array\(1\) {\n\[\0a]{2}\xff}\\0")).unwrap();
        assert!(brace.is_match(b"array(1) {\n[\0a]]\xff}\\0"));
        let bytes = compile(&from_format(b"\xff%c\xc3")).unwrap();
        assert!(bytes.is_match(b"\xff\xfe\xc3") && !bytes.is_match(b"\xfe\xfe\xc3"));
    }

    #[test]
    fn output_is_trimmed_as_php_trims() {
        assert_eq!(trim(b"\0\x0b a b\r\n\0"), b"a b");
        assert_eq!(plain(b" a\r\nb\r\r\nc\r"), b"a\nb\r\nc");
        assert_eq!(trim(b" \n"), b"");
    }
}
