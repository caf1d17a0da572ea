//! `Redirect`, `RedirectMatch` and their kin.

use crate::expression::{self, Word};
use crate::outcome::is_known_status;
use crate::pattern::Pattern;
use crate::text::number;
use crate::uri;

/// What a redirect answers to.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// A path and what lies below it.
    Path(Vec<u8>),
    Matching(Pattern),
}

/// A redirect, or a status that ends the request.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) from: From,
    pub(crate) to: Option<Vec<u8>>,
    pub(crate) status: u16,
}

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redirects {
    pub(crate) entries: Vec<Entry>,
    /// A redirect without a path: for all that the section is for.
    pub(crate) all: Option<(Option<Word>, u16)>,
    pub(crate) relative: Option<bool>,
}

/// Whether a status sends elsewhere.
pub(crate) fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status)
}

impl Redirects {
    /// Reads one of the directives; `status` is what it means without one. Gives the sizes of its patterns.
    pub(crate) fn add(
        &mut self,
        words: &[Vec<u8>],
        status: u16,
        by_pattern: bool,
    ) -> Result<Vec<usize>, String> {
        let first = words.first().ok_or("arguments are missing")?;
        let named = match first.to_ascii_lowercase().as_slice() {
            b"permanent" => Some(301),
            b"temp" => Some(302),
            b"seeother" => Some(303),
            b"gone" => Some(410),
            [b'0'..=b'9', ..] => Some(u16::try_from(number(first)).unwrap_or_default()),
            _ => None,
        };
        let (status, rest) = match named {
            Some(named) => (named, &words[1..]),
            None => (status, words),
        };
        if !is_known_status(status) {
            return Err(format!("unknown status {status}"));
        }
        match (rest, is_redirect(status)) {
            ([], false) | ([_], true) => {
                let url = match rest.first() {
                    Some(url) => Some(expression::text(url).map_err(|e| e.to_string())?),
                    None => None,
                };
                self.all = Some((url, status));
                Ok(Vec::new())
            }
            ([from], false) => self.push(from, None, status, by_pattern),
            ([from, to], true) => {
                if !by_pattern && !uri::is_url(to) && !to.starts_with(b"/") {
                    return Err("the target is not a URL".to_owned());
                }
                self.push(from, Some(to.clone()), status, by_pattern)
            }
            ([_, _], false) => Err("a URL is not valid for this status".to_owned()),
            _ => Err("wrong number of arguments".to_owned()),
        }
    }

    fn push(
        &mut self,
        from: &[u8],
        to: Option<Vec<u8>>,
        status: u16,
        by_pattern: bool,
    ) -> Result<Vec<usize>, String> {
        let mut sizes = Vec::new();
        let from = match by_pattern {
            true => {
                let pattern = Pattern::new(from, false).map_err(|e| e.to_string())?;
                sizes.push(pattern.size());
                From::Matching(pattern)
            }
            false => From::Path(from.to_vec()),
        };
        self.entries.push(Entry { from, to, status });
        Ok(sizes)
    }

    /// `RedirectRelative on|off`.
    pub(crate) fn set_relative(&mut self, on: bool) {
        self.relative = Some(on);
    }

    pub(crate) fn merged(&self, over: &Redirects) -> Redirects {
        Redirects {
            entries: [over.entries.clone(), self.entries.clone()].concat(),
            all: over.all.clone().or_else(|| self.all.clone()),
            relative: over.relative.or(self.relative),
        }
    }
}

/// How much of a path a redirect's own path takes; one slash there stands for any number.
pub(crate) fn matched(path: &[u8], from: &[u8]) -> Option<usize> {
    let (mut at, mut pos) = (0, 0);
    while let Some(&byte) = from.get(at) {
        if byte == b'/' {
            if path.get(pos) != Some(&b'/') {
                return None;
            }
            at += from[at..].iter().take_while(|&&b| b == b'/').count();
            pos += path[pos..].iter().take_while(|&&b| b == b'/').count();
        } else if path.get(pos) == Some(&byte) {
            at += 1;
            pos += 1;
        } else {
            return None;
        }
    }
    let ends = from.ends_with(b"/") || matches!(path.get(pos), None | Some(b'/'));
    (ends && pos > 0).then_some(pos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_takes_whole_names() {
        for (path, from, used) in [
            ("/a/b", "/a", Some(2)),
            ("/ab", "/a", None),
            ("/a", "/a", Some(2)),
            ("/a//b", "/a/", Some(4)),
            ("/b", "/a", None),
            ("/x", "/", Some(1)),
        ] {
            let found = matched(path.as_bytes(), from.as_bytes());
            assert_eq!(found, used, "{path} {from}");
        }
    }

    #[test]
    fn arguments_are_checked() {
        let words = |line: &str| crate::text::Words::new(line.as_bytes()).all();
        for (line, by_pattern, good) in [
            ("/a /b", false, true),
            ("301 /a http://x/", false, true),
            ("permanent /a /b", false, true),
            ("gone /a", false, true),
            ("404 /a", false, true),
            ("410", false, true),
            ("http://x/", false, true),
            ("/a b", false, false),
            ("gone /a /b", false, false),
            ("whatever /a /b", false, false),
            ("301 ^/a$ $1", true, true),
            ("999 /a /b", false, false),
            ("(", true, true),
            ("( /b", true, false),
        ] {
            let read = Redirects::default().add(&words(line), 302, by_pattern);
            assert_eq!(read.is_ok(), good, "{line}: {read:?}");
        }
    }
}
