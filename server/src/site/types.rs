//! Media types: the allow-list of what is sent as a file.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::site::language::PHP;
use crate::site::pattern::{LIST_MAX, Pattern};

/// Extension and type, sorted by extension. Text is UTF-8, as files in images are expected to be.
const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("atom", "application/atom+xml"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("cur", "image/x-icon"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    (
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("svgz", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("xml", "text/xml; charset=utf-8"),
    ("xsl", "text/xsl; charset=utf-8"),
    ("xz", "application/x-xz"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// The extension of a name: what follows the last dot.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|&b| b == b'.')?;
    Some(&name[dot + 1..])
}

/// The built-in type of a name; `None` when files of that name are not sent.
fn of_name(name: &[u8]) -> Option<&'static str> {
    let extension = extension(name)?.to_ascii_lowercase();
    let row = TYPES
        .binary_search_by(|(known, _)| known.as_bytes().cmp(&extension))
        .ok()?;
    Some(TYPES[row].1)
}

/// `[site] types`: by extension (`bin`), by the name of files without one (`LICENSE`), by path or pattern (`/feeds/*`,
/// `*.tar.old`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub(crate) struct Types {
    /// Extensions in lower case, and names.
    words: BTreeMap<String, String>,
    /// The longest first: that is the one which says most.
    patterns: Vec<(Pattern, String)>,
}

impl TryFrom<BTreeMap<String, String>> for Types {
    type Error = String;

    fn try_from(table: BTreeMap<String, String>) -> Result<Types, String> {
        let mut types = Types::default();
        for (key, kind) in table {
            let is_media =
                hyper::header::HeaderValue::from_str(&kind).is_ok() && kind.contains('/');
            if !is_media || is_never_static(key.rsplit('.').next().unwrap_or(&key).as_bytes()) {
                return Err(format!("`{key} = {kind}` is not allowed in site.types"));
            }
            if !key.contains(['.', '/', '*', '?', '[', '{']) {
                types.words.insert(key, kind);
            } else if types.patterns.len() == LIST_MAX {
                return Err(format!("more than {LIST_MAX} patterns"));
            } else {
                types.patterns.push((key.try_into()?, kind));
            }
        }
        let length = |(pattern, _): &(Pattern, String)| pattern.text().len();
        types
            .patterns
            .sort_by_key(|row| std::cmp::Reverse(length(row)));
        Ok(types)
    }
}

impl Types {
    /// The type of a file at a path of the site; `None` when it is not sent.
    pub(crate) fn of(&self, path: &[u8]) -> Option<&str> {
        let mut patterns = self.patterns.iter();
        if let Some((_, kind)) = patterns.find(|(pattern, _)| pattern.matches(path)) {
            return Some(kind);
        }
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
        let word = match extension(name) {
            Some(extension) => extension.to_ascii_lowercase(),
            None => name.to_vec(),
        };
        let given = std::str::from_utf8(&word)
            .ok()
            .and_then(|word| self.words.get(word));
        let fallback = || path.starts_with(b"/.well-known/").then_some(WELL_KNOWN);
        given
            .map(String::as_str)
            .or_else(|| of_name(name))
            .or_else(fallback)
    }
}

/// What is in `/.well-known/` is there to be fetched (RFC 8615), and mostly has no extension.
const WELL_KNOWN: &str = "text/plain; charset=utf-8";

/// Extensions that no manifest may open: programs' sources, their back-ups, and databases.
pub(crate) fn is_never_static(extension: &[u8]) -> bool {
    let extension = extension.to_ascii_lowercase();
    PHP.is_source(&extension)
        || PHP.is_part(&extension)
        || extension.ends_with(b"~")
        || [&b"sqlite"[..], b"sqlite3", b"db", b"sql", b"zapp", b"toml"]
            .contains(&extension.as_slice())
}

/// Whether a name is a script: run, or refused, but never sent.
pub(crate) fn is_script(name: &[u8]) -> bool {
    extension(name).is_some_and(|extension| PHP.is_source(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_opens_no_source() {
        assert!(TYPES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(
            TYPES
                .iter()
                .all(|(extension, _)| !is_never_static(extension.as_bytes()))
        );
    }

    #[test]
    fn types_are_found_in_any_case() {
        assert_eq!(of_name(b"a.CSS"), Some("text/css; charset=utf-8"));
        assert_eq!(of_name(b"a.min.js"), Some("text/javascript; charset=utf-8"));
        for name in [
            &b"a"[..],
            b"a.",
            b"a.php",
            b"a.php~",
            b"a.inc",
            b"a.sqlite",
            b"a.exe",
            b"css",
        ] {
            assert_eq!(of_name(name), None, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn a_manifest_gives_types_by_extension_name_path_and_pattern() {
        let table = r#"
            bin = "application/x-bin"
            LICENSE = "text/x-license"
            "/feeds/*" = "application/feed"
            "/feeds/special.xml" = "application/special"
            "*.tar.old" = "application/x-tar"
        "#;
        let types: Types = toml::from_str(table).unwrap();
        for (path, kind) in [
            ("/a/b.BIN", Some("application/x-bin")),
            ("/LICENSE", Some("text/x-license")),
            ("/deep/LICENSE", Some("text/x-license")),
            ("/LICENSE.md", Some("text/markdown; charset=utf-8")),
            ("/license", None),
            ("/feeds/news", Some("application/feed")),
            ("/feeds/special.xml", Some("application/special")),
            ("/feeds/deep/news", None),
            ("/a/x.tar.old", Some("application/x-tar")),
            ("/a/x.old", None),
            ("/.well-known/acme-challenge/tok", Some(WELL_KNOWN)),
            ("/.well-known/a.json", Some("application/json")),
            ("/x/.well-known/tok", None),
        ] {
            assert_eq!(types.of(path.as_bytes()), kind, "{path}");
        }
        for (key, kind) in [
            ("php", "a/b"),
            ("*.sqlite", "a/b"),
            ("/x.inc", "a/b"),
            ("x", "ab"),
            ("a/b", "a/b"),
        ] {
            let table = BTreeMap::from([(key.to_owned(), kind.to_owned())]);
            assert!(Types::try_from(table).is_err(), "{key} {kind}");
        }
    }
}
