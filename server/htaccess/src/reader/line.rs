//! Lines of a file: continuations joined, comments left out, the directive's name taken off.

use crate::limits::{LINE_BYTES_MAX, LoadError};
use crate::text::{Words, trim};

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1; the first of those that were joined.
    pub(super) number: u32,
    /// In lower case; a section's begins with `<` and has no `>`.
    pub(super) name: Vec<u8>,
    /// The name as it stands there.
    pub(super) shown: Vec<u8>,
    pub(super) arguments: Vec<u8>,
}

/// Splits a file.
pub(super) fn lines(bytes: &[u8], file: &str) -> Result<Vec<Line>, LoadError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    let mut joined: Vec<u8> = Vec::new();
    let mut first = 1;
    let mut number = 0_u32;
    let mut physical = bytes.split(|&b| b == b'\n').peekable();
    while let Some(text) = physical.next() {
        number = number.saturating_add(1);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let is_last = physical.peek().is_none();
        let (text, goes_on) = match text.strip_suffix(b"\\") {
            Some(text) if !is_last => (text, true),
            _ => (text, false),
        };
        joined.extend_from_slice(text);
        if joined.len() > LINE_BYTES_MAX {
            return Err(LoadError::Limit {
                file: file.to_owned(),
                what: "bytes in a line",
                max: LINE_BYTES_MAX,
            });
        }
        if !goes_on {
            lines.extend(line(trim(&joined), first));
            joined.clear();
            first = number.saturating_add(1);
        }
    }
    Ok(lines)
}

fn line(text: &[u8], number: u32) -> Option<Line> {
    if text.is_empty() || text.starts_with(b"#") {
        return None;
    }
    let mut words = Words::new(text);
    let shown = words.next()?;
    let mut name = shown.to_ascii_lowercase();
    let mut arguments = words.rest().to_vec();
    if name.get(1) != Some(&b'/') {
        if name.ends_with(b">") {
            name.pop();
        }
        if name.starts_with(b"<") && arguments.is_empty() {
            arguments = b">".to_vec();
        }
    }
    Some(Line {
        number,
        name,
        shown,
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(u32, String, String)> {
        let found = lines(text.as_bytes(), "f").unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        found
            .iter()
            .map(|l| (l.number, text(&l.name), text(&l.arguments)))
            .collect()
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "\u{feff}# c\r\n\n  Options -Indexes  \r\nRewriteRule a \\\n  b\n# x \\\nDeny from all\n<Files a>\n</Files>\n<RequireAll>\n";
        let expected = [
            (3, "options", "-Indexes"),
            (4, "rewriterule", "a   b"),
            (8, "<files", "a>"),
            (9, "</files>", ""),
            (10, "<requireall", ">"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, name, arguments)| (*n, (*name).to_owned(), (*arguments).to_owned()))
            .collect();
        assert_eq!(split(text), expected);
    }

    #[test]
    fn a_line_may_be_so_long_and_no_longer() {
        let longest = [b"A ".to_vec(), vec![b'x'; LINE_BYTES_MAX - 2]].concat();
        assert_eq!(lines(&longest, "f").unwrap().len(), 1);
        let longer = [longest, b"x".to_vec()].concat();
        let error = lines(&longer, "f").unwrap_err();
        assert_eq!(error.to_string(), "f: more than 65536 bytes in a line");
    }
}
