//! Media types: the allow-list of what is sent as a file.

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
pub(crate) fn of_name(name: &[u8]) -> Option<&'static str> {
    let extension = extension(name)?.to_ascii_lowercase();
    let row = TYPES
        .binary_search_by(|(known, _)| known.as_bytes().cmp(&extension))
        .ok()?;
    Some(TYPES[row].1)
}

/// The type a manifest gives to a name's extension.
pub(crate) fn of_manifest<'m>(
    types: &'m std::collections::BTreeMap<String, String>,
    name: &[u8],
) -> Option<&'m str> {
    let extension = extension(name)?.to_ascii_lowercase();
    types
        .get(std::str::from_utf8(&extension).ok()?)
        .map(String::as_str)
}

/// Extensions that no manifest may open: programs' sources, their back-ups, and databases.
pub(crate) fn is_never_static(extension: &[u8]) -> bool {
    let extension = extension.to_ascii_lowercase();
    extension.starts_with(b"php")
        || extension.ends_with(b"~")
        || [
            &b"phtml"[..],
            b"phar",
            b"inc",
            b"sqlite",
            b"sqlite3",
            b"db",
            b"sql",
            b"zapp",
            b"toml",
        ]
        .contains(&extension.as_slice())
}

/// Whether a name is a script: run, or refused, but never sent.
pub(crate) fn is_script(name: &[u8]) -> bool {
    extension(name).is_some_and(|e| {
        let e = e.to_ascii_lowercase();
        e.starts_with(b"php") || e == b"phtml" || e == b"phar"
    })
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
}
