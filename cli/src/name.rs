//! Names of files for terminals and for programs.
//!
//! A name is any bytes but `/` and NUL. On a terminal it could move the cursor or hide text, so it is escaped there; a
//! pipe or file gets the bytes as they are. In JSON a name that is not UTF-8 stands twice: once with U+FFFD in place of
//! what cannot be shown, and once, under the same key with `_hex` appended, as the hexadecimal digits of its bytes.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Map, Value};

/// A name as a terminal may show it: control characters, and characters that reorder text, are escaped.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || reorders(c) || c == '\\' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a String");
        }
    }
    text
}

/// Marks of the bidirectional algorithm: with them `gpj.exe` can look like `exe.jpg`.
fn reorders(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A name for stdout: escaped on a terminal, as it is elsewhere.
pub(crate) fn shown(bytes: &[u8], terminal: bool) -> Cow<'_, [u8]> {
    if terminal {
        Cow::Owned(escaped(bytes).into_bytes())
    } else {
        Cow::Borrowed(bytes)
    }
}

/// Puts a name into a JSON object; see the module's text.
pub(crate) fn put(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    object.insert(key.into(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{key}_hex"), hex(bytes).into());
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_reordering_characters_are_escaped_on_terminals() {
        assert_eq!(escaped(b"plain name.php"), "plain name.php");
        assert_eq!(escaped("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        assert_eq!(escaped(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(escaped("exe\u{202e}gpj".as_bytes()), "exe\\u{202e}gpj");
        assert_eq!(escaped(b"\xff\\"), "\\xff\\\\");
        assert_eq!(shown(b"\x1b", false), &b"\x1b"[..]);
    }

    #[test]
    fn names_that_are_not_utf8_keep_their_bytes_in_json() {
        let mut object = Map::new();
        put(&mut object, "path", b"ok");
        assert!(!object.contains_key("path_hex"));
        put(&mut object, "path", b"a\xff");
        assert_eq!(object["path"], "a\u{fffd}");
        assert_eq!(object["path_hex"], "61ff");
    }
}
