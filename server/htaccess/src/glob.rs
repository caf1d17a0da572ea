//! Shell patterns: `<Files "*.inc">`, `-strmatch`.

/// How `*`, `?` and `[…]` read a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// None of them takes a `/`.
    pub(crate) paths: bool,
    /// Letters match in either case.
    pub(crate) any_case: bool,
}

/// Whether a text has characters that make it a pattern.
pub(crate) fn is_pattern(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'*' | b'?' => return true,
            b'[' if text[at..].contains(&b']') => return true,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    false
}

/// Whether a pattern fits a whole name. Takes time in proportion to the product of both lengths at most: only the last
/// `*` is ever tried again.
pub(crate) fn matches(pattern: &[u8], name: &[u8], style: Style) -> bool {
    let (mut at, mut pos) = (0, 0);
    // Where to go on when the last star takes one more byte.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, pos));
            continue;
        }
        if at == pattern.len() && pos == name.len() {
            return true;
        }
        match one(&pattern[at..], name.get(pos).copied(), style) {
            Some(used) => {
                at += used;
                pos += 1;
            }
            None => {
                let Some((after, taken)) = star else {
                    return false;
                };
                match name.get(taken) {
                    None => return false,
                    Some(b'/') if style.paths => return false,
                    Some(_) => {}
                }
                star = Some((after, taken + 1));
                (at, pos) = (after, taken + 1);
            }
        }
    }
}

/// Matches one byte; gives the length of the pattern it used.
fn one(pattern: &[u8], byte: Option<u8>, style: Style) -> Option<usize> {
    let byte = byte?;
    let same = |wanted: u8| match style.any_case {
        true => wanted.eq_ignore_ascii_case(&byte),
        false => wanted == byte,
    };
    match *pattern.first()? {
        b'?' => (byte != b'/' || !style.paths).then_some(1),
        b'[' if byte != b'/' || !style.paths => match class(pattern, byte, style) {
            Some((true, used)) => Some(used),
            Some((false, _)) => None,
            None => same(b'[').then_some(1),
        },
        b'\\' if pattern.len() > 1 => same(pattern[1]).then_some(2),
        wanted => same(wanted).then_some(1),
    }
}

/// `[a-z]`: whether a byte is in it, and its length. `None` without a closing bracket.
fn class(pattern: &[u8], byte: u8, style: Style) -> Option<(bool, usize)> {
    let negative = matches!(pattern.get(1), Some(b'!' | b'^'));
    let mut at = 1 + usize::from(negative);
    let start = at;
    let mut found = false;
    let fold = |b: u8| match style.any_case {
        true => b.to_ascii_lowercase(),
        false => b,
    };
    loop {
        let mut first = *pattern.get(at)?;
        if first == b']' && at > start {
            return Some((found != negative, at + 1));
        }
        if first == b'\\' {
            at += 1;
            first = *pattern.get(at)?;
        }
        at += 1;
        let mut last = first;
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|&b| b != b']') {
            last = pattern[at + 1];
            at += 2;
            if last == b'\\' {
                last = *pattern.get(at)?;
                at += 1;
            }
        }
        found |= (fold(first)..=fold(last)).contains(&fold(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_fnmatch_does() {
        for (pattern, name, fits) in [
            ("*.inc", "a.inc", true),
            ("*.inc", "a.inc.php", false),
            ("*.ph?", "x.php", true),
            (".ht*", ".htaccess", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("*", "", true),
            ("[", "[", true),
            ("A", "a", false),
        ] {
            let found = matches(pattern.as_bytes(), name.as_bytes(), Style::default());
            assert_eq!(found, fits, "{pattern} on {name}");
        }
        let paths = Style {
            paths: true,
            ..Style::default()
        };
        assert!(!matches(b"*x", b"a/x", paths));
        assert!(matches(b"*x", b"a/x", Style::default()));
        let any_case = Style {
            any_case: true,
            ..Style::default()
        };
        assert!(matches(b"[A-C]*.PHP", b"b1.php", any_case));
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = b"*a".repeat(2000);
        let name = b"a".repeat(8000);
        let start = std::time::Instant::now();
        assert!(!matches(
            &[&pattern[..], b"b"].concat(),
            &name,
            Style::default()
        ));
        assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
    }
}
