//! One address in place of another, in text and in what PHP's `serialize()` has written: there each string carries its length,
//! and may hold serialised data itself.

/// Serialised data within strings of serialised data is looked into so many times.
const NESTED_MAX: usize = 16;

/// What is replaced, and by what.
#[derive(Debug)]
pub(crate) struct Replacement {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Replacement {
    /// One address of a site by another, plain and as JSON writes it.
    pub(crate) fn new(old: &str, new: &str) -> Replacement {
        let escaped = |url: &str| url.replace('/', "\\/").into_bytes();
        Replacement {
            pairs: vec![
                (old.as_bytes().to_vec(), new.as_bytes().to_vec()),
                (escaped(old), escaped(new)),
            ],
        }
    }

    /// What to look for in a database.
    pub(crate) fn needles(&self) -> impl Iterator<Item = &[u8]> {
        self.pairs.iter().map(|(old, _)| &old[..])
    }

    /// The value with everything replaced, and how often; `None` when nothing is.
    pub(crate) fn apply(&self, value: &[u8]) -> Option<(Vec<u8>, u64)> {
        let mut count = 0;
        let new = self.value(value, NESTED_MAX, &mut count);
        (count > 0).then_some((new, count))
    }

    fn value(&self, value: &[u8], nested: usize, count: &mut u64) -> Vec<u8> {
        let before = *count;
        if nested > 0
            && let Some(new) = self.serialized(value, nested, count)
        {
            return new;
        }
        *count = before;
        self.text(value, count)
    }

    fn text(&self, text: &[u8], count: &mut u64) -> Vec<u8> {
        let mut text = text.to_vec();
        for (old, new) in &self.pairs {
            let mut replaced = Vec::with_capacity(text.len());
            let mut rest = &text[..];
            while let Some(at) = memchr::memmem::find(rest, old) {
                let (before, behind) = (&rest[..at], &rest[at + old.len()..]);
                replaced.extend_from_slice(before);
                if is_whole(behind) {
                    replaced.extend_from_slice(new);
                    *count += 1;
                } else {
                    replaced.extend_from_slice(old);
                }
                rest = behind;
            }
            replaced.extend_from_slice(rest);
            text = replaced;
        }
        text
    }

    /// `None` when it is no serialised value from one end to the other.
    fn serialized(&self, data: &[u8], nested: usize, count: &mut u64) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(data.len());
        let mut open = 0_usize;
        let mut rest = data;
        loop {
            let (&kind, behind) = rest.split_first()?;
            match kind {
                b'}' => {
                    open = open.checked_sub(1)?;
                    out.push(b'}');
                    rest = behind;
                }
                b'N' => rest = copy(&mut out, rest, 1, b";")?,
                b'b' | b'i' | b'd' | b'r' | b'R' => {
                    let end = memchr::memchr(b';', rest)?;
                    let is_number = |b: &u8| b.is_ascii_digit() || b"+-.EINFA".contains(b);
                    if behind.first() != Some(&b':') || !rest[2..end].iter().all(is_number) {
                        return None;
                    }
                    rest = copy(&mut out, rest, end, b";")?;
                }
                b'a' => {
                    let (_, behind) = number(behind.strip_prefix(b":")?)?;
                    rest = copy(&mut out, rest, rest.len() - behind.len(), b":{")?;
                    open += 1;
                }
                b's' | b'E' => {
                    let (text, behind) = string(behind)?;
                    let new = match kind {
                        b's' => self.value(text, nested - 1, count),
                        _ => text.to_vec(),
                    };
                    write_string(&mut out, kind, &new);
                    rest = copy(&mut out, behind, 0, b";")?;
                }
                b'O' => {
                    let (class, behind) = string(behind)?;
                    let (members, behind) = number(behind.strip_prefix(b":")?)?;
                    write_string(&mut out, b'O', class);
                    out.extend_from_slice(format!(":{members}").as_bytes());
                    rest = copy(&mut out, behind, 0, b":{")?;
                    open += 1;
                }
                b'C' => {
                    let (class, behind) = string(behind)?;
                    let (len, behind) = number(behind.strip_prefix(b":")?)?;
                    let behind = behind.strip_prefix(b":{")?;
                    let (own, behind) = behind.split_at_checked(len)?;
                    // A class's own form may hold lengths that nobody knows.
                    write_string(&mut out, b'C', class);
                    out.extend_from_slice(format!(":{len}:{{").as_bytes());
                    out.extend_from_slice(own);
                    rest = copy(&mut out, behind, 0, b"}")?;
                }
                _ => return None,
            }
            if open == 0 {
                return rest.is_empty().then_some(out);
            }
        }
    }
}

/// Whether an address ends here, and is not the beginning of another host's.
fn is_whole(behind: &[u8]) -> bool {
    match behind {
        [b'.' | b':', next, ..] => !next.is_ascii_alphanumeric(),
        [next, ..] => !next.is_ascii_alphanumeric() && *next != b'-' && *next != b'_',
        [] => true,
    }
}

/// Copies so many bytes and what must follow them.
fn copy<'a>(out: &mut Vec<u8>, rest: &'a [u8], len: usize, end: &[u8]) -> Option<&'a [u8]> {
    let (text, behind) = rest.split_at_checked(len)?;
    out.extend_from_slice(text);
    out.extend_from_slice(end);
    behind.strip_prefix(end)
}

fn number(text: &[u8]) -> Option<(usize, &[u8])> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    Some((number, &text[len..]))
}

/// `:5:"hello"`
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, behind) = number(text.strip_prefix(b":")?)?;
    let (text, behind) = behind.strip_prefix(b":\"")?.split_at_checked(len)?;
    Some((text, behind.strip_prefix(b"\"")?))
}

fn write_string(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(format!(":{}:\"", text.len()).as_bytes());
    out.extend_from_slice(text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(value: &str) -> Option<String> {
        let replacement = Replacement::new("http://old.example", "https://new.example/blog");
        let (new, count) = replacement.apply(value.as_bytes())?;
        assert!(count > 0);
        Some(String::from_utf8(new).unwrap())
    }

    #[test]
    fn addresses_in_text_are_replaced_and_longer_names_are_not() {
        assert_eq!(
            replaced("a http://old.example/x, http://old.example. <http:\\/\\/old.example\\/>")
                .unwrap(),
            "a https://new.example/blog/x, https://new.example/blog. <https:\\/\\/new.example\\/blog\\/>"
        );
        for other in [
            "http://old.example.org/",
            "http://old.examples",
            "http://old.example:81/",
            "nothing",
        ] {
            assert_eq!(replaced(other), None, "{other}");
        }
    }

    #[test]
    fn lengths_in_serialised_data_stay_right() {
        assert_eq!(
            replaced("a:3:{s:1:\"u\";s:18:\"http://old.example\";i:3;O:8:\"stdClass\":1:{s:1:\"h\";s:21:\"http://old.example/\u{e9}\";}i:4;a:0:{}}").unwrap(),
            "a:3:{s:1:\"u\";s:24:\"https://new.example/blog\";i:3;O:8:\"stdClass\":1:{s:1:\"h\";s:27:\"https://new.example/blog/\u{e9}\";}i:4;a:0:{}}"
        );
        assert_eq!(replaced("a:1:{i:0;d:-1.5E+25;}"), None);
    }

    #[test]
    fn what_has_a_wrong_length_is_text() {
        assert_eq!(
            replaced("s:17:\"http://old.example\";").unwrap(),
            "s:17:\"https://new.example/blog\";"
        );
    }

    #[test]
    fn serialised_data_in_a_string_of_serialised_data() {
        let inner = "a:1:{i:0;s:18:\"http://old.example\";}";
        let outer = format!("a:2:{{i:0;s:{}:\"{inner}\";i:1;N;}}", inner.len());
        let new = "a:1:{i:0;s:24:\"https://new.example/blog\";}";
        assert_eq!(
            replaced(&outer).unwrap(),
            format!("a:2:{{i:0;s:{}:\"{new}\";i:1;N;}}", new.len())
        );
    }

    #[test]
    fn nothing_that_is_nested_without_end_is_followed() {
        let deep = format!(
            "{}s:18:\"http://old.example\";{}",
            "a:1:{i:0;".repeat(100_000),
            "}".repeat(100_000)
        );
        assert!(replaced(&deep).unwrap().contains("s:24:"));
        let mut strings = "s:18:\"http://old.example\";".to_owned();
        for _ in 0..40 {
            strings = format!("s:{}:\"{strings}\";", strings.len());
        }
        assert!(
            replaced(&strings)
                .unwrap()
                .contains("https://new.example/blog")
        );
    }

    #[test]
    fn damaged_data_never_does_worse_than_text() {
        let whole = "a:2:{s:1:\"u\";s:18:\"http://old.example\";C:1:\"X\":3:{abc}O:1:\"A\":1:{i:1;b:1;}r:1;}";
        for at in 0..whole.len() {
            let _ = replaced(&whole[..at]);
            for byte in 0..128_u8 {
                let mut damaged = whole.as_bytes().to_vec();
                damaged[at] = byte;
                let _ = Replacement::new("http://old.example", "x").apply(&damaged);
            }
        }
    }
}
