//! `.zappignore` files: what they say about a path, wherever the tree comes from.
//!
//! The syntax is that of `.gitignore` (gitignore(5)). A file holds for its directory and all below it; the nearest one that
//! says something about a path decides. It is packed like any other file.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::Error;

/// Name of the ignore file; it is looked for in every directory.
pub const IGNORE_FILE: &str = ".zappignore";

/// The largest ignore file in bytes. A compiled pattern takes hundreds of times its text.
pub const IGNORE_FILE_MAX: u64 = 64 << 10;

/// A mark that editors of some systems put in front of UTF-8; git skips it, too.
const BYTE_ORDER_MARK: &str = "\u{FEFF}";

/// The ignore files in force in a directory, the nearest first.
#[derive(Debug)]
pub(crate) struct Ignores {
    this: Gitignore,
    above: Option<Arc<Ignores>>,
}

impl Ignores {
    /// Reads the ignore file of `directory`, a path below the root, in addition to those `above` it.
    ///
    /// # Errors
    /// It cannot be read, is larger than [`IGNORE_FILE_MAX`] or no UTF-8, or a line is no pattern.
    pub(crate) fn read(
        directory: &[u8],
        file: impl Read,
        above: Option<Arc<Ignores>>,
    ) -> Result<Arc<Ignores>, Error> {
        let base = Path::new(OsStr::from_bytes(directory));
        let path = base.join(IGNORE_FILE);
        let wrong = |what: String| Error::source(path.as_os_str().as_bytes(), what);
        let mut bytes = Vec::new();
        file.take(IGNORE_FILE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io("read", &path, e))?;
        if bytes.len() as u64 > IGNORE_FILE_MAX {
            return Err(wrong(format!(
                "is longer than the {IGNORE_FILE_MAX} bytes that are read; \
                 shorten it, or pass --no-ignore-file"
            )));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            wrong(format!("line {line} is not UTF-8"))
        })?;
        let mut builder = GitignoreBuilder::new(base);
        for (index, line) in text.trim_start_matches(BYTE_ORDER_MARK).lines().enumerate() {
            builder
                .add_line(None, line)
                .map_err(|e| wrong(format!("line {}: {e}", index + 1)))?;
        }
        let this = builder.build().map_err(|e| wrong(e.to_string()))?;
        Ok(Arc::new(Ignores { this, above }))
    }

    /// Whether a path below the root is left out.
    pub(crate) fn ignores(&self, path: &[u8], is_dir: bool) -> bool {
        let mut level = Some(self);
        while let Some(ignores) = level {
            let found = ignores.this.matched(OsStr::from_bytes(path), is_dir);
            if !found.is_none() {
                return found.is_ignore();
            }
            level = ignores.above.as_deref();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> Result<Arc<Ignores>, String> {
        Ignores::read(b"d", text, None).map_err(|e| e.to_string())
    }

    /// Case reported-zappignore-bom: the mark made the first pattern one that matches nothing.
    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_pattern() {
        for text in ["secret\n*.log\n", "\u{FEFF}secret\r\n*.log\r\n"] {
            let ignores = of(text.as_bytes()).unwrap();
            assert!(ignores.ignores(b"d/secret", false), "{text:?}");
            assert!(ignores.ignores(b"d/e/a.log", false), "{text:?}");
            assert!(!ignores.ignores(b"d/keep", false), "{text:?}");
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        assert!(of(b"a\n\xC3\xA9\n").is_ok());
        assert_eq!(
            of(b"a\n\xE9\n").unwrap_err(),
            "d/.zappignore: line 2 is not UTF-8"
        );
        let unclosed = of(b"a\nb{c\n").unwrap_err();
        assert!(
            unclosed.starts_with("d/.zappignore: line 2: "),
            "{unclosed}"
        );
    }

    #[test]
    fn a_file_longer_than_the_limit_is_an_error() {
        let max = usize::try_from(IGNORE_FILE_MAX).unwrap();
        assert!(of(&vec![b'\n'; max]).is_ok());
        let long = of(&vec![b'\n'; max + 1]).unwrap_err();
        assert!(long.contains("longer than the 65536 bytes"), "{long}");
    }

    #[test]
    fn the_nearest_file_that_says_something_decides() {
        let above = Ignores::read(b"", &b"*.log\n/d/x\n"[..], None).unwrap();
        let below = Ignores::read(b"d", &b"!a.log\n"[..], Some(Arc::clone(&above))).unwrap();
        assert!(above.ignores(b"d/a.log", false) && !below.ignores(b"d/a.log", false));
        assert!(below.ignores(b"d/b.log", false) && below.ignores(b"d/x", true));
    }
}
