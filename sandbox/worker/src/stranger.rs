//! A stranger's request: its path, its query, a cookie and the browser are a word that nobody else knows. What a snapshot must not
//! depend on is different in each, and whatever of it a site keeps can be found by the word.

use crate::setup::Pairs;
use crate::variables::with;

/// The request of a stranger for the script of `front`.
pub(crate) fn asks(front: &Pairs, word: &str) -> Pairs {
    let query = format!("{word}={word}");
    let address = format!("/{word}/?{query}");
    with(
        front,
        &[
            ("REQUEST_URI", address.as_str()),
            ("QUERY_STRING", &query),
            ("HTTP_COOKIE", &query),
            ("HTTP_USER_AGENT", word),
            ("HTTP_ACCEPT_LANGUAGE", word),
            ("HTTP_REFERER", word),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables::value;

    #[test]
    fn strangers_differ_in_all_but_script_and_address() {
        let front: Pairs = [
            ("SCRIPT_NAME", "/index.php"),
            ("HTTP_HOST", "a"),
            ("REQUEST_URI", "/"),
        ]
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
        let (one, other) = (asks(&front, "zapp-1"), asks(&front, "zapp-2"));
        for name in [&b"SCRIPT_NAME"[..], b"HTTP_HOST"] {
            assert_eq!(value(&one, name), value(&front, name));
        }
        for name in [
            &b"REQUEST_URI"[..],
            b"QUERY_STRING",
            b"HTTP_COOKIE",
            b"HTTP_USER_AGENT",
        ] {
            assert_ne!(value(&one, name), value(&other, name));
        }
        assert_eq!(value(&one, b"REQUEST_URI"), b"/zapp-1/?zapp-1=zapp-1");
    }
}
