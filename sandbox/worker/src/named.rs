//! Which parts of a request a site's scripts ask for by name: `$_GET['replytocom']`, `$_COOKIE['theme']`. What a site decides by one of
//! them while it loads is frozen with it, and nobody sees that from outside: that a parameter was missing leaves no trace. So a
//! request that has one that some script names does not go on from behind the bootstrap, whether or not that script was loaded.
//! Names that scripts compute are not known here.

use std::collections::BTreeSet;

use imagefs::{Image, Kind};

use crate::setup::{BootstrapKind, Pairs};

/// Larger scripts are data.
const SCRIPT_MAX: u64 = 4 << 20;
/// Names that are kept; a site with more of them has no snapshots behind its bootstrap that ask for any.
const NAMES_MAX: usize = 10_000;
const NAME_MAX: usize = 128;

/// Where WordPress' own code lies: no page loads the first, and the second asks for [`WORDPRESS_QUERY`] when the request is parsed,
/// behind the freeze.
const WORDPRESS_ADMIN: &[u8] = b"wp-admin/";
const WORDPRESS_CORE: &[u8] = b"wp-includes/";
/// `WP::$public_query_vars` (`wp-includes/class-wp.php`).
const WORDPRESS_QUERY: [&str; 48] = [
    "m",
    "p",
    "posts",
    "w",
    "cat",
    "withcomments",
    "withoutcomments",
    "s",
    "search",
    "exact",
    "sentence",
    "calendar",
    "page",
    "paged",
    "more",
    "tb",
    "pb",
    "author",
    "order",
    "orderby",
    "year",
    "monthnum",
    "day",
    "hour",
    "minute",
    "second",
    "name",
    "category_name",
    "tag",
    "feed",
    "author_name",
    "pagename",
    "page_id",
    "error",
    "attachment",
    "attachment_id",
    "subpost",
    "subpost_id",
    "preview",
    "robots",
    "favicon",
    "taxonomy",
    "term",
    "cpage",
    "post_type",
    "embed",
    "post_format",
    "rest_route",
];

/// The names that a site's scripts have.
#[derive(Debug, Default)]
pub(crate) struct Named {
    query: Names,
    cookies: Names,
}

/// Names, looked up in the time of one however many there are.
#[derive(Debug, Default)]
struct Names {
    whole: BTreeSet<Vec<u8>>,
    /// Each the beginning of many; none is longer than [`NAME_MAX`].
    begun: BTreeSet<Vec<u8>>,
}

impl Names {
    /// Adds a name; one that ends in `*` is a beginning. Those that are too many stand for all there are.
    fn add(&mut self, name: Vec<u8>) {
        if self.whole.len() + self.begun.len() >= NAMES_MAX {
            self.begun.insert(Vec::new());
        } else if let Some(beginning) = name.strip_suffix(b"*") {
            self.begun.insert(beginning.to_vec());
        } else {
            self.whole.insert(name);
        }
    }

    /// Whether they hold that of a `name=value`; `a[b]` is named `a`. PHP makes `_` of what no name of its own has.
    fn have(&self, part: &[u8]) -> bool {
        let part = part.trim_ascii();
        let end = part.iter().position(|b| b"=[".contains(b));
        let plain = |b: &u8| if b". +".contains(b) { b'_' } else { *b };
        let name: Vec<u8> = part[..end.unwrap_or(part.len())]
            .iter()
            .map(plain)
            .collect();
        let mut beginnings = (0..=name.len().min(NAME_MAX)).map(|len| &name[..len]);
        !name.is_empty()
            && (self.whole.contains(&name) || beginnings.any(|it| self.begun.contains(it)))
    }
}

impl Named {
    /// Those of the scripts in an image.
    pub(crate) fn of(image: &Image, kind: BootstrapKind) -> Named {
        let mut named = Named::default();
        let mut walk = image.walk(image.root());
        while let Some(entry) = walk.next() {
            let path = walk.path();
            if entry.kind != Kind::Regular
                || !is_script(entry.name)
                || is_left_out(path, kind)
                || image.stat(entry.ino).size > SCRIPT_MAX
            {
                continue;
            }
            let is_core = kind == BootstrapKind::WordPress && path.starts_with(WORDPRESS_CORE);
            // A script that cannot be read cannot run either.
            if let Ok(text) = image.bytes(entry.ino) {
                named.read(&text, is_core);
            }
        }
        named
    }

    /// Adds the names in a script.
    fn read(&mut self, text: &[u8], is_core: bool) {
        let lists = [
            (&b"$_GET"[..], true),
            (b"$_REQUEST", true),
            (b"$_COOKIE", false),
            (b"INPUT_GET", true),
            (b"INPUT_COOKIE", false),
        ];
        for (array, is_query) in lists {
            for at in memchr::memmem::find_iter(text, array) {
                let behind = &text[at + array.len()..];
                let Some(name) = key(behind).or_else(|| key_before(&text[..at])) else {
                    continue;
                };
                let is_later = WORDPRESS_QUERY.iter().any(|known| known.as_bytes() == name);
                if is_query && is_core && is_later {
                    continue;
                }
                match is_query {
                    true => self.query.add(name),
                    false => self.cookies.add(name),
                }
            }
        }
    }

    /// Whether a request has nothing that scripts ask for.
    pub(crate) fn none_in(&self, variables: &Pairs) -> bool {
        variables.iter().all(|(name, value)| match name.as_slice() {
            b"QUERY_STRING" => !value.split(|b| *b == b'&').any(|it| self.query.have(it)),
            b"HTTP_COOKIE" => !value.split(|b| *b == b';').any(|it| self.cookies.have(it)),
            _ => true,
        })
    }
}

fn is_script(name: &[u8]) -> bool {
    [&b".php"[..], b".inc", b".phtml", b".module"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn is_left_out(path: &[u8], kind: BootstrapKind) -> bool {
    path.starts_with(b".zapp/")
        || (kind == BootstrapKind::WordPress && path.starts_with(WORDPRESS_ADMIN))
}

/// The text between brackets or behind a comma: `['name']`, `, 'name'`. One that goes on behind its quotes is the beginning of names.
fn key(behind: &[u8]) -> Option<Vec<u8>> {
    let behind = behind.trim_ascii_start();
    let inside = behind
        .strip_prefix(b"[")
        .or_else(|| behind.strip_prefix(b","))?;
    let (text, rest) = quoted(inside.trim_ascii_start())?;
    let rest = rest.trim_ascii_start();
    let ends = rest.starts_with(b"]") || rest.starts_with(b",") || rest.starts_with(b")");
    let fixed = text
        .split(|b| *b == b'$' || *b == b'{')
        .next()
        .unwrap_or_default();
    match ends && fixed.len() == text.len() {
        true => Some(fixed.to_vec()),
        false => (!fixed.is_empty()).then(|| [fixed, b"*"].concat()),
    }
}

/// The text before: `array_key_exists('name', $_GET)`.
fn key_before(before: &[u8]) -> Option<Vec<u8>> {
    let before = before.trim_ascii_end().strip_suffix(b",")?.trim_ascii_end();
    let (quote, before) = before.split_last().filter(|(b, _)| b"'\"".contains(b))?;
    let from = before.len().saturating_sub(NAME_MAX);
    let start = before[from..].iter().rposition(|b| b == quote)?;
    let name = &before[from + start + 1..];
    (!name.is_empty()).then(|| name.to_vec())
}

/// A short text in quotes, and what is behind it.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (quote, text) = text.split_first().filter(|(b, _)| b"'\"".contains(b))?;
    let end = text.iter().take(NAME_MAX).position(|b| b == quote)?;
    (end > 0).then(|| (&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, is_core: bool) -> Named {
        let mut named = Named::default();
        named.read(text.as_bytes(), is_core);
        named
    }

    fn asks(query: &str, cookies: &str) -> Pairs {
        let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        vec![pair("QUERY_STRING", query), pair("HTTP_COOKIE", cookies)]
    }

    #[test]
    fn names_that_are_too_many_stand_for_all() {
        let mut names = Names::default();
        for number in 0..NAMES_MAX {
            assert!(!names.have(b"other=1"));
            names.add(format!("name{number}").into_bytes());
        }
        assert!(names.have(b"name7=1") && !names.have(b"other=1"));
        names.add(b"more".to_vec());
        assert!(names.have(b"other=1") && !names.have(b"=1"));
    }

    // case site-freeze-query
    #[test]
    fn requests_that_have_what_a_script_names_are_known() {
        let site = named(
            "isset($_GET['replytocom']); $_REQUEST [ \"lang\" ]; $_COOKIE['seen_' . HASH]; $_COOKIE[\"a$b\"];\
             array_key_exists('amp', $_GET); filter_input(INPUT_GET, 'view'); $_GET[$any]; $_GET['a']['b']; foreach ($_GET as $x);",
            false,
        );
        for (query, cookies, none) in [
            ("", "", true),
            ("x=1&y=2", "theme=dark; z=1", true),
            ("replytocomx=1", "", true),
            ("x=1&replytocom=5", "", false),
            ("replytocom", "", false),
            ("lang[]=de", "", false),
            ("amp=", "", false),
            ("view=1", "", false),
            ("a[b]=1", "", false),
            ("", "x=1; seen_0a=1", false),
            ("", "abc=1", false),
            ("seen_1=1", "replytocom=1", true),
        ] {
            assert_eq!(
                site.none_in(&asks(query, cookies)),
                none,
                "{query} {cookies}"
            );
        }
        assert!(!named("$_GET['my_name']", false).none_in(&asks("my.name=1", "")));
    }

    #[test]
    fn what_wordpress_itself_asks_for_behind_the_freeze_does_not_count() {
        let text = "$_GET['s'] . $_GET['replytocom']";
        assert!(named(text, true).none_in(&asks("s=word", "")));
        assert!(!named(text, true).none_in(&asks("replytocom=1", "")));
        assert!(!named(text, false).none_in(&asks("s=word", "")));
    }
}
