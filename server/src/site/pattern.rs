//! Patterns of paths, as the manifest writes them.
//!
//! `/wp-admin/**` is anchored at the root of the site, `*.sqlite` is a name at any depth. `*` stays within one name, `**`
//! crosses slashes, and `/data/**` means `/data` itself as well.

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Patterns in one list of a manifest, at most: each is compiled, and a request may be held to all of them.
pub(crate) const LIST_MAX: usize = 256;
/// The longest pattern in bytes. An image's own paths are shorter than four of these.
const TEXT_MAX: usize = 1024;
/// What a compiled pattern may take, in bytes; a pattern of [`TEXT_MAX`] plain letters takes a quarter.
const COMPILED_MAX: usize = 1 << 20;

/// A pattern of paths of the site.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern {
    text: String,
    /// Fits whole paths.
    whole: Regex,
    /// Fits paths of which a beginning, up to a slash or the end, is a fit.
    within: Regex,
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        if !text.starts_with('/') && text.contains('/') {
            return Err(format!(
                "pattern `{text}` must begin with a slash or hold none"
            ));
        }
        if text.len() > TEXT_MAX {
            let shown: String = text.chars().take(40).collect();
            return Err(format!(
                "pattern `{shown}…` is longer than {TEXT_MAX} bytes"
            ));
        }
        let anchored = if text.starts_with('/') {
            text.clone()
        } else {
            format!("/**/{text}")
        };
        let mut fits = expression(&anchored)?;
        if let Some(directory) = text.strip_suffix("/**").filter(|text| !text.is_empty()) {
            fits = format!("(?:{fits}|{})", expression(directory)?);
        }
        Ok(Pattern {
            whole: compile(&format!("^{fits}$"))?,
            within: compile(&format!("^{fits}(?:/|$)"))?,
            text,
        })
    }
}

/// A glob as a regular expression that is anchored nowhere.
fn expression(glob: &str) -> Result<String, String> {
    let glob = GlobBuilder::new(glob)
        .literal_separator(true)
        .build()
        .map_err(|e| e.to_string())?;
    let bare = glob.regex().strip_prefix("(?-u)^");
    let bare = bare.and_then(|bare| bare.strip_suffix('$'));
    bare.map(|bare| format!("(?:{bare})"))
        .ok_or_else(|| format!("pattern `{}` cannot be compiled", glob.glob()))
}

/// Compiles what is searched in bytes; the time of a search grows with the length of the path alone.
fn compile(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(COMPILED_MAX)
        .build()
        .map_err(|e| e.to_string())
}

impl Pattern {
    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a name at any depth, and no path.
    pub(crate) fn is_name(&self) -> bool {
        !self.text.starts_with('/')
    }

    /// Whether a path of the site, `/` first and without trailing slash, fits.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.whole.is_match(path)
    }

    /// Whether a path of the site, or that of a directory above it, fits. One pass over the path, however deep it is.
    pub(crate) fn matches_within(&self, path: &[u8]) -> bool {
        self.within.is_match(path)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

/// Reads a list of at most [`LIST_MAX`] things that hold patterns; the rest is not compiled.
pub(crate) fn list<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_seq(Few::<Vec<T>>(PhantomData))
}

/// The same for a list that may be missing.
pub(crate) fn optional_list<'de, D, T>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    list(from).map(Some)
}

/// The same for a table whose keys are patterns.
pub(crate) fn table<'de, D, T>(from: D) -> Result<BTreeMap<Pattern, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_map(Few::<BTreeMap<Pattern, T>>(PhantomData))
}

/// Reads a list or table that is not too long.
struct Few<T>(PhantomData<T>);

fn too_many<E: de::Error>() -> E {
    E::custom(format!("more than {LIST_MAX} patterns"))
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<Vec<T>> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {LIST_MAX} patterns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = from.next_element()? {
            if list.len() == LIST_MAX {
                return Err(too_many());
            }
            list.push(item);
        }
        Ok(list)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<BTreeMap<Pattern, T>> {
    type Value = BTreeMap<Pattern, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a table of at most {LIST_MAX} patterns")
    }

    #[expect(
        clippy::mutable_key_type,
        reason = "patterns are ordered by their text, which never changes"
    )]
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut table = BTreeMap::new();
        while let Some((pattern, value)) = from.next_entry::<Pattern, T>()? {
            if table.len() == LIST_MAX {
                return Err(too_many());
            }
            if table.insert(pattern, value).is_some() {
                return Err(A::Error::custom("a pattern is there twice"));
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_paths() {
        for (pattern, path, fits) in [
            ("/a", "/a", true),
            ("/a", "/a/b", false),
            ("/data/**", "/data", true),
            ("/data/**", "/data/x/y", true),
            ("/data/**", "/database", false),
            ("*.sqlite", "/x.sqlite", true),
            ("*.sqlite", "/a/b/x.sqlite", true),
            ("*.sqlite", "/a.sqlite/b", false),
            ("/.ht*", "/.htaccess", true),
            ("/.ht*", "/a/.htaccess", false),
            ("/wp-*.php", "/wp-login.php", true),
            ("/wp-*.php", "/wp-admin/x.php", false),
            ("/wp-admin/**/*.php", "/wp-admin/x.php", true),
            ("/wp-admin/**/*.php", "/wp-admin/a/b/x.php", true),
            ("/**", "/anything/at/all", true),
        ] {
            let matched = Pattern::try_from(pattern.to_owned())
                .unwrap()
                .matches(path.as_bytes());
            assert_eq!(matched, fits, "{pattern} on {path}");
        }
        assert!(Pattern::try_from("a/b".to_owned()).is_err());
        assert!(Pattern::try_from("[".to_owned()).is_err());
    }

    #[test]
    fn a_directory_above_that_fits_is_found_in_one_pass() {
        let patterns = [
            "/a",
            "/data/**",
            "*.sqlite",
            "/.ht*",
            "/wp-*.php",
            "/wp-admin/**/*.php",
            "/**/x/*/y",
            "[ab]?",
            "{x,y}.db",
        ];
        let patterns = patterns.map(|text| Pattern::try_from(text.to_owned()).unwrap());
        let names = [
            "a",
            "b1",
            "data",
            "x.sqlite",
            ".htaccess",
            "wp-a.php",
            "wp-admin",
            "x",
            "y",
            "y.db",
            "\n",
        ];
        let mut fitting = 0;
        for index in 0..names.len().pow(4) {
            let segments: Vec<&str> = (0..4)
                .map(|at| names[index / names.len().pow(at) % names.len()])
                .take(1 + index % 4)
                .collect();
            let path = format!("/{}", segments.join("/"));
            for pattern in &patterns {
                // The naive twin: every beginning by itself.
                let ends = path
                    .match_indices('/')
                    .skip(1)
                    .map(|(at, _)| at)
                    .chain([path.len()]);
                let naive = ends
                    .into_iter()
                    .any(|end| pattern.matches(&path.as_bytes()[..end]));
                let found = pattern.matches_within(path.as_bytes());
                assert_eq!(found, naive, "{} on {path}", pattern.text);
                fitting += usize::from(found);
            }
        }
        assert!(fitting > 1000);
    }

    /// Case limits-04-manifest-bomb: a pattern of 900 KB ended the process.
    #[test]
    fn long_patterns_are_refused() {
        let pattern = |len| Pattern::try_from(format!("/{}", "a".repeat(len - 1)));
        assert!(pattern(TEXT_MAX).is_ok());
        let refused = pattern(TEXT_MAX + 1).unwrap_err();
        assert!(refused.contains("longer than 1024 bytes"), "{refused}");
        // Short to write and long to compile.
        assert!(Pattern::try_from(format!("/{}", "{a,b}".repeat(40))).is_ok());
    }

    #[test]
    fn names_that_are_not_utf8_fit_too() {
        let pattern = Pattern::try_from("*.db".to_owned()).unwrap();
        assert!(pattern.matches(b"/\xff.db"));
    }
}
