//! Bytes as Apache reads them: words of a line, numbers, white space.

/// White space of C's locale.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Without white space at either end.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|&b| !is_space(b))
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|&b| !is_space(b))
        .map_or(start, |at| at + 1);
    &text[start..end]
}

/// As a message shows it.
pub(crate) fn show(text: &[u8]) -> String {
    const SHOWN_MAX: usize = 120;
    let shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN_MAX)]);
    let mut shown = shown.replace(|c: char| c.is_control(), "\u{fffd}");
    if text.len() > SHOWN_MAX {
        shown.push('…');
    }
    shown
}

/// C's `atoi`: white space, a sign, digits; anything else ends it. Saturates.
pub(crate) fn number(text: &[u8]) -> i64 {
    let text = &text[text.iter().take_while(|&&b| is_space(b)).count()..];
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut value: i64 = 0;
    for &digit in digits.iter().take_while(|b| b.is_ascii_digit()) {
        value = value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
    }
    if negative { -value } else { value }
}

/// The words of a line: separated by white space, quoted by `"` or `'`, `\` before a quote or another `\`.
#[derive(Clone, Debug)]
pub(crate) struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Words<'a> {
        Words { rest: line }
    }

    /// What follows the words taken so far.
    pub(crate) fn rest(&self) -> &'a [u8] {
        let spaces = self.rest.iter().take_while(|&&b| is_space(b)).count();
        &self.rest[spaces..]
    }

    /// All words that are left.
    pub(crate) fn all(self) -> Vec<Vec<u8>> {
        self.collect()
    }
}

impl Iterator for Words<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let text = self.rest();
        let quote = match text.first()? {
            quote @ (b'"' | b'\'') => Some(*quote),
            _ => None,
        };
        let body = &text[usize::from(quote.is_some())..];
        let mut word = Vec::new();
        let mut at = 0;
        while let Some(&byte) = body.get(at) {
            let next = body.get(at + 1).copied();
            let escapes = byte == b'\\' && next.is_some_and(|n| n == b'\\' || Some(n) == quote);
            let ends = match quote {
                Some(quote) => byte == quote,
                None => is_space(byte),
            };
            if ends {
                break;
            }
            if escapes {
                at += 1;
            }
            word.push(body[at]);
            at += 1;
        }
        let closing = usize::from(quote.is_some() && at < body.len());
        self.rest = &body[at + closing..];
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_apache_does() {
        for (line, words) in [
            ("a b  c", vec!["a", "b", "c"]),
            (r#"set X "a b" 'c d'"#, vec!["set", "X", "a b", "c d"]),
            (r#""a\"b" c\\d e\f"#, vec![r#"a"b"#, r"c\d", r"e\f"]),
            (r#""open end"#, vec!["open end"]),
            (r#"a"b c"#, vec!["a\"b", "c"]),
            (r#""" x"#, vec!["", "x"]),
            ("   ", vec![]),
        ] {
            let found: Vec<String> = Words::new(line.as_bytes())
                .map(|w| String::from_utf8(w).unwrap())
                .collect();
            assert_eq!(found, words, "{line}");
        }
    }

    #[test]
    fn numbers_end_where_digits_do() {
        for (text, value) in [("12x", 12), (" -3", -3), ("x", 0), ("+7", 7), ("", 0)] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
        assert_eq!(number(&[b'9'; 100]), i64::MAX);
    }
}
